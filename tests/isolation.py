"""A world of look-alike users on one engine, with a model of each, for the isolation machine."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import assume
from hypothesis import strategies as st

from rag_memory_plugins import Filter, Message
from rag_memory_plugins.errors import InvalidFilter
from rag_memory_plugins.memory.shelf import Shelf
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import ItemChange
from rag_memory_plugins.testing.vector_points import AWKWARD

HOSTILE = [
    *AWKWARD, "tenant1", "tenant10", "\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m", "\u202e", "SHARED",
    "..", "../a", "{}", "$ne", "acme/ann", "m*", "m_", "m%", "' OR 1=1 --",
]  # fmt: skip
TEXTS = ["yes", "the piano is blue", "the piano is blue?", "the piano is green", "Anna likes tea"]
IDS = [f"m{number}" for number in range(5)]
PATHS = ["a", "a/b", "ab", "a%", "%", "_", "*", "..", "' OR 1=1 --", "a/"]
USERS = 4

names = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
)
FIELDS = ["owner", "tenant", "user", "user_id", "scope_id", "session_id", "rag_memory_owner", "*"]
operations = st.one_of(
    st.integers(0, USERS - 1),
    st.sampled_from(["*", "%", "' OR 1=1 --", "acme", None, True]),
    st.builds(lambda value: {"ne": value}, st.sampled_from([0, 1, "acme", None])),
    st.builds(lambda value: {"gte": value}, st.sampled_from([0, "", -1.5])),
    st.just({"in": list(range(USERS))}),
    st.just({"not_in": ["nobody"]}),
    st.builds(lambda value: {"exists": value}, st.booleans()),
)
leaves = st.one_of(
    st.builds(
        lambda key, wanted: Filter(metadata={key: wanted}), st.sampled_from(FIELDS), operations
    ),
    st.builds(lambda some: Filter(sessions=some), st.lists(names, max_size=3)),
    st.builds(lambda some: Filter(ids=some), st.lists(names | st.sampled_from(IDS), max_size=3)),
    st.builds(lambda name: Filter(names=name), names),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        inner.map(lambda one: ~one),
    ),
    max_leaves=4,
)
REFUSED = [
    {"user_id": "*"},
    {"AND": [{"user_id": "*"}]},
    {"metadata": {"owner": {"$ne": 0}}},
    {"metadata": {"owner": {"like": "%"}}},
    {"metadata": {"owner": {}}},
    {"or": []},
    {"sessions": None},
    {"tenant": "acme"},
]


class World:
    """A memory that `opened` opens, and what each of its users has said and put on the shelf.

    `tried` counts hostile names, ids and filters, `leaks` what came back of another's, `foreign`
    what another's call took away.
    """

    def __init__(self, opened):
        self.opened = opened
        self.memory = opened()
        self.tried = self.steps = self.leaks = self.foreign = 0
        self.users = []
        self.broken = False

    # Whose turn it is, and what they try

    def begin(self, draw):
        assume(draw(st.integers(0, 2**32)))  # the first example of all is nothing but zeros
        pairs = st.tuples(names, names)
        self.users = draw(st.lists(pairs, min_size=USERS, max_size=USERS, unique=True))
        self.sessions = draw(st.lists(names, min_size=2, max_size=2, unique=True))
        self.tried += 2 * USERS + 2
        self.said = defaultdict(list)
        self.pins = defaultdict(dict)
        self.items = defaultdict(dict)
        self.stated = defaultdict(dict)
        for who in range(USERS):
            self.fill(who)
        if draw(st.booleans()):
            self.memory.settle()

    def fill(self, who):
        """Equal ids and texts for everybody, in both sessions and on the shelf."""
        for at, session in enumerate(self.sessions):
            batch = [
                Message("user", text, key, metadata={"owner": who, "tenant": "acme"})
                for key, text in zip(IDS[at:], TEXTS, strict=False)
            ]
            self.memory.conversation(self.space(who, session)).add(batch)
            self.said[who] += [(session, message) for message in batch]
        value = {"owner": who, "n": 0}
        places = [(path, "m0") for path in PATHS]
        message = Message("user", "the piano is number 0", "m0", metadata=value)
        changes = [ItemChange(path, key, message) for path, key in places]
        self.run(self.shelf(who).achange(changes))
        self.items[who].update(dict.fromkeys(places, value))

    def who(self, draw):
        who = draw(st.integers(0, USERS - 1))
        if not self.said[who] and draw(st.booleans()):
            self.fill(who)
        return who

    def space(self, who, session):
        return Namespace(*self.users[who], session)

    def place(self, draw, who):
        """One of the two sessions of a user."""
        return self.memory.conversation(self.space(who, draw(st.sampled_from(self.sessions))))

    def shelf(self, who):
        return Shelf(self.memory, Scope(*self.users[who], items=True))

    def hostile_ids(self, draw, least=0):
        """Ids of one's own, of others, and of nobody's."""
        others = [Namespace(*user, self.sessions[0]).key for user in self.users]
        some = st.sampled_from(IDS) | names | st.sampled_from(others)
        found = draw(st.lists(some, min_size=least, max_size=6))
        self.tried += len(found)
        return found

    def hostile_filter(self, draw):
        """A filter that would widen what is seen; those that mean nothing are refused."""
        bad = draw(st.sampled_from([None, None, *REFUSED]))
        if bad is not None:
            self.tried += 1
            refused(InvalidFilter, lambda: Filter.from_dict(bad))
        self.tried += 1
        return draw(filters)

    # What the model says

    def message(self, draw, who, message_id):
        text = draw(st.sampled_from(TEXTS))
        role = draw(st.sampled_from(["user", "assistant"]))
        name = draw(st.sampled_from([None, "Ann"]))
        return Message(role, text, message_id, name=name, metadata={"owner": who, "tenant": "acme"})

    def held(self, who, session=None, where=None, ids=None):
        """(session, message) of what a user has said, in order."""
        return [
            (place, message)
            for place, message in self.said[who]
            if session in (None, place)
            and (where is None or where.matches(message, place))
            and (ids is None or message.id in ids)
        ]

    def forget(self, who, gone):
        """Take away of the model; how many messages and pins those were."""
        keys = {(session, message.id) for session, message in gone}
        self.said[who] = [row for row in self.said[who] if (row[0], row[1].id) not in keys]
        pins = [self.pins[who].pop(key) for key in keys & self.pins[who].keys()]
        self.stated[who] = {
            key: row for key, row in self.stated[who].items() if row["source"] not in keys
        }
        return len(gone), len(pins)

    # What is looked at after each step

    def mine(self, who, messages):
        """Every message is the asker's own, and was not erased."""
        known = {message.id for _, message in self.said[who]}
        strange = [m for m in messages if m.metadata.get("owner") != who]
        self.leaks += len(strange)
        assert strange == []
        assert [m for m in messages if m.id not in known] == []

    def look(self, who):
        """Whether all that a user holds is what the model says."""
        place = self.memory.conversation(self.space(who, self.sessions[0]))
        rows = [(row.pop("session"), Message.from_dict(row)) for row in place.export("user")]
        right = rows == self.said[who]
        found = self.run(self.shelf(who).alist("", None, 1_000, 0))
        stands = {(item.path, item.message.id): item.message.metadata for item in found}
        changes = place.facts.history()
        facts = {change.id: change.undone for change in changes}
        known = {key: bool(row.get("undone")) for key, row in self.stated[who].items()}
        return right and stands == self.items[who] and facts == known

    def step(self, name, action):
        self.steps += 1
        self.broken = True  # until this step is over
        who = action()
        assert who is None or self.look(who), name
        changes = (
            "erase",
            "forget",
            "change",
            "rebuild",
            "close",
            "clean",
            "expire",
            "sweep",
            "fold",
        )
        if any(word in name for word in changes):
            wronged = [n for n in range(USERS) if n != who and not self.look(n)]
            self.foreign += len(wronged)
            assert wronged == [], name
        self.broken = False

    def run(self, work):
        return self.memory.portal.call(work)

    # How it ends

    def reopen(self):
        self.memory.close()
        self.memory = self.opened()

    def end(self):
        """Everybody is erased in turn, and whoever is left has all of theirs."""
        for who in range(USERS if self.users else 0):
            place = self.memory.conversation(self.space(who, self.sessions[0]))
            receipt = place.erase(level="user")
            erased = self.run(self.shelf(who).aerase())
            if self.broken:  # what failed is known; what comes next begins with nothing
                continue
            assert (receipt.messages, receipt.complete) == (len(self.said[who]), True)
            assert (erased.messages, erased.complete) == (len(self.items[who]), True)
            self.said[who], self.pins[who], self.items[who] = [], {}, {}
            self.stated[who] = {}
            wronged = [n for n in range(USERS) if not self.look(n)]
            self.foreign += len(wronged)
            assert wronged == []
        self.users = []
        self.broken = False
        assert self.memory.namespaces() == []

    def close(self):
        self.memory.close()


def refused(error, call):
    """The call raises this error and nothing else."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"not refused with {error.__name__}")
