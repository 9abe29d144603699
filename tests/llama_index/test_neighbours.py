from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore, TextNode

from rag_memory_plugins import SHARED, Conversation, Filter, Memory, Message, ToolCall, open_memory
from rag_memory_plugins.errors import InvalidFilter, InvalidInput, InvalidQuery, UnknownArgument
from rag_memory_plugins.llama_index import MemoryRetriever, NeighbourPostprocessor
from rag_memory_plugins.llama_index.nodes import node_of
from tests.llama_index.listening import listening, of


def said(conversation: Conversation, count: int) -> None:
    conversation.add([Message("user", f"monday {n}", id=f"m{n}") for n in range(count)])


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    said(memory.conversation("acme", "ann", "monday"), 10)
    memory.conversation("acme", "ann", "friday").add("friday 0", id="f0")
    memory.conversation("acme", "bob", "monday").add("bob 0", id="m4")
    memory.conversation("globex", "ann", "monday").add("globex 0", id="m4")
    return memory.conversation("acme", "ann", "tuesday")


def remembered(
    conversation: Conversation, *keys: str, session: str = "monday"
) -> list[NodeWithScore]:
    """Nodes of these messages, the first with the highest score."""
    space = conversation.namespace
    messages = {
        message.id: message
        for message in conversation.memory.conversation(
            space.tenant, space.user, session
        ).messages()
    }
    return [
        NodeWithScore(node=node_of(messages[key], space.scope, session), score=1 - at / 10)
        for at, key in enumerate(keys)
    ]


def shown(nodes: Sequence[NodeWithScore]) -> list[tuple[str, float | None]]:
    return [(node.text, node.score) for node in nodes]


async def test_messages_beside_a_node_come_without_a_score_in_the_order_they_were_said(
    ann: Conversation,
) -> None:
    near = NeighbourPostprocessor(ann, before=1, after=2)
    wanted = [("monday 3", None), ("monday 4", 1.0), ("monday 5", None), ("monday 6", None)]
    assert shown(near.postprocess_nodes(remembered(ann, "m4"))) == wanted
    assert shown(await near.apostprocess_nodes(remembered(ann, "m4"))) == wanted


def test_a_neighbour_is_the_node_that_the_retriever_would_give(ann: Conversation) -> None:
    (wanted,) = remembered(ann, "m3")
    near = NeighbourPostprocessor(ann, before=1, after=0)
    first, _ = near.postprocess_nodes(remembered(ann, "m4"))
    assert first.node == wanted.node


def test_windows_stand_where_their_best_node_stood(ann: Conversation) -> None:
    near = NeighbourPostprocessor(ann, before=1, after=1)
    nodes = [*remembered(ann, "m8", "m1"), *remembered(ann, "f0", session="friday")]
    assert [node.text for node in near.postprocess_nodes(nodes)] == [
        *("monday 7", "monday 8", "monday 9"),
        *("monday 0", "monday 1", "monday 2"),
        "friday 0",
    ]


def test_windows_that_overlap_are_one_and_keep_the_scores_of_what_was_found(
    ann: Conversation,
) -> None:
    near = NeighbourPostprocessor(ann, before=1, after=1)
    assert shown(near.postprocess_nodes(remembered(ann, "m5", "m1", "m3"))) == [
        ("monday 0", None),
        ("monday 1", 0.9),
        ("monday 2", None),
        ("monday 3", 0.8),
        ("monday 4", None),
        ("monday 5", 1.0),
        ("monday 6", None),
    ]


def test_a_message_that_was_found_twice_comes_once(ann: Conversation) -> None:
    near = NeighbourPostprocessor(ann, before=0, after=0)
    assert shown(near.postprocess_nodes(remembered(ann, "m5", "m5"))) == [("monday 5", 1.0)]


def test_a_node_that_was_shortened_before_stays_as_it_is(ann: Conversation) -> None:
    (item,) = remembered(ann, "m5")
    item.node.set_content("mon …")
    near = NeighbourPostprocessor(ann, before=1, after=0)
    assert [node.text for node in near.postprocess_nodes([item])] == ["monday 4", "mon …"]


def test_nodes_of_another_tenant_or_user_and_documents_stay_as_and_where_they_are(
    ann: Conversation, memory: Memory
) -> None:
    others = [
        *remembered(memory.conversation("globex", "ann", "monday"), "m4"),
        *remembered(memory.conversation("acme", "bob", "monday"), "m4"),
        NodeWithScore(node=TextNode(text="a document"), score=None),
        NodeWithScore(node=TextNode(text="page", metadata={"id": "m4", "session": "monday"})),
    ]
    nodes = [others[0], *remembered(ann, "m4"), *others[1:]]
    got = NeighbourPostprocessor(ann, before=1, after=0).postprocess_nodes(nodes)
    assert [node.text for node in got] == [
        *("globex 0", "monday 3", "monday 4", "bob 0", "a document", "page")
    ]
    assert [got[0].node, *(node.node for node in got[3:])] == [item.node for item in others]


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("tenant", "globex"),
        ("tenant", None),
        ("session", "friday"),
        ("session", ""),
        ("session", 7),
        ("id", "m5"),
        ("id", "\ud800"),
    ],
)
def test_a_node_that_says_two_things_about_where_it_is_from_gets_no_neighbours(
    ann: Conversation, changed: str, value: object
) -> None:
    (item,) = remembered(ann, "m4")
    item.node.metadata[changed] = value
    got = NeighbourPostprocessor(ann).postprocess_nodes([item])
    assert [node.node for node in got] == [item.node]


