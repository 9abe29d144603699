"""What somebody may do to facts and entities: an action for every public method, by its name.

Every value that is stated names its owner, so whatever comes back tells whose it is.
"""

from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import strategies as st

from rag_memory_plugins.errors import InvalidInput, MessageConflict
from rag_memory_plugins.facts.naming import APART, SAME
from rag_memory_plugins.ports import Claim, Said
from tests.isolation import HOSTILE, names, refused

FACT_IDS = [f"f{number}" for number in range(4)]
SUBJECTS = ["Ann", "Ann Lee", "Bob", "Robert Lee", "the piano", *HOSTILE[:6]]
PREDICATES = ["knows", "likes", "*", "lives in"]
NOW = datetime(2026, 5, 8, tzinfo=timezone.utc)
PAIRS = (SAME, APART)
subjects = st.sampled_from(SUBJECTS) | names
ids = st.sampled_from(FACT_IDS) | names


def _value(world, draw, who):
    return f"Value {who} {draw(st.integers(0, 2))}"


def _mine(world, who, objects):
    strange = [text for text in objects if not text.startswith(f"Value {who} ")]
    world.leaks += len(strange)
    assert strange == []


def _facts(world, draw, who):
    return world.place(draw, who).facts


def _source(world, draw, who, place):
    """A message of one's own, or what is none; with whether it may be a source."""
    own = [Said(session, message.id) for session, message in world.said[who]]
    source = draw(st.sampled_from(own) if own and draw(st.booleans()) else st.none())
    if source is None and draw(st.booleans()):
        wrong = world.hostile_ids(draw, 1)[0]
        here = Said(place.namespace.session, wrong)
        return here, here in own
    return source, True


def insert(world, draw):
    who = world.who(draw)
    place = world.place(draw, who)
    key, subject, value = draw(ids), draw(subjects), _value(world, draw, who)
    predicate = draw(st.sampled_from(PREDICATES))
    source, known = _source(world, draw, who, place)
    world.tried += 2
    said = (subject, predicate, value)

    def state():
        sources = [] if source is None else [source]
        return place.facts.insert(*said, sources=sources, id=key, many=True)

    if not any(map(str.isalnum, subject)) and not _says(subject):
        return who
    before = world.stated[who].get(key)
    if before is not None and before["said"] != said:
        refused(MessageConflict, state)
    elif before is not None:
        assert state().new is False
    elif not known:
        refused(InvalidInput, state)
    else:
        assert state().new is True
        session = place.namespace.session
        world.stated[who][key] = {"said": said, "source": source, "session": session}
    return who


def _says(subject):
    """Whether a subject is one that may be stated: some are nothing but signs."""
    from rag_memory_plugins.facts.values import normal

    return bool(normal(" ".join(subject.split())))


def state(world, draw):
    who = world.who(draw)
    facts, value = _facts(world, draw, who), _value(world, draw, who)
    key = draw(ids)
    world.tried += 1
    said = ("Ann", "knows", value)
    before = world.stated[who].get(key)
    work = facts.astate([Claim(*said, many=True)], by="tool", ids=[key])
    if before is not None:
        # By a tool, or of another value: another fact than the one that is there.
        refused(MessageConflict, lambda: world.run(work))
        return who
    world.run(work)
    session = facts.conversation.namespace.session
    world.stated[who][key] = {"said": (*said, "tool"), "source": None, "session": session}
    return who


def query(world, draw):
    who = world.who(draw)
    asked = {"text": draw(st.sampled_from([None, "Value 0 1 2 3", "Ann knows"]))}
    asked["subject"] = draw(st.none() | subjects.filter(lambda text: bool(text.strip())))
    asked["predicate"] = draw(st.sampled_from([None, *PREDICATES]))
    asked["known_at"] = draw(st.sampled_from([None, NOW.replace(year=2030)]))
    world.tried += 1
    found = _facts(world, draw, who).query(**asked, min_confidence=0.0)
    _mine(world, who, [fact.object for fact in found])
    mine = {Said(session, message.id) for session, message in world.said[who]}
    assert {source for fact in found for source in fact.sources} <= mine
    return who


def found(world, draw):
    who = world.who(draw)
    scores, _ = world.run(_facts(world, draw, who).afound("Value 0 1 2 3 Ann", 50))
    assert len(scores) <= len(world.stated[who])
    return who


def history(world, draw):
    who = world.who(draw)
    changes = _facts(world, draw, who).history(draw(st.none() | st.sampled_from(SUBJECTS)))
    own = [change for change in changes if change.predicate not in PAIRS]
    _mine(world, who, [change.new for change in own])
    _mine(world, who, [old for change in own for old in change.old])
    assert {change.id for change in changes} <= world.stated[who].keys()
    return who


