"""A plan put into words: what the user writes, what the assistant answers, code included.

Each sentence is drawn again while it holds a value that a question asks for, so that an answer
stands in its evidence alone. An answer's length follows what was said so far, so that a turn has
`TOKENS` on average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from benchmarks.scenarios.dialogue import holds, plain
from benchmarks.scenarios.plan import Event, Plan
from benchmarks.scenarios.values import fields, names_of
from benchmarks.scenarios.vocabulary import blocks, filled, said
from rag_memory_plugins import Message

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["TOKENS", "Writer"]

TOKENS: Final = 350
"""Of a turn, user and assistant together."""
SHORTEST: Final = 40
LONGEST: Final = 900
TRIES: Final = 50
NAMES: Final = (0, 0, 0, 1, 1, 2)
"""Which of a subject's names is said, as often as it stands here."""
START: Final = datetime(2026, 2, 2, 8, 30, tzinfo=timezone.utc)


class Writer:
    """Writes a plan's turns one after the other; `holding` says which messages hold a value."""

    def __init__(self, plan: Plan, random: Random, counter: TokenCounter) -> None:
        self._plan = plan
        self._random = random
        self._count = counter.count
        self._spent = 0
        self._topic: tuple[str, ...] = ()
        self._topic_left = 0
        self._time = START
        self._code: Event | None = None
        self._spoken: list[str] = []
        self.messages: list[Message] = []

    def write(self) -> list[Message]:
        """Every message, oldest first."""
        for turn in range(1, self._plan.turns + 1):
            self._episode = self._plan.episode(turn)
            self._move(turn)
            user, digressing = self._user(turn)
            self._say("user", turn, user)
            self._say("assistant", turn, self._assistant(turn, digressing))
        return self.messages

    def _move(self, turn: int) -> None:
        """On to another subject now and then, and to another day when an episode begins."""
        fresh = turn == self._episode.start
        self._topic_left -= 1
        if fresh or self._topic_left < 0:
            self._topic = self._random.choice(self._episode.subjects)
            self._topic_left = self._random.randrange(3, 10)
        pause = timedelta(minutes=self._random.randrange(1, 12))
        if (fresh and turn > 1) or self._random.random() < 0.02:
            pause = timedelta(hours=self._random.randrange(14, 40))
        self._time += pause

    def _say(self, role: str, turn: int, text: str) -> None:
        self._spent += self._count(text)
        self._time += timedelta(seconds=20)
        key = f"{turn:05}-{role}"
        self.messages.append(Message(role, text, id=key, time=self._time))  # type: ignore[arg-type]

    def _user(self, turn: int) -> tuple[str, bool]:
        """(what the user writes, whether it is about something else altogether)."""
        random = self._random
        event, accepted = self._plan.events.get(turn), self._plan.accepts.get(turn)
        self._code = None
        if accepted is not None:
            yes = self._line("accepts")
            return (f"{yes} {self._request()}" if random.random() < 0.4 else yes), False
        if event is not None and event.style in ("told", "passing"):
            return self._telling(event), False
        if event is not None and event.style == "code":
            if random.random() < 0.45:
                return f"{self._request()}\n\n```\n{self._block(event)}\n```", False
            self._code = event
        point = random.random()
        if event is None and point < 0.14:
            return self._line("digressions"), True
        if event is None and point < 0.26:
            return f"{self._request()}\n\n```\n{self._block()}\n```", False
        small = f"{self._line('smalltalk')} " if point > 0.8 else ""
        return small + self._request(), False

    def _telling(self, event: Event) -> str:
        """A decision as the user writes it, alone or among other things."""
        random = self._random
        slot = event.fact.slot
        if event.refused:
            text = self._fact(event, self._sections["rejects"])
        elif event.style == "passing":
            text = self._fact(event, slot.passing)
            return f"{self._line('smalltalk')} {text} {self._request()}"
        else:
            text = self._fact(event, slot.told)
            if event.version and random.random() < 0.5:
                text = f"{self._line('changes')} {_small(text, event.fact.values[event.version])}"
            elif random.random() < 0.5:
                text = f"{self._line('leadins')} {_small(text, event.fact.values[event.version])}"
        point = random.random()
        if point < 0.3:
            return f"{text} {self._request()}"
        return f"{self._request()} {text}" if point < 0.55 else text

    def _fact(self, event: Event, templates: Sequence[str]) -> str:
        made = self._kept_apart(
            lambda: self._sentence(self._random.choice(templates), event),
            event.fact.values[event.version],
        )
        return made if made[-1] in ".!?" else f"{made}."

    def _assistant(self, turn: int, digressing: bool) -> str:
        random = self._random
        event = self._plan.events.get(turn)
        self._spoken = []
        wanted = (TOKENS * turn - self._spent) * random.uniform(0.55, 1.45)
        wanted = max(SHORTEST, min(LONGEST, wanted))
        told = event is not None and event.style in ("told", "passing") and not event.refused
        parts = [self._line("acks" if told else "openings")]
        if digressing:
            parts = [self._line("digressed")]
        if self._code is not None:
            parts.append(f"```\n{self._block(self._code)}\n```")
        elif told and event is not None and event.fact.slot.code and random.random() < 0.2:
            parts.append(f"```\n{self._block(event)}\n```")
        tail = self._offer(event) if event is not None and event.style == "proposed" else ""
        used = sum(map(self._count, (*parts, tail)))
        while used < wanted:
            used += self._count(self._more(parts, digressing))
        if not tail and random.random() < 0.3:
            tail = self._line("closings")
        return "\n\n".join([*parts, tail] if tail else parts)

    def _more(self, parts: list[str], digressing: bool) -> str:
        """Another paragraph or block of an answer, put behind the others."""
        if digressing:
            text = self._paragraph("digressed", self._random.randrange(2, 5))
        elif self._random.random() < 0.5:
            text = f"```\n{self._block()}\n```"
        else:
            text = self._paragraph("remarks", self._random.randrange(1, 4))
        parts.append(text)
        return text

    def _offer(self, event: Event) -> str:
        """A proposal at the end of an answer."""
        made = self._fact(event, event.fact.slot.proposed)
        return f"{self._line('offers')} {_small(made, event.fact.values[event.version])} {self._line('offerends')}"

    def _block(self, event: Event | None = None) -> str:
        """Code, a log, a record: some pieces of one kind, and in one of them an event's line."""
        kinds = self._sections["blocks"][0].split()
        pieces = blocks()[self._random.choice(kinds)]
        some = self._random.sample(pieces, min(len(pieces), self._random.randrange(1, 4)))
        texts = [self._kept_apart(partial(self._piece, text)) for text in some]
        if event is not None:
            line = self._sentence(self._random.choice(event.fact.slot.code), event, plain_code=True)
            texts.insert(self._random.randrange(len(texts) + 1), line)
        return "\n\n".join(texts)

    def _piece(self, template: str) -> str:
        return filled(template, fields(self._random))

    def _request(self) -> str:
        subject = self._topic
        if self._random.random() < 0.15:
            subject = self._random.choice(self._episode.subjects)
        return self._line("requests", subject)

    def _paragraph(self, section: str, count: int) -> str:
        """Sentences of a section, none twice in one answer while there are others."""
        templates = [text for text in self._sections[section] if text not in self._spoken]
        templates = templates if len(templates) >= count else self._sections[section]
        some = self._random.sample(templates, count)
        self._spoken += some
        return " ".join(self._line(section, template=text) for text in some)

    def _line(self, section: str, subject: tuple[str, ...] = (), template: str = "") -> str:
        """One sentence of a section that holds no value asked for."""

        def made() -> str:
            text = template or self._random.choice(self._sections[section])
            some = fields(self._random)
            some["s"] = subject[self._random.choice(NAMES)] if subject else ""
            return _great(said(self._random, text, some))

        return self._kept_apart(made)

    def _sentence(self, template: str, event: Event, *, plain_code: bool = False) -> str:
        name = event.fact.subject[self._random.choice(NAMES)]
        # Code calls things by their first name.
        names = names_of(event.fact.subject[0])
        held = event.fact.values[event.version]
        some = {**fields(self._random), **names, "s": name, "v": held}
        if plain_code:
            return filled(template, some)
        return _great(said(self._random, template, some))

    def _kept_apart(self, make: Callable[[], str], allowed: str = "") -> str:
        """What `make` gives, made again while it holds a value asked for other than `allowed`."""
        text = make()
        for _ in range(TRIES):
            low = plain(text)
            near = [value for value in self._plan.reserved if value.casefold() in low]
            if not any(holds(low, value) for value in near if value != allowed):
                break
            text = make()
        return text

    @property
    def _sections(self) -> dict[str, list[str]]:
        return dict(self._episode.words.sections)


def _great(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str, held: str = "") -> str:
    """As it goes on after a colon; "I", names and codes keep their letters."""
    first = text.split(" ", 1)[0]
    kept = first in ("I", "QA", "CI") or not first[1:].islower() or text.startswith(held or " ")
    return text if kept else text[:1].lower() + text[1:]
