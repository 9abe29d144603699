"""The suite that every face of the router passes, over LlamaIndex's: async, sync, and twice."""

from __future__ import annotations

import asyncio

from llama_index.core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from rag_memory_plugins.llama_index import RouterLLM, as_chat_model
from rag_memory_plugins.llama_index.asking import tool_of
from rag_memory_plugins.llama_index.blocks import calls
from rag_memory_plugins.llama_index.convert import to_chat
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.chat_models import ChatModelConformance
from rag_memory_plugins.testing.chat_scripts import Said


class City(BaseModel):
    """A city."""

    name: str
    people: int


def told(response, pieces=()):
    made = tuple(calls(response.message))
    return Said(response.message.content or "", tuple(pieces), made)


class Asking:
    """A `RouterLLM` through its async methods."""

    def __init__(self, llm):
        self.llm = llm

    async def aask(self, messages, *, tools=(), tool_choice="", schema=None, stream=False):
        chats = [to_chat(message) for message in messages]
        if schema is not None:
            return await self.object(ChatPromptTemplate(message_templates=chats), stream)
        words = {"tool_choice": tool_choice} if tool_choice else {}
        if tools:
            words |= {"chat_history": chats, "allow_parallel_tool_calls": True}
            given = [tool_of(spec) for spec in tools]
        else:
            given = chats
        return await self.answer("_with_tools" if tools else "", given, words, stream)

    async def answer(self, kind, given, words, stream):
        if not stream:
            return told(await getattr(self.llm, f"achat{kind}")(given, **words))
        pieces = []
        async for response in await getattr(self.llm, f"astream_chat{kind}")(given, **words):
            pieces.append(response.delta)
        return told(response, pieces)

    async def object(self, prompt, stream):
        if not stream:
            return Said(value=(await self.llm.astructured_predict(City, prompt)).model_dump())
        value = None
        async for part in await self.llm.astream_structured_predict(City, prompt):
            value = part
        return Said(value=value.model_dump())


class AskingInAThread(Asking):
    """The same through its sync methods."""

    async def answer(self, kind, given, words, stream):
        def ask():
            if not stream:
                return told(getattr(self.llm, f"chat{kind}")(given, **words))
            responses = list(getattr(self.llm, f"stream_chat{kind}")(given, **words))
            return told(responses[-1], [response.delta for response in responses])

        return await asyncio.to_thread(ask)

    async def object(self, prompt, stream):
        def ask():
            if not stream:
                return Said(value=self.llm.structured_predict(City, prompt).model_dump())
            return Said(
                value=list(self.llm.stream_structured_predict(City, prompt))[-1].model_dump()
            )

        return await asyncio.to_thread(ask)


def as_llama_index(model):
    """The same model as one of LlamaIndex, which is asked through an LLM's methods."""
    inner = RouterLLM(Router([Model(model.chat, model.name)], patience=0.0))
    return Model(as_chat_model(inner, name=model.name), capabilities=model.capabilities)


class TestRouterLLM(ChatModelConformance):
    def subject(self, *models):
        return Asking(RouterLLM(Router(models, patience=0.0)))


class TestRouterLLMSync(ChatModelConformance):
    def subject(self, *models):
        return AskingInAThread(RouterLLM(Router(models, patience=0.0)))


class TestRouterLLMOverLlamaIndex(ChatModelConformance):
    def subject(self, *models):
        entries = [as_llama_index(model) for model in models]
        return Asking(RouterLLM(Router(entries, patience=0.0)))


class TestRouterLLMOverLlamaIndexSync(ChatModelConformance):
    def subject(self, *models):
        entries = [as_llama_index(model) for model in models]
        return AskingInAThread(RouterLLM(Router(entries, patience=0.0)))