def _by_id(world, draw, call):
    """Something by an id that may be one's own, another's or nobody's."""
    who = world.who(draw)
    key = draw(ids)
    world.tried += 1
    facts = _facts(world, draw, who)
    if key not in world.stated[who]:
        refused(InvalidInput, lambda: call(facts, key))
        return who, None, None
    return who, key, facts


def pin(world, draw):
    who, key, facts = _by_id(world, draw, lambda facts, key: facts.pin(key))
    if key is not None:
        facts.pin(key)
    return who


def unpin(world, draw):
    who = world.who(draw)
    world.tried += 1
    _facts(world, draw, who).unpin(draw(ids))
    return who


def retract(world, draw):
    who, key, facts = _by_id(world, draw, lambda facts, key: facts.retract(key))
    if key is None:
        return who
    if world.stated[who][key].get("undone"):
        refused(InvalidInput, lambda: facts.retract(key))
        return who
    act = facts.retract(key)
    if draw(st.booleans()):
        facts.undo(act)
        return who
    gone = {change.id for change in facts.history() if change.undone}
    assert key in gone
    for each in gone:
        world.stated[who][each]["undone"] = True
    return who


def undo(world, draw):
    who, key, facts = _by_id(world, draw, lambda facts, key: facts.undo(key))
    if key is None:
        return who
    if world.stated[who][key].get("undone"):
        refused(InvalidInput, lambda: facts.undo(key))
        return who
    assert facts.undo(key) == 1
    world.stated[who][key]["undone"] = True
    return who


def _entities(world, draw, who):
    return world.place(draw, who).entities


def _known(world, who):
    """Every name that a user has stated."""
    said = [row["said"] for row in world.stated[who].values()]
    return {" ".join(name.split()) for row in said for name in (row[0], row[2])}


def every_entity(world, draw):
    who = world.who(draw)
    shown = _entities(world, draw, who).all()
    assert {name for entity in shown for name in entity.names} <= _known(world, who)
    return who


def find(world, draw):
    who = world.who(draw)
    world.tried += 1
    name = draw(subjects.filter(lambda text: bool(text.strip())))
    entity = _entities(world, draw, who).find(name)
    assert entity is None or set(entity.names) <= _known(world, who)
    return who


def states(world, draw):
    who = world.who(draw)
    _mine(
        world,
        who,
        [f.object for f in _entities(world, draw, who).states(draw(st.sampled_from(SUBJECTS)))],
    )
    return who


def transitions(world, draw):
    who = world.who(draw)
    changes = _entities(world, draw, who).transitions(draw(st.sampled_from(SUBJECTS)))
    _mine(world, who, [change.new for change in changes if change.predicate not in PAIRS])
    return who


def timeline(world, draw):
    who = world.who(draw)
    shown = _entities(world, draw, who).timeline(draw(st.sampled_from(SUBJECTS)))
    _mine(world, who, [fact.object for fact in shown.facts])
    return who


def _pair(world, draw, predicate):
    who = world.who(draw)
    entities = _entities(world, draw, who)
    one, other = draw(st.sampled_from(SUBJECTS[:4])), draw(st.sampled_from(SUBJECTS[:4]))
    call = entities.merge if predicate == SAME else entities.distinguish
    session = entities.conversation.namespace.session
    said = (one, predicate, other)
    world.stated[who][call(one, other).id] = {"said": said, "source": None, "session": session}
    return who


def merge(world, draw):
    return _pair(world, draw, SAME)


def distinguish(world, draw):
    return _pair(world, draw, APART)


def _edges(world, who, graph):
    _mine(world, who, [edge.fact.object for edge in graph.edges])
    assert set(graph.nodes) <= _known(world, who)


def neighbours(world, draw):
    who = world.who(draw)
    depth = draw(st.integers(1, 5))
    graph = _entities(world, draw, who).neighbours(draw(st.sampled_from(SUBJECTS)), depth)
    _edges(world, who, graph)
    return who


def graph(world, draw):
    who = world.who(draw)
    _edges(world, who, _entities(world, draw, who).graph())
    return who


FACTS = {
    "ainsert": insert, "astate": state, "aquery": query, "afound": found, "ahistory": history,
    "apin": pin, "aunpin": unpin, "aretract": retract, "aundo": undo,
}  # fmt: skip
ENTITIES = {
    "aall": every_entity, "afind": find, "astates": states, "atransitions": transitions,
    "atimeline": timeline, "amerge": merge, "adistinguish": distinguish, "aneighbours": neighbours, "agraph": graph,
}  # fmt: skip
