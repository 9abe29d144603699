"""Local-only, below every socket: in a process of its own, because an audit hook stays for good."""

from __future__ import annotations

import json
import subprocess
import sys

CHILD = """
import json, sys

EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
          "socket.gethostbyname", "socket.gethostbyaddr"}
seen = []


def hook(event, args):
    if event in EVENTS:
        where = args[1] if event in {"socket.connect", "socket.sendto", "socket.sendmsg"} else args[0]
        seen.append([event, str(where[0] if isinstance(where, tuple) else where)])


sys.addaudithook(hook)

from rag_memory_plugins import Scope, open_ledger
from rag_memory_plugins.errors import ChatModelError
from rag_memory_plugins.router import (
    Budget, Budgets, ChatRequest, RateLimit, RateLimits, Router, groq, ollama, openai_compatible,
    openrouter,
)
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import Cut
from rag_memory_plugins.testing.fault_server import FaultServer
from rag_memory_plugins.testing.installed import Installed

PROMPTS = ["Hello", "word " * 3_000, "\\u00e9t\\u00e9 " * 4_000]
outcomes = []
with FaultServer(models=[Installed("llama3.2")]) as server, open_ledger("ledger.db") as ledger:
    models = [
        ollama("llama3.2", server.url),
        groq("llama-3.3-70b-versatile", api_key="no key"),
        openrouter("meta-llama/llama-3.3-70b-instruct", api_key="no key"),
        openai_compatible("https://api.openai.com/v1", "gpt-4o", api_key="no key"),
    ]
    with Router(
        models, mode="local-only", ledger=ledger, budgets=Budgets(tenant=Budget(1)), patience=0,
        rates=RateLimits([RateLimit("100/minute", per="user")]), cache="exact",
    ) as router:
        faults = [None, None, refusals.unauthorized(), refusals.overloaded(), Cut("role")]
        for number, fault in enumerate(faults):
            for prompt in PROMPTS:
                if fault is not None:
                    server.script(fault)
                try:
                    text = f"{prompt} {max(number, 1)}"
                    router.answer(ChatRequest.of(text, scope=Scope("acme", "ann"), timeout=5))
                    outcomes.append("answered")
                except ChatModelError as error:
                    outcomes.append(type(error).__name__)
        candidates = [model.name for model in router.candidates]
    entries = {entry.provider for entry in ledger.entries("acme")}
clients = [name for name in ("openai", "groq", "ollama", "requests") if name in sys.modules]
print(json.dumps({"seen": seen, "outcomes": outcomes, "candidates": candidates,
                  "providers": sorted(entries), "clients": clients}))
"""
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def test_local_only_reaches_no_address_but_loopback_and_loads_no_client_of_a_cloud(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {host for _, host in told["seen"]} <= LOOPBACK
    assert ["socket.connect", "127.0.0.1"] in told["seen"]  # the hook does see
    assert told["outcomes"][:6] == ["answered"] * 6  # by the model, then by the cache
    assert told["outcomes"][6:9] == ["ProviderAuth"] * 3
    assert set(told["outcomes"][9:]) == {"AllModelsFailed"}
    assert (told["candidates"], told["providers"]) == (["ollama/llama3.2"], ["ollama"])
    assert told["clients"] == []
