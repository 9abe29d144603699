"""Time lines stated through `conversation.facts`, and the decisions and answers judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from benchmarks.facts_files import NOW, Asked, Stated, Story, plain
from benchmarks.report import BadData
from rag_memory_plugins.memory.facts import Facts

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.report import Report
    from rag_memory_plugins import Conversation, Memory
    from rag_memory_plugins.ports import Fact, FactDecision

__all__ = [
    "FactsOf",
    "Tally",
    "facts_after",
    "judge",
    "judge_texts",
    "our_facts",
    "put",
    "state",
]

TENANT: Final = "benchmark"
SESSION: Final = "told"


FactsOf: TypeAlias = "Callable[[Conversation], Facts]"


@dataclass
class Tally:
    """How often something was so, out of how often it could have been, by name."""

    hits: Counter[str] = field(default_factory=Counter)
    of: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def count(self, name: str, *, hit: bool) -> None:
        """One more case."""
        self.of[name] += 1
        self.hits[name] += hit

    def share(self, name: str) -> float:
        """Of all cases of a name; raises `BadData` where there was none."""
        if not self.of[name]:
            raise BadData(f"facts: the time lines hold no case of {name}")
        return self.hits[name] / self.of[name]


def our_facts(conversation: Conversation) -> Facts:
    """The package's facts, at the present of made time lines."""
    return Facts(conversation, lambda: NOW)


def facts_after(stories: Iterable[Story]) -> FactsOf:
    """The package's facts, a day after the last that was stated."""
    times = [
        time
        for story in stories
        for stated in story.stated
        for time in (stated.recorded_at, stated.claim.valid_from)
        if time is not None
    ]
    now = max(times) + timedelta(days=1)
    return lambda conversation: Facts(conversation, lambda: now)


def state(
    memory: Memory,
    stories: Iterable[Story],
    tally: Tally,
    progress: Progress,
    facts_of: FactsOf = our_facts,
) -> int:
    """State everything in the order in which it was recorded, users mixed; how many statements."""
    batches: dict[tuple[datetime, str], list[Stated]] = {}
    for story in stories:
        for stated in story.stated:
            batches.setdefault((stated.recorded_at, story.user), []).append(stated)
    places = {user: facts_of(_place(memory, user)) for _, user in batches}
    task = progress.add_task("facts stated", total=len(batches))

    async def tell() -> None:
        for recorded, user in sorted(batches):
            some = batches[recorded, user]
            claims = [stated.claim for stated in some]
            decided = await places[user].astate(claims, recorded_at=recorded)
            for stated, decision in zip(some, decided, strict=True):
                _decided(tally, stated, decision)
            progress.advance(task)

    memory.portal.call(tell())
    return sum(map(len, batches.values()))


def _decided(tally: Tally, stated: Stated, decision: FactDecision) -> None:
    merged = decision.decision == "NOOP"
    if stated.differs:
        tally.count("false_merge", hit=merged)
        tally.count(f"false_merge/{stated.family}", hit=merged)
    if stated.repeats and stated.kind == "same":
        tally.count("duplicates_kept", hit=not merged)
        tally.count(f"duplicates_kept/{stated.family}", hit=not merged)
    if (stated.differs and merged) or (stated.repeats and not merged):
        tally.wrong.append(f"{decision.decision}, {stated.family}: {stated.claim}")


def judge(
    memory: Memory,
    stories: Iterable[Story],
    tally: Tally,
    progress: Progress,
    facts_of: FactsOf = our_facts,
) -> None:
    """Ask by subject and predicate: `current@1`, `as_of@1`, `known_at@1`.

    `current_all` and so on: whether all that holds was answered, each value once, and nothing else.
    """

    async def ask() -> None:
        for story in progress.track(list(stories), description="questions"):
            facts = facts_of(_place(memory, story.user))
            for asked in story.asked:
                found = await facts.aquery(
                    subject=story.subject,
                    predicate=story.predicate,
                    as_of=asked.as_of,
                    known_at=asked.known_at,
                )
                name = _name(asked)
                tally.count(f"{name}@1", hit=_first(asked, found))
                tally.count(f"{name}_all", hit=_all(asked, found))
                if asked.many:
                    tally.count(f"{name}_all/many", hit=_all(asked, found))

    memory.portal.call(ask())


def judge_texts(
    memory: Memory,
    stories: Iterable[Story],
    tally: Tally,
    progress: Progress,
    way: str,
    facts_of: FactsOf = our_facts,
) -> None:
    """Ask in words about the present: `current_text@1/WAY`, and that by how near the words are.

    The first answer must be of the slot and hold; where nothing holds none may be of the slot.
    """

    async def ask() -> None:
        for story in progress.track(list(stories), description=f"texts, {way}"):
            facts = facts_of(_place(memory, story.user))
            for asked in story.present:
                for name, text in zip(("near", "far"), story.texts, strict=False):
                    found = await facts.aquery(text, limit=10)
                    hit = _first_of_slot(story, asked, found)
                    tally.count(f"current_text@1/{way}", hit=hit)
                    tally.count(f"current_text@1/{way}/{name}", hit=hit)

    memory.portal.call(ask())


def put(report: Report, tally: Tally) -> None:
    """The shares by name, and of each decision out of how many."""
    for name in sorted(tally.of):
        report.put(name, tally.share(name))
    for name in ("false_merge", "duplicates_kept"):
        if tally.of[name]:
            report.put(f"{name}_cases", tally.of[name])
            report.put(f"{name}_count", tally.hits[name])


def _place(memory: Memory, user: str) -> Conversation:
    return memory.conversation(TENANT, user, SESSION)


def _name(asked: Asked) -> str:
    if asked.known_at is not None:
        return "known_at"
    return "current" if asked.as_of is None else "as_of"


def _first(asked: Asked, found: Sequence[Fact]) -> bool:
    if not asked.answers or not found:
        return not asked.answers and not found
    return any(plain(found[0].object) in wordings for wordings in asked.answers)


def _all(asked: Asked, found: Sequence[Fact]) -> bool:
    """Whether every value was answered once, and nothing else: what gave way is no answer."""
    said = [plain(fact.object) for fact in found]
    hits = [[text for text in said if text in wordings] for wordings in asked.answers]
    return len(said) == len(asked.answers) and all(len(some) == 1 for some in hits)


def _first_of_slot(story: Story, asked: Asked, found: Sequence[Fact]) -> bool:
    slot = (plain(story.subject), plain(story.predicate))
    own = [fact for fact in found if (plain(fact.subject), plain(fact.predicate)) == slot]
    if not asked.answers:
        return not own
    return bool(own) and own[0] is found[0] and _first(asked, own)
