"""Which installed variant of a model Ollama is asked for: names, quantisations, what does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, Final

__all__ = ["Unfit", "Variant", "bits", "full_name", "memory_said", "ordered", "variants_of"]

REMEMBERED: Final = 300.0
"""Seconds: as long as Ollama keeps a model loaded, whose memory may then be free again."""

_QUANTISATION: Final = re.compile(r"i?q\d(?:_\w+)?|b?f(?:p)?(?:16|32)|(?:mx|nv)fp[48]|int[48]")
_SIZE: Final = re.compile(r"e?\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)?[bm]")
_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([bm])", re.IGNORECASE)
_DEFAULT: Final = frozenset({"", "latest", "instruct", "chat", "it"})
"""Words of a tag that say what a bare tag is anyway: the variant that follows instructions."""

_SUFFIXES: Final = {"k_xl": 9, "k_l": 8, "k": 7, "k_m": 6, "m": 6, "k_s": 5, "s": 5, "1": 4}
_OTHERS: Final = {"f32": 32.0, "bf16": 16.1, "f16": 16.0, "int8": 8.0, "int4": 4.0}
_MEMORY: Final = re.compile(
    r"system memory \(([\d.]+)\s*([KMGT]?)i?B\) than is available \(([\d.]+)\s*([KMGT]?)i?B\)"
)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_ROUGHLY: Final = (0.8, 1.35)  # gemma2:2b has 2.6 billion parameters, qwen2.5:7b has 7.6
_MARGIN: Final = 1.1


def full_name(name: str) -> str:
    """As Ollama completes and compares it.

    >>> full_name("Llama3.1"), full_name("library/llama3.1:8b")
    ('llama3.1:latest', 'llama3.1:8b')
    """
    name = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def bits(quantisation: str) -> float:
    """A number that orders quantisations by how good they are: about bits a weight, 0 if unknown.

    >>> sorted(["Q4_0", "F16", "Q8_0", "Q5_K_M", "Q4_K_M", "Q2_K"], key=bits, reverse=True)
    ['F16', 'Q8_0', 'Q5_K_M', 'Q4_K_M', 'Q4_0', 'Q2_K']
    """
    lowered = _plain(quantisation)
    if lowered in _OTHERS:
        return _OTHERS[lowered]
    if lowered in ("mxfp4", "nvfp4"):
        return 4.55
    found = re.fullmatch(r"(i?)q(\d)(?:_(\w+))?", lowered)
    if not found:
        return 0.0
    better = _SUFFIXES.get(found[3] or "", 3) - (1 if found[1] else 0)
    return int(found[2]) + better / 10


def _plain(quantisation: str) -> str:
    return quantisation.lower().replace("fp16", "f16").replace("fp32", "f32")


@dataclass(frozen=True)
class Variant:
    """An installed model. `size` is in bytes, `parameters` as Ollama writes it ("8.0B").

    `remote` ones run on another machine, whatever the name.
    """

    name: str
    size: int = 0
    parameters: str = ""
    quantisation: str = ""
    digest: str = ""
    remote: bool = False

    @classmethod
    def from_tag(cls, tag: Mapping[str, Any]) -> Variant:
        """From an entry of `GET /api/tags`."""
        details = tag.get("details") or {}
        name = str(tag.get("name") or tag.get("model") or "")
        level = str(details.get("quantization_level") or "")
        return cls(
            name=name,
            size=int(tag.get("size") or 0),
            parameters=str(details.get("parameter_size") or ""),
            quantisation=_plain(level if bits(level) else _parts(name).quantisation or level),
            digest=str(tag.get("digest") or ""),
            remote=bool(tag.get("remote_host") or tag.get("remote_model")),
        )

    @cached_property
    def weight(self) -> tuple[int, float]:
        """What takes more memory is heavier."""
        return (self.size, bits(self.quantisation))


@dataclass(frozen=True)
class _Parts:
    base: str
    size: str
    quantisation: str
    words: frozenset[str]


def _parts(name: str) -> _Parts:
    base, _, tag = full_name(name).rpartition(":")
    size = quantisation = ""
    words = set()
    for part in tag.split("-"):
        if _QUANTISATION.fullmatch(part):
            quantisation = _plain(part)
        elif not size and _SIZE.fullmatch(part):
            size = part
        elif part not in _DEFAULT:
            words.add("text" if part == "base" else part)
    return _Parts(base, size, quantisation, frozenset(words))


def variants_of(wanted: str, installed: Iterable[Variant]) -> tuple[Variant, ...]:
    """Those that are `wanted` in another quantisation: of its name, size and kind, and itself.

    A bare tag is the variant that follows instructions. Where neither the tag nor an installed
    model of that very name tells the size, all of the name must be of one. A model that runs on
    another machine is only meant by a tag that says "cloud".

    >>> names = ("llama3.1:8b-instruct-q4_0", "llama3.1:70b", "llama3.1:8b-text-q4_0", "qwen3:8b")
    >>> [variant.name for variant in variants_of("llama3.1:8b", map(Variant, names))]
    ['llama3.1:8b-instruct-q4_0']
    """
    want = _parts(wanted)
    cloud = "cloud" in wanted.rpartition(":")[2].lower()
    alike = [
        (variant, parts)
        for variant in installed
        if (parts := _parts(variant.name)).base == want.base
        and parts.words == want.words
        and (cloud or not variant.remote)
    ]
    itself = next((v for v, _ in alike if full_name(v.name) == full_name(wanted)), None)
    if want.size:
        kept = [
            variant
            for variant, parts in alike
            if parts.size == want.size or (not parts.size and _near(want.size, variant.parameters))
        ]
    elif itself is not None:
        kept = [v for v, _ in alike if v is itself or v.parameters == itself.parameters != ""]
    else:
        sizes = {variant.parameters for variant, _ in alike}
        kept = [variant for variant, _ in alike] if len(sizes) == 1 else []
    return tuple(kept)


def _near(size: str, parameters: str) -> bool:
    """Whether a tag's size is about what the model has: "8b" and "8.0B", "0.5b" and "494.03M"."""
    want, has = _NUMBER.search(size), _NUMBER.search(parameters)
    if "x" in size or want is None or has is None:
        return False
    units = {"b": 1e9, "m": 1e6}
    ratio = (float(has[1]) * units[has[2].lower()]) / (float(want[1]) * units[want[2].lower()])
    return _ROUGHLY[0] <= ratio <= _ROUGHLY[1]


