"""Questions to the memory as a LlamaIndex query engine, and as a tool of engines and agents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.response.schema import Response
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import MetadataMode
from llama_index.core.selectors import LLMSingleSelector

from rag_memory_plugins import Conversation, Memory, Namespace
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace, InvalidQuery, UnknownArgument
from rag_memory_plugins.llama_index import MemoryQueryEngine, ScopedMemory
from rag_memory_plugins.llama_index.events import DegradeEvent
from rag_memory_plugins.memory.answering import NOTHING
from tests.llama_index.listening import listening
from tests.llama_index.scripted import ScriptedLLM

QUESTION = "Where does Ann live?"
START = datetime(2025, 3, 3, tzinfo=timezone.utc)


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    monday = memory.conversation("acme", "ann", "monday")
    monday.add("I moved to Porto", id="m/1", name="Ann", time=START)
    monday.facts.insert("Ann", "lives in", "Porto", id="f1", valid_from=START, sources="m/1")
    there = memory.conversation("globex", "ann", "monday")
    there.add("I moved to Oslo", id="m/1", name="Ann", time=START)
    there.facts.insert("Ann", "lives in", "Oslo", id="g1", valid_from=START)
    return memory.conversation("acme", "ann", "tuesday")


async def both(engine: MemoryQueryEngine, question: str = QUESTION) -> list[Response]:
    """What its sync and its async side give, the former within a running loop too."""
    return [engine.query(question), await engine.aquery(question)]  # type: ignore[list-item]


async def test_without_a_model_the_evidence_is_the_response(ann: Conversation) -> None:
    for response in await both(MemoryQueryEngine(ann)):
        assert isinstance(response, Response)
        assert "[f:f1] holds now, since 3 March 2025: Ann lives in Porto" in str(response)
        assert response.metadata == {
            "degraded": [],
            "as_of": None,
            "citations": {
                "[f:f1]": "acme/ann@facts/f1",
                "[m:monday/m%2F1]": "acme/ann/monday/m%2F1",
            },
        }


async def test_the_global_model_is_not_asked(
    ann: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = ScriptedLLM("In Oslo.", "In Oslo.")
    monkeypatch.setattr(Settings, "_llm", llm)
    for response in await both(MemoryQueryEngine(ann)):
        assert "Oslo" not in str(response)
    assert llm.asked == []


async def test_a_model_is_asked_once_a_query_and_its_marks_are_checked(ann: Conversation) -> None:
    llm = ScriptedLLM(*["In Porto [f:f1], by the sea [f:g1]."] * 2)
    for response in await both(MemoryQueryEngine(ann, llm=llm)):
        assert str(response) == "In Porto [f:f1], by the sea."
        metadata = response.metadata or {}
        assert metadata["citations"] == {"[f:f1]": "acme/ann@facts/f1"}
        assert "[f:g1]" in metadata["degraded"][0]
    assert len(llm.asked) == 2
    assert "Ann lives in Porto" in (llm.asked[0][-1].content or "")


async def test_a_model_that_fails_leaves_the_evidence_and_is_told_of(ann: Conversation) -> None:
    with listening() as heard:
        (response, _) = await both(MemoryQueryEngine(ann, llm=ScriptedLLM()))
    assert "Ann lives in Porto" in str(response)
    reasons = [event.reason for event in heard if isinstance(event, DegradeEvent)]
    assert len(reasons) == 2
    assert reasons[0] == (response.metadata or {})["degraded"][0]
    assert reasons[0].startswith("model llama-index:ScriptedLLM")


def test_source_nodes_are_memories_and_facts_with_their_marks(ann: Conversation) -> None:
    fact, said = MemoryQueryEngine(ann).query(QUESTION).source_nodes
    assert (fact.node_id, fact.text) == ("acme/ann@facts/f1", "Ann lives in Porto")
    assert fact.metadata == {
        "kind": "fact",
        "id": "f1",
        "subject": "Ann",
        "predicate": "lives in",
        "object": "Porto",
        "state": "holds",
        "valid_from": START.isoformat(),
        "confidence": 1.0,
        "by": "user",
        "conflict": False,
        "sources": ["monday/m/1"],
        "citation": "[f:f1]",
        "tenant": "acme",
    }
    assert (said.node_id, said.text) == ("acme/ann/monday/m%2F1", "I moved to Porto")
    assert (said.metadata["kind"], said.metadata["citation"]) == ("memory", "[m:monday/m%2F1]")
    assert (fact.score, said.score) == (1.0, 0.5)
    shown = said.node.get_content(MetadataMode.LLM)
    assert ("citation: [m:monday" in shown, "tenant" in shown) == (True, False)
    json.dumps([node.metadata for node in (fact, said)])


def test_a_date_in_the_question_stands_in_the_metadata(ann: Conversation) -> None:
    response = MemoryQueryEngine(ann).query("Where did Ann live in May 2024?")
    assert (response.metadata or {})["as_of"] == "2024-05-31T23:59:59.999999+00:00"
    assert [node.metadata["kind"] for node in response.source_nodes] == ["memory"]
    fixed = MemoryQueryEngine(ann, as_of=datetime(2026, 1, 1, tzinfo=timezone.utc)).query(QUESTION)
    assert (fixed.metadata or {})["as_of"] == "2026-01-01T00:00:00+00:00"
    assert fixed.source_nodes[0].text == "Ann lives in Porto"


async def test_every_query_asks_whose_memory_it_is_for(ann: Conversation, memory: Memory) -> None:
    tenant = "acme"
    engine = MemoryQueryEngine(memory, namespace=lambda: Namespace(tenant, "ann", "tuesday"))
    for tenant, own, other in (("acme", "Porto", "Oslo"), ("globex", "Oslo", "Porto")):
        for response in await both(engine):
            assert (own in str(response), other in str(response)) == (True, False)
            assert {node.metadata["tenant"] for node in response.source_nodes} == {tenant}


async def test_another_tenant_without_memories_gets_nothing(
    ann: Conversation, memory: Memory
) -> None:
    llm = ScriptedLLM("In Porto.")
    engine = MemoryQueryEngine(memory.conversation("initech", "ann", "monday"), llm=llm)
    for response in await both(engine):
        assert (str(response), response.source_nodes) == (NOTHING, [])
    assert llm.asked == []


@pytest.mark.parametrize("given", [None, "acme/ann/tuesday"])
async def test_a_namespace_that_cannot_be_told_reads_nothing(memory: Memory, given: Any) -> None:
    engine = MemoryQueryEngine(memory, namespace=lambda: given)
    with pytest.raises(InvalidNamespace):
        engine.query(QUESTION)
    with pytest.raises(InvalidNamespace):
        await engine.aquery(QUESTION)


@pytest.mark.parametrize(
    ("given", "error", "field"),
    [
        ({"llm": "gpt"}, InvalidInput, "llm"),
        ({"limit": 0}, InvalidQuery, "limit"),
        ({"level": "tenant"}, InvalidQuery, "level"),
        ({"lvl": "user"}, UnknownArgument, "lvl"),
    ],
)
def test_a_wrong_argument_is_named(
    ann: Conversation, given: dict[str, Any], error: type[Exception], field: str
) -> None:
    with pytest.raises(error, match=field):
        MemoryQueryEngine(ann, **given)


def test_it_can_be_chosen_by_a_router(ann: Conversation) -> None:
    choice = '[{"choice": 1, "reason": "about a person"}]'
    llm = ScriptedLLM(choice, "In Porto [f:f1].")
    engine = MemoryQueryEngine(ann, llm=llm)
    router = RouterQueryEngine(
        selector=LLMSingleSelector.from_defaults(llm=llm),
        query_engine_tools=[engine.as_tool()],
        llm=llm,
    )
    response = router.query(QUESTION)
    assert str(response) == "In Porto [f:f1]."
    assert response.source_nodes[0].metadata["citation"] == "[f:f1]"


class OneQuestion(BaseQuestionGenerator):
    """Asks one tool one question."""

    def generate(self, tools: Sequence[Any], query: Any) -> list[SubQuestion]:
        return [SubQuestion(sub_question=QUESTION, tool_name=tools[0].get_name())]

    async def agenerate(self, tools: Sequence[Any], query: Any) -> list[SubQuestion]:
        return self.generate(tools, query)

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        pass


async def test_it_answers_sub_questions(ann: Conversation) -> None:
    llm = ScriptedLLM("In Porto.")
    engine = SubQuestionQueryEngine(
        query_engine_tools=[MemoryQueryEngine(ann).as_tool()],
        question_gen=OneQuestion(),
        response_synthesizer=get_response_synthesizer(
            llm=llm, response_mode=ResponseMode.COMPACT, use_async=True
        ),
    )
    response = await engine.aquery("Does Ann live by the sea?")
    assert str(response) == "In Porto."
    assert "Ann lives in Porto" in (llm.asked[0][-1].content or "")


@pytest.mark.parametrize("model", [None, ScriptedLLM("In Porto [f:f1].")], ids=["none", "one"])
async def test_an_agent_asks_it_and_its_memory_stores_no_answer_of_it(
    ann: Conversation, model: ScriptedLLM | None
) -> None:
    tool = MemoryQueryEngine(ann, llm=model).as_tool()
    call = [("call_1", "query_memory", {"input": QUESTION})]
    llm = ScriptedLLM(call, "She lives in Porto.")
    agent = FunctionAgent(llm=llm, tools=[tool], streaming=False)
    await agent.run("Where is she?", memory=ScopedMemory(ann))
    told = llm.asked[1][-1].content or ""
    assert "Porto" in told
    assert "[f:f1]" in told
    assert ann.fence.stripped(told) == ""
    assert not [m for m in ann.messages() if "[f:f1]" in m.content]


async def test_a_tool_has_a_name_and_text_of_the_callers(ann: Conversation) -> None:
    tool = MemoryQueryEngine(ann).as_tool("ask_ann", "What Ann said.")
    assert (tool.metadata.get_name(), tool.metadata.description) == ("ask_ann", "What Ann said.")
    for output in (tool(QUESTION), await tool.acall(input=QUESTION)):
        assert output.tool_name == "ask_ann"
        assert output.content.startswith(f"<{ann.fence.tag}")
        assert output.raw_output.source_nodes
