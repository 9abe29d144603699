"""A circuit breaker as values: a frozen state and what calls do to it. No clock, no I/O, no lock.

```text
closed     everybody may call; `failures` in a row, or one that says so, open it
open       nobody may call until its end; then the next who asks gets the probe
half-open  one probe is out and everybody else is refused; its success closes, its failure opens
```

Times are whole milliseconds of a wall clock, so processes can share them. `generation` rises with
every opening and every probe: it tells the calls of today from those begun before, and a probe
whose lease ended from the one that was given after it (a fencing token).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from rag_memory_plugins.errors import InvalidInput

__all__ = [
    "CLOSED",
    "HALF_OPEN",
    "OPEN",
    "BreakerRules",
    "BreakerState",
    "Permit",
    "Refused",
    "allow",
    "failure",
    "newest",
    "numbers_of",
    "order",
    "release",
    "state_of",
    "success",
]

CLOSED: Final = 0
OPEN: Final = 1
HALF_OPEN: Final = 2
_WORDS: Final = ("closed", "open", "half-open")


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens and for how long; all but `failures` in seconds.

    `failures` in a row open it, each within `window` of the one before. It stays open for
    `cool_down`, doubled for each probe that failed, up to `longest`; a cool-down that a failure
    states itself stands instead, up to `longest_stated`. A probe that tells nothing for `lease` is
    given up: choose more than a call may take. Raises `InvalidInput`.

    >>> BreakerRules(cool_down=5).longest
    300.0
    """

    failures: int = 3
    window: float = 60.0
    cool_down: float = 10.0
    longest: float = 300.0
    longest_stated: float = 3_600.0
    lease: float = 120.0

    def __post_init__(self) -> None:
        if not isinstance(self.failures, int) or isinstance(self.failures, bool):
            raise InvalidInput("failures", self.failures, "pass an int >= 1")
        if self.failures < 1:
            raise InvalidInput("failures", self.failures, "pass an int >= 1")
        for name in ("window", "cool_down", "longest", "longest_stated", "lease"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0.001 <= value <= 10**8:
                raise InvalidInput(name, value, "pass seconds, from 0.001 to 100000000")
        if self.cool_down > self.longest:
            raise InvalidInput("longest", self.longest, "pass at least what cool_down is")

    @property
    def horizon(self) -> int:
        """Milliseconds: an end that lies further ahead was set by a clock that has gone back since."""
        return _ms(max(self.longest, self.longest_stated, self.lease))


class Permit(NamedTuple):
    """The right to make one call; its result is reported with it.

    >>> Permit("groq/llama", 0).probe
    False
    """

    key: str
    generation: int
    probe: bool = False


class Refused(NamedTuple):
    """No call now; `why` is "open" or "half-open".

    `until`: when to ask again, in seconds of the breaker's clock; a half-open one may know before.

    >>> Refused(1_700_000_060.0, "open").why
    'open'
    """

    until: float
    why: str


@dataclass(frozen=True, slots=True)
class BreakerState:
    """What is known of one breaker.

    `until` is the end of the cool-down (open) or of the probe's lease (half-open); `failures` in a
    row, the last one `at`; `reopened` counts probes that failed since it was closed.

    >>> BreakerState().phase == CLOSED
    True
    >>> str(BreakerState(7, OPEN, until=9_000))
    'open until 9.0'
    """

    generation: int = 0
    phase: int = CLOSED
    until: int = 0
    reopened: int = 0
    failures: int = 0
    at: int = 0

    def __str__(self) -> str:
        word = _WORDS[self.phase]
        return word if self.phase == CLOSED else f"{word} until {self.until / 1_000}"


def allow(
    state: BreakerState, key: str, now: int, rules: BreakerRules, lease: float | None = None
) -> tuple[BreakerState, Permit | Refused]:
    """Who asks may call, may call as the probe, or may not: then the state is the very same object.

    `lease`: seconds, for this probe instead of the rules'. Raises `InvalidInput`.
    """
    if state.phase == CLOSED:
        return state, Permit(key, state.generation)
    if 0 < state.until - now <= rules.horizon:
        return state, Refused(state.until / 1_000, _WORDS[state.phase])
    generation = max(state.generation + 1, now)
    if lease is None:
        lease = rules.lease
    elif not isinstance(lease, (int, float)) or not lease > 0:  # NaN is not either
        raise InvalidInput("lease", lease, "pass seconds, a number > 0, or None")
    end = now + min(_ms(min(lease, 10**8)), rules.horizon)
    probing = BreakerState(generation, HALF_OPEN, until=end, reopened=state.reopened)
    return probing, Permit(key, generation, probe=True)


def success(state: BreakerState, permit: Permit) -> BreakerState:
    """The call did well: failures begin to count anew, and a probe closes the breaker.

    Nothing from a call of an older generation.
    """
    if permit.generation != state.generation or state.phase == OPEN:
        return state
    if state.phase == CLOSED and not state.failures:
        return state
    return BreakerState(state.generation)


def failure(
    state: BreakerState,
    permit: Permit,
    now: int,
    rules: BreakerRules,
    *,
    at_once: bool = False,
    cool_down: float | None = None,
) -> BreakerState:
    """The call failed: it counts, or opens `at_once`. `cool_down`: seconds, if they are known.

    A call of an older generation neither opens nor counts; if it states a cool-down, one that is
    running ends no earlier (the longer one counts, which LiteLLM #40130 gets wrong).
    """
    stated = _stated(cool_down, rules)
    if state.phase == OPEN or permit.generation != state.generation:
        if state.phase == OPEN and stated is not None and now < state.until < now + stated:
            return replace(state, until=now + stated)
        return state
    if state.phase == HALF_OPEN:
        return _opened(state, now, rules, stated, state.reopened + 1)
    failures = 1
    if state.failures and now - state.at <= _ms(rules.window):
        failures += state.failures
    if at_once or failures >= rules.failures:
        return _opened(state, now, rules, stated, 0)
    return replace(state, failures=failures, at=now)


def release(state: BreakerState, permit: Permit, now: int) -> BreakerState:
    """The call was cancelled, which says nothing about who was called: the probe is given back."""
    if permit.generation != state.generation or state.phase != HALF_OPEN:
        return state
    return BreakerState(state.generation, OPEN, until=now, reopened=state.reopened)


def order(state: BreakerState) -> tuple[int, int, int]:
    """Of two states of one breaker the later has the greater one.

    Within a generation a probe goes out first, and then is given back or has closed the breaker.
    """
    return (state.generation, -state.phase, state.until)


def newest(one: BreakerState, other: BreakerState) -> BreakerState:
    """What is known where both were seen, `one` if they say the same. No cool-down is shortened."""
    latest = other if order(other) > order(one) else one
    if one.phase == OPEN == other.phase:
        return replace(latest, until=max(one.until, other.until))
    return latest


def numbers_of(state: BreakerState) -> dict[str, int]:
    """The state as numbers by name; those that are 0 are left out, so a new one has none.

    >>> numbers_of(BreakerState(7, OPEN, until=9_000))
    {'generation': 7, 'phase': 1, 'until': 9000}
    """
    return {name: number for name in _NAMES if (number := getattr(state, name))}


def state_of(numbers: Mapping[str, int]) -> BreakerState:
    """The state that was written as `numbers`; unknown names are passed over. Raises `InvalidInput`.

    >>> state_of({"generation": 7, "phase": 1, "until": 9_000}).until
    9000
    """
    known = {name: int(numbers[name]) for name in _NAMES if name in numbers}
    for name, number in known.items():
        if number < 0 or (name == "phase" and number >= len(_WORDS)):
            raise InvalidInput(name, number, "drop the key: these are not a breaker's numbers")
    return BreakerState(**known)


_NAMES: Final = BreakerState.__slots__


def _opened(
    state: BreakerState, now: int, rules: BreakerRules, stated: int | None, reopened: int
) -> BreakerState:
    if stated is None:
        doubled = _ms(rules.cool_down) << min(reopened, 40)  # more would only be a larger number
        stated = min(doubled, _ms(rules.longest))
    generation = max(state.generation + 1, now)
    return BreakerState(generation, OPEN, until=now + stated, reopened=reopened)


def _stated(cool_down: float | None, rules: BreakerRules) -> int | None:
    if cool_down is None:
        return None
    if not isinstance(cool_down, (int, float)) or not cool_down >= 0:  # NaN is not either
        raise InvalidInput("cool_down", cool_down, "pass seconds, a number >= 0, or None")
    return _ms(min(cool_down, rules.longest_stated))


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1_000)
