"""Breakers under random schedules of 64 tasks, against a reference that keeps no numbers."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rag_memory_plugins.portal import at_once
from rag_memory_plugins.router.breaker import (
    CLOSED,
    OPEN,
    BreakerRules,
    BreakerState,
    Permit,
    Refused,
)
from rag_memory_plugins.router.breakers import Breakers

TASKS = 64
RULES = BreakerRules(failures=3, window=30, cool_down=10, longest=40, longest_stated=90, lease=20)


class Reference:
    """What a breaker does, told with objects: a call remembers the era it began in."""

    def __init__(self):
        self.era, self.probe, self.end, self.probes_failed = object(), None, None, 0
        self.failed_at = []

    def ask(self, now):
        """The era of a call, or None. `end` is None while closed."""
        if self.end is not None:
            if now < self.end:
                return None
            self.era = self.probe = object()
            self.end = now + 20
        return self.era

    def succeed(self, era):
        if era is self.probe:
            self.end, self.probe, self.probes_failed = None, None, 0
            self.failed_at = []
        elif era is self.era and self.end is None:
            self.failed_at = []

    def fail(self, era, now, at_once, stated):
        if era is self.probe:
            self.probes_failed += 1
            self.open(now, stated)
        elif era is self.era and self.end is None:
            if self.failed_at and now - self.failed_at[-1] > 30:
                self.failed_at = []
            self.failed_at.append(now)
            if at_once or len(self.failed_at) == 3:
                self.open(now, stated)
        elif self.end is not None and self.probe is None and now < self.end and stated is not None:
            self.end = max(self.end, now + min(stated, 90))

    def open(self, now, stated):
        length = min(10 * 2**self.probes_failed, 40) if stated is None else min(stated, 90)
        self.era, self.probe, self.end, self.failed_at = object(), None, now + length, []

    def cancel(self, era, now):
        if era is self.probe:
            self.probe, self.end = None, now


class Play:
    """Does every step to both, and looks whether they agree and the promises hold."""

    def __init__(self):
        self.now = 1_700_000_000
        self.breakers = Breakers(rules=RULES, clock=lambda: self.now)
        self.reference = Reference()
        self.calling: dict[int, tuple[Permit, object, int]] = {}  # by task; when its lease ends

    def run(self, steps):
        for kind, number, sudden, stated in steps:
            if kind == "wait":
                self.now += number
            elif kind == "ask":
                self.ask(number % TASKS)
            elif self.calling:
                task = sorted(self.calling)[number % len(self.calling)]
                self.report(kind, task, sudden, stated)
        self.now += 91
        assert isinstance(at_once(self.breakers.aallow("k")), Permit), "blocked for ever"

    def state(self):
        return self.breakers.states().get("k", BreakerState())

    def ask(self, task):
        if task in self.calling:
            return
        before = self.state()
        answer, era = at_once(self.breakers.aallow("k")), self.reference.ask(self.now)
        if isinstance(answer, Refused):
            assert era is None
            assert self.now < answer.until == self.reference.end <= self.now + 90
            return
        assert answer.probe == (era is self.reference.probe)
        if answer.probe:
            out = [each for each, _, end in self.calling.values() if each.probe and self.now < end]
            assert all(each.generation != before.generation for each in out), "two probes are out"
        else:
            assert before.phase == CLOSED, "one came in beside the probe"
        self.calling[task] = (answer, era, self.now + 20)

    def report(self, kind, task, sudden, stated):
        permit, era, _ = self.calling[task]
        if kind != "content":  # a stream's first, after which it may still fail
            del self.calling[task]
        before = self.state()
        if kind == "fail":
            self.breakers.failed(permit, at_once=sudden, cool_down=stated)
            self.reference.fail(era, self.now, sudden, stated)
        elif kind == "cancel":
            self.breakers.cancelled(permit)
            self.reference.cancel(era, self.now)
        else:
            self.breakers.succeeded(permit)
            self.reference.succeed(era)
        after = self.state()
        if permit.generation != before.generation:
            assert (after.phase, after.generation) == (before.phase, before.generation), "late"
        if kind == "cancel":
            assert after == before or permit.probe
        if before.phase == after.phase == OPEN:
            assert after.until >= before.until, "a cool-down was shortened"


STEP = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "succeed", "content", "fail", "fail", "cancel", "wait"]),
    st.integers(0, TASKS - 1),
    st.booleans(),
    st.sampled_from([None, None, 0, 5, 60, 1_000]),
)


@given(st.lists(STEP, max_size=120))
def test_whatever_tasks_do_it_is_what_the_reference_does(steps):
    Play().run(steps)


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_long_schedules_of_64_tasks_too(seed):
    chance = random.Random(seed)
    kinds = chance.choices(
        ["ask", "succeed", "content", "fail", "cancel", "wait"],
        weights=[8, chance.choice([1, 4]), 1, chance.choice([1, 4]), 1, 1],
        k=600,
    )
    Play().run(
        (kind, chance.randrange(TASKS), chance.random() < 0.3, chance.choice([None, 0, 5, 60]))
        for kind in kinds
    )
