"""A LangChain model as a `ChatModel`."""

from __future__ import annotations

import asyncio
import threading

import pytest
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import PrivateAttr

from rag_memory_plugins.errors import ChatModelError, InvalidInput
from rag_memory_plugins.langchain import as_chat_model
from rag_memory_plugins.ports import ChatModel
from rag_memory_plugins.retrieval.rerank import LLMReranker
from rag_memory_plugins.types import Image, Message, ToolCall
from tests.langchain.scripted import ScriptedModel, StreamingModel, texts

ASKED = [Message("system", "Be short."), Message("user", "Where?")]


class Where(ScriptedModel):
    """Answers with the thread it runs in and the limit it was given."""

    max_tokens: int | None = None
    model_name: str = "where-1"

    def _generate(self, messages, *args, **kwargs):
        text = f"{threading.current_thread().name} {self.max_tokens}"
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


async def test_messages_go_in_and_the_answer_comes_out():
    model = ScriptedModel("In Lisbon.")
    answer = await as_chat_model(model).achat(ASKED)
    assert (answer.role, answer.content) == ("assistant", "In Lisbon.")
    assert texts(model.asked[0]) == [("system", "Be short."), ("human", "Where?")]


async def test_tool_calls_are_kept_both_ways():
    model = ScriptedModel([("call_2", "weather", {"city": "Porto"})])
    said = [
        Message("user", "Weather?"),
        Message("assistant", "", tool_calls=(ToolCall("call_1", "weather", '{"city": "Rome"}'),)),
        Message("tool", "rain", tool_call_id="call_1"),
    ]
    answer = await as_chat_model(model).achat(said)
    assert answer.tool_calls == (ToolCall("call_2", "weather", '{"city": "Porto"}'),)
    _, call, result = model.asked[0]
    assert call.tool_calls[0]["args"] == {"city": "Rome"}
    assert result.tool_call_id == "call_1"


async def test_blocks_of_an_answer_come_out_as_text_and_go_back_as_they_were():
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    content = [thought, {"type": "text", "text": "In "}, {"type": "text", "text": "Lisbon."}]
    model = ScriptedModel(AIMessage(content), "Yes.")
    answer = await as_chat_model(model).achat(ASKED)
    await as_chat_model(model).achat([*ASKED, answer, Message("user", "Sure?")])
    assert answer.content == "In Lisbon."
    assert model.asked[1][2].content == content


async def test_images_go_in_as_blocks():
    model = ScriptedModel("A crane.")
    await as_chat_model(model).achat(
        [Message("user", "This?", images=(Image("https://a.b/c.png"),))]
    )
    assert model.asked[0][0].content == [
        {"type": "text", "text": "This?"}, {"type": "image", "url": "https://a.b/c.png"}
    ]  # fmt: skip


async def test_an_answer_that_cannot_be_read_is_a_chat_model_error():
    with pytest.raises(ChatModelError, match="NUL"):
        await as_chat_model(ScriptedModel("a\x00b")).achat(ASKED)


class Slow(ScriptedModel):
    """Answers when it is let go."""

    _go: threading.Event = PrivateAttr(default_factory=threading.Event)

    def _generate(self, messages, *args, **kwargs):
        self._go.wait(30)
        return super()._generate(messages)


async def test_whoever_waits_no_longer_is_free_at_once_and_the_loop_too():
    model = Slow("late", "in time")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(as_chat_model(model).achat(ASKED), 0.01)
    model._go.set()
    assert (await as_chat_model(model).achat(ASKED)).content in ("late", "in time")


async def test_a_models_own_time_out_is_a_chat_model_error():
    with pytest.raises(ChatModelError, match="30 seconds"):
        await as_chat_model(ScriptedModel(TimeoutError("30 seconds"))).achat(ASKED)


async def test_langchains_own_fakes_work():
    listed = as_chat_model(FakeListChatModel(responses=["one", "two"]))
    generic = as_chat_model(GenericFakeChatModel(messages=iter([AIMessage("three")])))
    answers = [await listed.achat(ASKED), await listed.achat(ASKED), await generic.achat(ASKED)]
    assert [answer.content for answer in answers] == ["one", "two", "three"]


@pytest.mark.parametrize("limit", [None, 3])
async def test_it_runs_in_a_thread_with_the_limit_and_leaves_the_model_as_it_was(limit):
    model = Where()
    answer = await as_chat_model(model).achat(ASKED, max_tokens=limit)
    assert answer.content == f"rag-memory-chat-0 {limit}"
    assert model.max_tokens is None


async def test_a_model_without_a_limit_answers_all_the_same():
    answer = await as_chat_model(ScriptedModel("Yes.")).achat(ASKED, max_tokens=5)
    assert answer.content == "Yes."


async def test_what_the_model_raises_is_a_chat_model_error_with_its_cause():
    error = RuntimeError("no quota")
    with pytest.raises(ChatModelError, match=r"langchain:ScriptedModel:.* failed: .*no quota") as e:
        await as_chat_model(ScriptedModel(error)).achat(ASKED)
    assert e.value.__cause__ is error


def test_it_works_from_any_loop():
    model = as_chat_model(ScriptedModel("one", "two"))
    answers = [asyncio.run(model.achat(ASKED)).content for _ in range(2)]
    assert answers == ["one", "two"]


async def test_what_it_says_inside_a_graph_is_not_streamed_to_the_user():
    hidden, said = as_chat_model(StreamingModel("not for you")), StreamingModel("Hello there")

    async def node(state):
        judged = await hidden.achat(ASKED)
        assert judged.content == "not for you"
        return {"messages": [await said.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    asked = {"messages": [HumanMessage("Hi")]}
    chunks = [chunk async for chunk, _ in graph.compile().astream(asked, stream_mode="messages")]
    assert "".join(str(chunk.text) for chunk in chunks) == "Hello there"


async def test_it_reranks():
    reranker = LLMReranker(as_chat_model(ScriptedModel('{"scores": {"1": 2, "2": 9}}')))
    assert await reranker.arerank("Where?", ["a cat", "in Lisbon"]) == [0.2, 0.9]


def test_the_name_is_the_models_or_the_one_that_is_given():
    assert as_chat_model(Where()).name == "langchain:Where:where-1"
    mine = as_chat_model(Where(), name="mine")
    assert isinstance(mine, ChatModel)
    assert mine.name == "mine"


@pytest.mark.parametrize("wrong", [object(), None, "gpt", Where().with_retry()])
def test_anything_but_a_model_is_refused_by_name(wrong):
    with pytest.raises(InvalidInput, match=rf"{type(wrong).__name__}.*pass a LangChain BaseChat"):
        as_chat_model(wrong)
