"""local-only in a process of its own: nothing is looked up, and nobody but loopback is spoken to."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import Answer, Cut
from tests.router.faulty import asked, serving

pytest.importorskip("openai")

CHILD = """
import asyncio, json, sys

connected, looked_up = [], []

def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        connected.append(args[1][0])
    if event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}:
        looked_up.append(str(args[0]))

sys.addaudithook(watch)

from rag_memory_plugins.chat import ChatRequest, ToolSpec
from rag_memory_plugins.opening import open_ledger
from rag_memory_plugins.errors import AllModelsFailed, StreamInterrupted
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.budgets import Budgets
from rag_memory_plugins.router.money import Budget
from rag_memory_plugins.router.providers import groq, ollama, openai_compatible, openrouter
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.types import Message
import openai

clients = []
for kind in (openai.OpenAI, openai.AsyncOpenAI):
    def init(self, *args, real=kind.__init__, **values):
        clients.append(str(values["base_url"]))
        real(self, *args, **values)
    kind.__init__ = init

url, rows = sys.argv[1], []
ledger = open_ledger(sys.argv[2])

class Both:
    def record(self, entry):
        rows.append(entry)
        ledger.record(entry)

    async def aclose(self):
        await ledger.aclose()

models = [
    groq("llama-3.3-70b-versatile", "key"),
    ollama("a", url, name="a", quality=0.9),
    openrouter("meta-llama/llama-3.3-70b-instruct", "key"),
    openai_compatible("https://192.0.2.7/v1", "gpt-4o", "key", name="by address"),
    openai_compatible(f"{url}/v1", "b", name="b"),
]
router = Router(models, mode="local-only", ledger=Both(), cache="exact", patience=0.0,
                budgets=Budgets(tenant=Budget(1.0)))
ann = Scope("acme", "ann")

def ask(text="Hello", **values):
    return ChatRequest((Message("user", text),), scope=ann, **values)

said = [router.answer(ask()).model]
said.append(router.answer(ask()).model)                         # of the cache
said.append("".join(piece.text for piece in router.stream(ask("stream"))))
said.append(router.answer(ask("fail over")).model)
said.append(router.answer(ask("記憶 " * 1_500)).model)            # is counted
said.append(router.answer(ask("word " * 3_100)).model)          # long, and stays
said.append(asyncio.run(router.aanswer(ask("tools", tools=(ToolSpec("weather"),)))).model)
for text in ("breaks off", "all fail"):
    try:
        said.append("".join(piece.text for piece in router.stream(ask(text))))
    except (StreamInterrupted, AllModelsFailed) as error:
        said.append(type(error).__name__)
router.close()
ledger.flush()
written = sum(total.attempts for total in ledger.totals())
ledger.close()
print(json.dumps({
    "said": said, "connected": sorted(set(connected)), "looked_up": sorted(set(looked_up)),
    "clients": clients, "rows": [[row.model, row.outcome, row.cost] for row in rows],
    "written": written,
    "built": [model.name for model in models if getattr(model.chat, "_client", None)],
    "candidates": [model.name for model in router.candidates],
}))
"""


def test_nothing_leaves_this_machine(look_ups, tmp_path):
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    with serving() as server:
        cut = Cut(1, reply=Answer(("Hel", "lo")))
        replies = {
            "fail over": [refusals.server_error()],
            "breaks off": [cut],
            "all fail": [refusals.server_error()],
        }

        def reply(request):
            text = request.messages[-1]["content"]
            fails = replies.get(text, ())
            if request.model == "b":
                return refusals.server_error() if text == "all fail" else Answer()
            return fails[0] if fails else Answer()

        server.reply = reply
        run = subprocess.run(
            [sys.executable, "-c", CHILD, server.url, str(tmp_path / "ledger.db")],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **dict.fromkeys(proxies, "http://192.0.2.1:3128"), "NO_PROXY": ""},
        )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["candidates"] == ["a", "b"]
    assert told["said"] == [
        "a", "a", "Hello there.", "b", "a", "a", "a", "StreamInterrupted", "AllModelsFailed",
    ]  # fmt: skip
    assert told["connected"] == ["127.0.0.1"]
    assert set(told["looked_up"]) <= {"127.0.0.1"}  # an address, which asks nobody
    assert told["built"] in ([], ["b"])
    assert all(url.startswith("http://127.0.0.1:") for url in told["clients"])
    assert [row[:2] for row in told["rows"]][:2] == [["a", "ok"], ["a", "cached"]]
    assert {row[2] for row in told["rows"]} == {0}
    assert asked(server).count("b") == 2
    assert told["written"] == len(told["rows"])
    assert len(look_ups) == 0
