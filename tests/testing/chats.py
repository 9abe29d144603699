"""What tests of the fault server ask, and how they read what comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

OPENAI = "/v1/chat/completions"
OLLAMA = "/api/chat"
HELLO = [{"role": "user", "content": "Hello?"}]


def chat(model: str = "small", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, **more}


async def lines(client: httpx.AsyncClient, path: str, **more: Any) -> AsyncIterator[str]:
    """The lines of a streamed answer, none of them empty."""
    async with client.stream("POST", path, json=chat(stream=True, **more)) as response:
        async for line in response.aiter_lines():
            if line:
                yield line


def content(line: str) -> str:
    """The text of one line of either protocol."""
    value = json.loads(line.removeprefix("data: "))
    if "message" in value:
        return value["message"]["content"]
    return "".join(choice["delta"].get("content", "") for choice in value["choices"])


async def collect(
    client: httpx.AsyncClient, path: str, texts: list[str], then: Callable[[], object] = list
) -> None:
    """Put the text of every line into `texts`, which keeps it when the stream breaks."""
    async for line in lines(client, path):
        texts.append(content(line))
        then()


async def said(client: httpx.AsyncClient, path: str = OPENAI, model: str = "small") -> str:
    """The whole text of an answer in OpenAI's protocol."""
    response = await client.post(path, json=chat(model))
    return response.json()["choices"][0]["message"]["content"]