def ordered(
    wanted: str, variants: Sequence[Variant], quantisation: str = ""
) -> tuple[Variant, ...]:
    """In the order they are tried: of `quantisation` ("q4" is any of four bits), itself, the best."""
    prefer = _plain(quantisation)
    named = _parts(wanted).quantisation

    def place(variant: Variant) -> tuple[bool, bool, bool, float, int]:
        return (
            not (prefer and variant.quantisation.startswith(prefer)),
            full_name(variant.name) != full_name(wanted),
            not (named and variant.quantisation == named),
            -variant.weight[1],
            variant.size,
        )

    return tuple(sorted(variants, key=place))


def memory_said(text: str) -> tuple[int, int]:
    """(needed, available) bytes of an error of Ollama, zeros where it does not say.

    >>> memory_said("model requires more system memory (2 KiB) than is available (1.5 KiB)")
    (2048, 1536)
    """
    found = _MEMORY.search(text)
    if found is None:
        return 0, 0
    needed, unit, available, other = found.groups()
    return _bytes(needed, unit), _bytes(available, other)


def _bytes(number: str, unit: str) -> int:
    try:
        return int(float(number) * 1024 ** _POWERS[unit])
    except ValueError:  # "1.2.3" is no number
        return 0


@dataclass(frozen=True)
class _Failure:
    variant: Variant
    num_ctx: int
    until: float
    needed: int
    available: int

    def speaks_against(self, variant: Variant, num_ctx: int) -> bool:
        if num_ctx < self.num_ctx:
            return False
        if variant.weight >= self.variant.weight:
            return True
        saved = self.variant.size - variant.size
        return saved > 0 and self.needed - saved > self.available * _MARGIN > 0


class Unfit:
    """What did not fit into memory lately, so that neither it nor anything larger is tried.

    A failure speaks against every variant that is as heavy, with as large a context; where Ollama
    gave numbers also against a lighter one that would still need 10 % more than there is. It is
    forgotten after `seconds`. May be used from any thread.

    >>> unfit, small, large = Unfit(lambda: 0.0), Variant("m:q4_0", 4), Variant("m:q8_0", 8)
    >>> unfit.note(large, 8_192)
    >>> [bool(unfit.why(variant, 8_192)) for variant in (small, large)], unfit.why(large, 4_096)
    ([False, True], '')
    """

    def __init__(self, clock: Callable[[], float], seconds: float = REMEMBERED) -> None:
        self._clock = clock
        self._seconds = seconds
        self._failures: tuple[_Failure, ...] = ()
        self._lock = Lock()

    def __bool__(self) -> bool:
        """Whether there may be anything."""
        return bool(self._failures)

    def note(self, variant: Variant, num_ctx: int, needed: int = 0, available: int = 0) -> None:
        """It did not fit with that context."""
        now = self._clock()
        new = _Failure(variant, num_ctx, now + self._seconds, needed, available)
        with self._lock:
            self._failures = (
                *(
                    failure
                    for failure in self._failures
                    if failure.until > now
                    # What the new one says, and for longer, need not be kept.
                    and not new.speaks_against(failure.variant, failure.num_ctx)
                ),
                new,
            )

    def why(self, variant: Variant, num_ctx: int) -> str:
        """What speaks against it, "" if nothing does."""
        if not self._failures:
            return ""
        now = self._clock()
        for failure in self._failures:
            if failure.until > now and failure.speaks_against(variant, num_ctx):
                said = ""
                if failure.needed:
                    said = f" ({_gib(failure.needed)} needed, {_gib(failure.available)} free)"
                return (
                    f"{failure.variant.name} did not fit into memory with a context of "
                    f"{failure.num_ctx} tokens{said}; tried again in {failure.until - now:.0f} s"
                )
        return ""


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
