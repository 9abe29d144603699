"""`TokenBudget`: hard limits in tokens, and a share of them for each part of a context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from rag_memory_plugins.errors import InvalidBudget, nearest

__all__ = ["PARTS", "TokenBudget"]

PARTS: Final = ("anchors", "facts", "summary", "recent", "retrieved")
"""The parts of a context by priority, which is also the order they stand in."""
RESERVES: Final = ("system", "question", "completion")
_LARGEST: Final = 32_000
"""`for_model` sends no more than this to a larger window: more history is not more memory."""


@dataclass(frozen=True)
class TokenBudget:
    """Hard limits in tokens for a `Context`.

    `total` is what one request may hold; three shares of it are kept free for what the caller
    sends beside the memory: `system` (prompt and tools, until `context(system=)` brings the text),
    `question` (the user's message, until it is in the log) and `completion` (the answer).

    Each part has a share: a number, 0 to leave it out, or None for what the mode gives it of the
    rest. What a part does not use the next one may, in the order of `PARTS`. `least` keeps a part
    from being squeezed below a number when the user's message or the anchors are long; `most` is
    what a part never exceeds, whatever others leave. Raises `InvalidBudget` for numbers that
    cannot be kept together.

    >>> TokenBudget.default().retrieved, TokenBudget(2000, recent=0).available
    (3750, 2000)
    """

    total: int
    recent: int | None = None
    retrieved: int | None = None
    summary: int | None = None
    facts: int | None = None
    anchors: int | None = None
    system: int = 0
    question: int = 0
    completion: int = 0
    least: Mapping[str, int] = field(default_factory=dict, hash=False)
    most: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _tokens("total", self.total, least=1)
        for name in RESERVES:
            _tokens(name, getattr(self, name), least=0)
        for name in PARTS:
            if getattr(self, name) is not None:
                _tokens(name, getattr(self, name), least=0)
        for bound in ("least", "most"):
            _check_bounds(bound, getattr(self, bound))
            object.__setattr__(self, bound, dict(getattr(self, bound)))
        self._check_sums()

    def _check_sums(self) -> None:
        reserved = sum(getattr(self, name) for name in RESERVES)
        if reserved >= self.total:
            remedy = f"system, question and completion take {reserved} of it; raise it"
            raise InvalidBudget("total", self.total, remedy)
        shares = {name: getattr(self, name) or 0 for name in PARTS}
        for name, least in self.least.items():
            share, most = getattr(self, name), self.most.get(name)
            if share is not None and least > share:
                raise InvalidBudget(f"least[{name!r}]", least, f"its share is {share}")
            if most is not None and least > most:
                raise InvalidBudget(f"least[{name!r}]", least, f"most[{name!r}] is {most}")
            shares[name] = max(shares[name], least)
        for name, most in self.most.items():
            if (getattr(self, name) or 0) > most:
                remedy = f"the share {getattr(self, name)} is more; lower that or raise this"
                raise InvalidBudget(f"most[{name!r}]", most, remedy)
        if sum(shares.values()) > self.available:
            used = ", ".join(f"{name} {share}" for name, share in shares.items() if share)
            remedy = f"only {self.available} are left for its parts, which want {used}"
            raise InvalidBudget("total", self.total, remedy)

    @property
    def available(self) -> int:
        """Tokens for all parts together: the total without what is kept free."""
        return self.total - self.system - self.question - self.completion

    @classmethod
    def of(cls, budget: int | TokenBudget) -> TokenBudget:
        """A budget as it is, or made of a total."""
        return budget if isinstance(budget, TokenBudget) else cls(budget)

    @classmethod
    def default(cls) -> TokenBudget:
        """8,000 tokens: what a long chat with a hosted model needs a turn."""
        return cls(8_000, system=700, summary=1_200, recent=450, retrieved=3_750, completion=1_000)

    @classmethod
    def small(cls) -> TokenBudget:
        """3,000 tokens, half of them context: for local models on a machine with 16 GB."""
        return cls(3_000, question=500, completion=1_000)

    @classmethod
    def for_model(cls, name: str, window: int | None = None) -> TokenBudget:
        """The default's proportions within a model's context window.

        `window` states it in tokens; else the kept table is asked (`windows.context_window`), and
        `InvalidInput` names the nearest when it does not know the model. Windows above 32,000
        tokens are used up to there: pass `TokenBudget(total=...)` to send more.

        >>> TokenBudget.for_model("my-own", window=4_000).retrieved
        1875
        """
        if window is None:
            from rag_memory_plugins.windows import context_window

            window = context_window(name).tokens
        _tokens("window", window, least=100)
        usual, total = cls.default(), min(window, _LARGEST)
        names = [name for name in (*PARTS, *RESERVES) if getattr(usual, name)]
        shares = {name: getattr(usual, name) * total // usual.total for name in names}
        return replace(usual, total=total, **shares)

    def less(self, tokens: int) -> TokenBudget:
        """This budget without `tokens` that something else took; shares shrink where they must.

        Raises `InvalidBudget` when nothing would be left.

        >>> TokenBudget(1000, recent=300, retrieved=700).less(500)
        TokenBudget(total=500, recent=150, retrieved=350)
        """
        available = self.available - tokens
        if available < 1:
            remedy = f"{tokens} tokens are taken already; raise it"
            raise InvalidBudget("budget", self.total, remedy)
        names = [name for name in PARTS if getattr(self, name)]
        wanted = sum(getattr(self, name) for name in names)
        shares: dict[str, int] = {}
        if wanted > available:
            shares = {name: getattr(self, name) * available // wanted for name in names}
        least = {
            name: min(value, shares.get(name, value) * available // max(self.available, 1))
            for name, value in self.least.items()
        }
        return replace(self, total=self.total - tokens, least=least, **shares)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        names = ("total", *PARTS[::-1], *RESERVES, "least", "most")
        # In the order of the signature, without what is left at its default.
        order = [name for name in self.__dataclass_fields__ if name in names]
        shown = [(name, getattr(self, name)) for name in order]
        text = ", ".join(
            f"{name}={value!r}" for name, value in shown if value or (value == 0 and name in PARTS)
        )
        return f"TokenBudget({text})"


def _check_bounds(name: str, bounds: object) -> None:
    if not isinstance(bounds, Mapping):
        raise InvalidBudget(name, bounds, "pass a mapping from a part's name to tokens")
    for part, tokens in bounds.items():
        if part not in PARTS:
            raise InvalidBudget(name, part, nearest(str(part), PARTS))
        _tokens(f"{name}[{part!r}]", tokens, least=0)


def _tokens(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidBudget(name, value, f"pass a number of tokens, an int >= {least}")
