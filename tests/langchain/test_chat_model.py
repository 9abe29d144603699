"""A LangChain model as a `ChatModel`."""

from __future__ import annotations

import asyncio
import threading

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import PrivateAttr

from rag_memory_plugins.chat import ChatRequest, Gathered, Usage
from rag_memory_plugins.errors import ChatModelError, InvalidInput
from rag_memory_plugins.langchain import as_chat_model
from rag_memory_plugins.ports import ChatModel
from rag_memory_plugins.retrieval.rerank import LLMReranker
from rag_memory_plugins.router.router import Router
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


@pytest.mark.timeout(20)
async def test_a_model_that_has_run_out_of_answers_is_an_error_and_no_endless_wait():
    with pytest.raises(ChatModelError, match="StopIteration"):
        await as_chat_model(GenericFakeChatModel(messages=iter(()))).achat(ASKED)


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


class Sides(StreamingModel):
    """Notes which of its methods were used, and on which thread."""

    _used: list[tuple[str, str]] = PrivateAttr(default_factory=list)

    def _note(self, method):
        self._used.append((method, threading.current_thread().name))

    def _generate(self, messages, *args, **kwargs):
        self._note("_generate")
        return super()._generate(messages)

    async def _agenerate(self, messages, *args, **kwargs):
        self._note("_agenerate")
        return super()._generate(messages)

    def _stream(self, messages, *args, **kwargs):
        self._note("_stream")
        yield from super()._stream(messages)

    async def _astream(self, messages, *args, **kwargs):
        self._note("_astream")
        for chunk in super()._stream(messages):
            yield chunk


async def test_a_router_asks_its_async_methods_on_the_loop_that_asks():
    model = Sides("Hello you", "Hello you")
    router, here = Router([as_chat_model(model)]), threading.current_thread().name
    pieces = [delta.text async for delta in router.astream(ChatRequest(ASKED))]
    assert (await router.achat(ASKED)).content == "".join(pieces) == "Hello you"
    assert model._used == [("_astream", here), ("_agenerate", here)]


def test_behind_the_sync_faces_its_blocking_methods_run_in_a_thread():
    model = Sides("Hello you", "Hello you")
    router = Router([as_chat_model(model)])
    pieces = [delta.text for delta in router.stream(ChatRequest(ASKED))]
    assert router.chat(ASKED).content == "".join(pieces) == "Hello you"
    assert model._used == [("_stream", "rag-memory-chat-0"), ("_generate", "rag-memory-chat-0")]


async def test_callbacks_of_the_caller_hear_a_model_that_a_router_asks():
    heard = []

    class Hearing(BaseCallbackHandler):
        def on_llm_end(self, *_, tags, **__):
            heard.append(tags)

    router = Router([as_chat_model(StreamingModel("Hi"))])
    node = RunnableLambda(lambda _: router.chat(ASKED).content)
    assert node.invoke("", config={"callbacks": [Hearing()]}) == "Hi"
    assert heard == [["nostream"]]


def finishing(reason):
    return AIMessage("Hi", response_metadata={"stop_reason": reason} if reason else {})


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("end_turn", "stop"), ("MAX_TOKENS", "length"), ("tool_use", "tool_calls"), ("", "stop")],
)
async def test_why_an_answer_ended_is_told_in_one_word(reason, finish):
    router = Router([as_chat_model(ScriptedModel(finishing(reason)))])
    assert (await router.aanswer(ChatRequest(ASKED))).finish == finish


async def test_a_model_that_once_said_why_it_ended_was_cut_off_where_it_does_not():
    model = ScriptedModel(finishing("end_turn"), finishing(""))
    router = Router([as_chat_model(model, name="a"), as_chat_model(ScriptedModel("B"), name="b")])
    said = [(await router.achat(ASKED)).content for _ in range(2)]
    assert said == ["Hi", "B"]


async def test_usage_of_chunks_is_added_up():
    class Twice(ScriptedModel):
        async def _astream(self, *_, **__):
            for read, written in ((10, 1), (0, 4)):
                usage = UsageMetadata(
                    input_tokens=read, output_tokens=written, total_tokens=read + written
                )
                yield ChatGenerationChunk(message=AIMessageChunk("x", usage_metadata=usage))

    router = Router([as_chat_model(Twice())])
    pieces = [delta async for delta in router.astream(ChatRequest(ASKED))]
    assert [delta.usage for delta in pieces if delta.usage][-1] == Usage(10, 5)


async def test_calls_without_an_index_are_told_apart():
    class Unnumbered(ScriptedModel):
        async def _astream(self, *_, **__):
            for name, args, call in (("f", "{", "1"), (None, "}", None), ("g", "{}", "2")):
                chunk = tool_call_chunk(name=name, args=args, id=call, index=None)
                yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[chunk]))

    gathered = Gathered()
    async for delta in as_chat_model(Unnumbered()).astream(ChatRequest(ASKED, stream=True)):
        gathered.add(delta)
    assert gathered.tool_calls == (ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}"))
    assert gathered.finish == "tool_calls"