def test_memory_that_a_tenant_shares_has_neighbours_too(memory: Memory) -> None:
    team = memory.conversation("acme", SHARED, "team/a")
    team.add(["one", "two"])
    found = MemoryRetriever(team, limit=1).retrieve("two")
    got = NeighbourPostprocessor(team).postprocess_nodes(found)
    assert [node.text for node in got] == ["one", "two"]


def test_a_message_without_text_is_not_shown(memory: Memory) -> None:
    ann = memory.conversation("acme", "ann", "monday")
    call = Message("assistant", "", tool_calls=(ToolCall("c1", "weather"),))
    ann.add([Message("user", "weather?", id="m0"), call])
    ann.add(Message("tool", "21 degrees", tool_call_id="c1"))
    got = NeighbourPostprocessor(ann).postprocess_nodes(remembered(ann, "m0"))
    assert [node.text for node in got] == ["weather?", "21 degrees"]


def test_only_neighbours_that_match_the_filter_come_in(ann: Conversation, memory: Memory) -> None:
    memory.conversation("acme", "ann", "monday").add("monday 10", role="assistant", id="m10")
    near = NeighbourPostprocessor(ann, where=~Filter(roles="assistant") & ~Filter(ids="m7"))
    got = near.postprocess_nodes(remembered(ann, "m9"))
    assert [node.text for node in got] == ["monday 8", "monday 9"]


def test_a_message_that_was_forgotten_since_has_no_neighbours(
    ann: Conversation, memory: Memory
) -> None:
    nodes = remembered(ann, "m4")
    memory.conversation("acme", "ann", "monday").forget("m4")
    assert shown(NeighbourPostprocessor(ann).postprocess_nodes(nodes)) == [("monday 4", 1.0)]


async def test_a_store_that_fails_costs_the_neighbours_visibly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_memory(tmp_path / "closed.db", embedder=None) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        said(ann, 3)
        nodes = remembered(ann, "m1")
    near = NeighbourPostprocessor(ann)
    with listening() as heard, caplog.at_level(logging.WARNING, "rag_memory_plugins.llama_index"):
        assert shown(near.postprocess_nodes(nodes)) == [("monday 1", 1.0)]
        assert shown(await near.apostprocess_nodes(nodes)) == [("monday 1", 1.0)]
    events = of(heard, "RagMemoryDegradeEvent")
    assert [event.source for event in events] == ["NeighbourPostprocessor acme/ann/monday"] * 2
    assert "no neighbours: StoreClosed" in events[0].reason
    assert len(caplog.records) == 2


def test_what_was_retrieved_gets_its_neighbours(ann: Conversation) -> None:
    found = MemoryRetriever(ann, limit=1).retrieve("friday")
    assert shown(NeighbourPostprocessor(ann).postprocess_nodes(found)) == shown(found)


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"conversation": "acme"}, InvalidInput, "conversation"),
        ({"before": -1}, InvalidQuery, "before"),
        ({"after": 21}, InvalidQuery, "after"),
        ({"where": {"roles": "user"}}, InvalidFilter, "where"),
        ({"window": 3}, UnknownArgument, "NeighbourPostprocessor.__init__(window=)"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    ann: Conversation, arguments: dict[str, Any], error: type[InvalidInput], field: str
) -> None:
    with pytest.raises(error) as caught:
        NeighbourPostprocessor(**{"conversation": ann, **arguments})
    assert caught.value.field == field


def test_the_serialised_form_holds_no_content_and_wants_the_conversation(
    ann: Conversation,
) -> None:
    data = NeighbourPostprocessor(ann, 1, 3).to_dict()
    assert data == {
        "class_name": "NeighbourPostprocessor",
        "before": 1,
        "after": 3,
        "where": None,
    }
    assert NeighbourPostprocessor.from_dict(data, conversation=ann).to_dict() == data


def test_the_serialised_form_cannot_lose_a_filter(ann: Conversation) -> None:
    where = Filter(roles="user")
    data = NeighbourPostprocessor(ann, where=where).to_dict()
    with pytest.raises(InvalidFilter, match="where"):
        NeighbourPostprocessor.from_dict(data, conversation=ann)
    again = NeighbourPostprocessor.from_dict(data, conversation=ann, where=where)
    assert again.to_dict() == data
