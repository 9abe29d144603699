"""The suite that every face of the router passes, over the router itself."""

from __future__ import annotations

import json
from contextlib import aclosing

from rag_memory_plugins.chat import ChatRequest, Gathered
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.chat_models import ChatModelConformance
from rag_memory_plugins.testing.chat_scripts import Said


class Core:
    def __init__(self, router):
        self.router = router

    async def aask(self, messages, *, tools=(), tool_choice="", schema=None, stream=False):
        request = ChatRequest(
            messages, tools=tuple(tools), tool_choice=tool_choice, schema=schema, stream=stream
        )
        if not stream:
            answer = await self.router.aanswer(request)
            message = answer.message
            value = json.loads(message.content) if schema else None
            return Said(message.content, calls=message.tool_calls, value=value)
        gathered, pieces = Gathered(), []
        async with aclosing(self.router.astream(request)) as deltas:
            async for delta in deltas:
                gathered.add(delta)
                pieces.append(delta.text)
        value = json.loads(gathered.text) if schema else None
        return Said(gathered.text, tuple(pieces), gathered.tool_calls, value)


class TestRouter(ChatModelConformance):
    def subject(self, *models):
        return Core(Router(models, patience=0.0))
