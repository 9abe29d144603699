"""`RouterChatModel` answers like the router itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rag_memory_plugins.chat import ToolSpec
from rag_memory_plugins.langchain import RouterChatModel
from rag_memory_plugins.langchain.convert import calls_of, to_langchain
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.testing.chat_models import ChatModelConformance
from rag_memory_plugins.testing.chat_scripts import Said
from rag_memory_plugins.types import Message


class Asked:
    """A `RouterChatModel` as the suite asks it."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.model = RouterChatModel(Router(models, rounds=1))

    async def aask(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        tool_choice: str = "",
        schema: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> Said:
        said, model = [to_langchain(message) for message in messages], self.model
        if schema is not None:
            form = model.with_structured_output(dict(schema), method="json_schema")
            if not stream:
                return Said(value=await form.ainvoke(said))
            return Said(value=[value async for value in form.astream(said)][-1])
        asked: Any = model
        if tools:
            asked = model.bind_tools(
                [_tool(tool) for tool in tools], tool_choice=tool_choice or None
            )
        if not stream:
            answer = await asked.ainvoke(said)
            return Said(str(answer.text), calls=calls_of(answer))
        chunks = [chunk async for chunk in asked.astream(said)]
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole = whole + chunk
        return Said(str(whole.text), tuple(str(c.text) for c in chunks), calls_of(whole))


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)
    }  # fmt: skip
    return {"type": "function", "function": function}


class TestRouterChatModel(ChatModelConformance):
    def subject(self, *models: Model) -> Asked:
        return Asked(models)
