"""Which installed variant is asked for a prompt, and with how large a context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from rag_memory_plugins.router.ollama_http import Description
from rag_memory_plugins.router.ollama_models import Unfit, Variant, ordered, variants_of
from rag_memory_plugins.router.ollama_wire import bucket

__all__ = ["Choice"]

HELD: Final = 300.0
"""Seconds for which a context is not made smaller: Ollama would load the model anew."""


class Choice:
    """Of one model, by its name. Quick and without I/O; may be used from any thread.

    `window` is the most context it is given, None for as much as the model has.
    """

    def __init__(
        self, model: str, window: int | None, quantisation: str, clock: Callable[[], float]
    ) -> None:
        self.unfit = Unfit(clock)
        self.described: dict[tuple[str, str], Description] = {}
        self._model = model
        self._window = window
        self._quantisation = quantisation
        self._clock = clock
        self._held: dict[str, tuple[int, float]] = {}
        self._found: tuple[tuple[Variant, ...], tuple[Variant, ...]] = ((), ())

    def among(self, installed: tuple[Variant, ...]) -> tuple[Variant, ...]:
        """Its variants, in the order they are tried; sought once in the same `installed`."""
        of, found = self._found
        if of is not installed:
            found = ordered(self._model, variants_of(self._model, installed), self._quantisation)
            self._found = (installed, found)
        return found

    def first(self, variants: Sequence[Variant], need: int) -> tuple[Variant, int] | None:
        """The first that nothing speaks against, and its context for `need` tokens.

        It is asked with the context it has, or where that did not fit with as small a one as will
        do.
        """
        for variant in variants:
            smallest = self.smallest(variant, need)
            for num_ctx in dict.fromkeys((max(smallest, self._holds(variant)), smallest)):
                if not self.unfit.why(variant, num_ctx):
                    return variant, num_ctx
        return None

    def why_none(self, variants: Sequence[Variant], need: int) -> str:
        """What speaks against the last of `variants`, if `first` found none; "" else."""
        if not self.unfit or not variants or self.first(variants, need) is not None:
            return ""
        return self.unfit.why(variants[-1], self.smallest(variants[-1], need))

    def smallest(self, variant: Variant, need: int) -> int:
        limits = (self._window, self.describe(variant).context_length)
        return min([bucket(need), *[limit for limit in limits if limit]])

    def describe(self, variant: Variant) -> Description:
        """What is known of it; nothing is asked."""
        return self.described.get((variant.name, variant.digest), Description())

    def worked(self, variant: Variant, need: int, num_ctx: int) -> None:
        """It answered: its context stays for a while, and longer while prompts need it."""
        if num_ctx != self._holds(variant) or self.smallest(variant, need) >= num_ctx:
            self._held[variant.name] = (num_ctx, self._clock() + HELD)

    def too_large(
        self, variant: Variant, num_ctx: int, needed: int = 0, available: int = 0
    ) -> None:
        """It did not fit into memory; `needed` and `available` are bytes, 0 if unknown."""
        self._held.pop(variant.name, None)
        self.unfit.note(variant, num_ctx, needed, available)

    def _holds(self, variant: Variant) -> int:
        num_ctx, until = self._held.get(variant.name, (0, 0.0))
        return num_ctx if self._clock() < until else 0
