"""The four ways to ask a LangChain model, as one."""

from __future__ import annotations

import asyncio
from typing import Any

FACES = ["invoke", "ainvoke", "stream", "astream"]


async def ask(model: Any, asked: Any, face: str, seen: list[Any] | None = None, **kw: Any) -> Any:
    """The answer, of a stream the sum; `seen` gets the pieces. Sync faces run in a thread."""
    pieces = [] if seen is None else seen

    def read() -> None:
        for piece in model.stream(asked, **kw):
            pieces.append(piece)

    match face:
        case "invoke":
            return await asyncio.to_thread(model.invoke, asked, **kw)
        case "ainvoke":
            return await model.ainvoke(asked, **kw)
        case "stream":
            await asyncio.to_thread(read)
        case _:
            async for piece in model.astream(asked, **kw):
                pieces.append(piece)
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    return whole
