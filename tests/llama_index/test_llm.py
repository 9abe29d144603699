"""A LlamaIndex model as a `ChatModel`."""

from __future__ import annotations

import asyncio
import threading

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms import CustomLLM, MockLLM

from rag_memory_plugins.errors import ChatModelError, InvalidInput
from rag_memory_plugins.llama_index import as_chat_model
from rag_memory_plugins.llama_index.blocks import calls
from rag_memory_plugins.ports import ChatModel
from rag_memory_plugins.retrieval.rerank import LLMReranker
from rag_memory_plugins.types import Message, ToolCall
from tests.llama_index.scripted import ScriptedLLM, texts

ASKED = [Message("system", "Be short."), Message("user", "Where?")]


class SyncOnly(MockLLM):
    """Its `achat`, as every `CustomLLM`'s, calls `chat` on the loop."""

    def chat(self, messages, **kwargs):
        answer = ChatMessage(threading.current_thread().name, role="assistant")
        return ChatResponse(message=answer)


class Broken(MockLLM):
    def chat(self, messages, **kwargs):
        raise RuntimeError("no quota")


async def test_messages_go_in_and_the_answer_comes_out():
    llm = ScriptedLLM("In Lisbon.")
    answer = await as_chat_model(llm).achat(ASKED)
    assert (answer.role, answer.content) == ("assistant", "In Lisbon.")
    assert texts(llm.asked[0]) == [("system", "Be short."), ("user", "Where?")]


async def test_tool_calls_are_kept_both_ways():
    llm = ScriptedLLM([("call_2", "weather", {"city": "Porto"})])
    said = [
        Message("user", "Weather?"),
        Message("assistant", "", tool_calls=(ToolCall("call_1", "weather", '{"city": "Rome"}'),)),
        Message("tool", "rain", tool_call_id="call_1"),
    ]
    answer = await as_chat_model(llm).achat(said)
    assert answer.tool_calls == (ToolCall("call_2", "weather", '{"city": "Porto"}'),)
    _, call, result = llm.asked[0]
    assert calls(call) == (ToolCall("call_1", "weather", '{"city": "Rome"}'),)
    assert result.additional_kwargs["tool_call_id"] == "call_1"


async def test_a_blocking_model_runs_in_a_thread():
    assert issubclass(SyncOnly, CustomLLM)
    answer = await as_chat_model(SyncOnly()).achat(ASKED)
    assert answer.content == "rag-memory-chat-0"


@pytest.mark.parametrize(("limit", "words"), [(None, 9), (3, 3)])
async def test_the_limit_of_tokens_is_passed_and_the_model_left_as_it_was(limit, words):
    llm = MockLLM(max_tokens=9)
    answer = await as_chat_model(llm).achat(ASKED, max_tokens=limit)
    assert len(answer.content.split()) == words
    assert llm.max_tokens == 9


async def test_a_model_without_a_limit_answers_all_the_same():
    assert (await as_chat_model(ScriptedLLM("Yes.")).achat(ASKED, max_tokens=5)).content == "Yes."


async def test_what_the_model_raises_is_a_chat_model_error_with_its_cause():
    with pytest.raises(ChatModelError, match=r"llama-index:Broken:unknown failed: .*no quota") as e:
        await as_chat_model(Broken()).achat(ASKED)
    assert isinstance(e.value.__cause__, RuntimeError)


def test_it_works_from_any_loop():
    model = as_chat_model(ScriptedLLM("one", "two"))
    answers = [asyncio.run(model.achat(ASKED)).content for _ in range(2)]
    assert answers == ["one", "two"]


async def test_it_reranks():
    reranker = LLMReranker(as_chat_model(ScriptedLLM('{"scores": {"1": 2, "2": 9}}')))
    assert await reranker.arerank("Where?", ["a cat", "in Lisbon"]) == [0.2, 0.9]


def test_a_given_name_is_used():
    model = as_chat_model(MockLLM(), name="mine")
    assert isinstance(model, ChatModel)
    assert model.name == "mine"


@pytest.mark.parametrize("wrong", [object(), None, "gpt"])
def test_anything_but_a_model_is_refused_by_name(wrong):
    with pytest.raises(InvalidInput, match=rf"{type(wrong).__name__}.*pass a LlamaIndex LLM"):
        as_chat_model(wrong)
