from __future__ import annotations

import pytest
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import MetadataMode

from rag_memory_plugins import Conversation, Filter, Memory
from rag_memory_plugins.errors import InvalidFilter, InvalidInput, InvalidQuery, UnknownArgument
from rag_memory_plugins.llama_index import MemoryRetriever
from tests.llama_index.scripted import ScriptedLLM


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add("I moved to Lisbon in May", id="m/1", name="Ann")
    monday.add("The flat in Lisbon has two rooms", id="m2")
    memory.conversation("globex", "ann", "monday").add("I moved to Oslo in May", id="m/1")
    return memory.conversation("acme", "ann", "tuesday")


def test_nodes_come_best_first(ann: Conversation) -> None:
    nodes = MemoryRetriever(ann).retrieve("when did I move to Lisbon?")
    assert nodes[0].text == "I moved to Lisbon in May"
    assert [node.score for node in nodes] == sorted((n.score or 0 for n in nodes), reverse=True)


async def test_async_gives_the_same_nodes(ann: Conversation) -> None:
    retriever = MemoryRetriever(ann)
    found = await retriever.aretrieve("Lisbon")
    assert found == retriever.retrieve("Lisbon")


def test_a_node_id_names_the_namespace_it_was_said_in(ann: Conversation) -> None:
    (node,) = MemoryRetriever(ann, limit=1).retrieve("when did I move to Lisbon?")
    assert node.node_id == "acme/ann/monday/m%2F1"


def test_a_node_says_who_said_it_and_when(ann: Conversation) -> None:
    (node,) = MemoryRetriever(ann, limit=1).retrieve("when did I move to Lisbon?")
    time = node.metadata.pop("time")
    assert time.endswith("+00:00")
    said = {"id": "m/1", "session": "monday", "role": "user", "name": "Ann"}
    assert node.metadata == {**said, "tenant": "acme"}


def test_the_model_sees_time_and_speaker_beside_the_text(ann: Conversation) -> None:
    (node,) = MemoryRetriever(ann, limit=1).retrieve("when did I move to Lisbon?")
    text = node.node.get_content(MetadataMode.LLM)
    assert ("name: Ann" in text, "session" in text) == (True, False)


def test_each_text_comes_once(ann: Conversation) -> None:
    texts = [node.text for node in MemoryRetriever(ann).retrieve("Lisbon")]
    assert len(texts) == len(set(texts)) == 2


def test_another_tenant_is_not_found(ann: Conversation) -> None:
    assert all("Oslo" not in n.text for n in MemoryRetriever(ann).retrieve("Oslo moved May"))


def test_level_session_stays_in_the_session(ann: Conversation) -> None:
    assert MemoryRetriever(ann, level="session").retrieve("Lisbon") == []


async def test_every_node_matches_the_filter(ann: Conversation) -> None:
    retriever = MemoryRetriever(ann, where=Filter(names="Ann"))
    for nodes in (retriever.retrieve("Lisbon"), await retriever.aretrieve("Lisbon")):
        assert [node.metadata["id"] for node in nodes] == ["m/1"]


def test_anything_but_a_filter_is_refused(ann: Conversation) -> None:
    with pytest.raises(InvalidFilter, match="where"):
        MemoryRetriever(ann, where={"roles": "user"})  # type: ignore[arg-type]


def test_a_query_engine_answers_from_the_memory(ann: Conversation) -> None:
    llm = ScriptedLLM("in May")
    engine = RetrieverQueryEngine(
        MemoryRetriever(ann), response_synthesizer=get_response_synthesizer(llm=llm)
    )
    assert str(engine.query("when did I move?")) == "in May"
    assert "I moved to Lisbon in May" in str(llm.asked[0])


def test_an_empty_query_is_refused(ann: Conversation) -> None:
    with pytest.raises(InvalidQuery):
        MemoryRetriever(ann).retrieve("")


def test_an_unknown_argument_is_refused(ann: Conversation) -> None:
    with pytest.raises(UnknownArgument, match="similarity_top_k"):
        MemoryRetriever(ann, similarity_top_k=3)  # type: ignore[call-arg]


def test_anything_but_a_conversation_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="conversation"):
        MemoryRetriever(memory)  # type: ignore[arg-type]
