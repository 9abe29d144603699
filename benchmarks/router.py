"""What the router takes, what a dead provider costs behind it, and whether it tells hard prompts.

`overhead_us`: CPU microseconds that a call takes beyond the model it asks, median of rounds in turn.
`ours` is `Router.aanswer` over two entries with breaker, policy and a ledger on disk, `ours_limits`
with rate limits and a budget besides, `ours_langchain` is `RouterChatModel.ainvoke` and
`with_fallbacks` LangChain's own way, both over the same scripted LangChain models and less what
asking one of them takes. `litellm` is its Router's `acompletion` with `mock_response`, in a process
of its own in which nothing else runs: there is no model in it that could be taken off.

`dead_primary_s`: seconds lost to a primary that fails after 0.25 s, over 20 calls one after the
other; `dead_primary_at_once_s` over 20 at once, twice, in which the callers of the first 20 all wait
for it whoever routes.

`apgr` and `cpt` are those of `python -m benchmarks routing`; they need --data.

`import_cpu_s`: CPU seconds to import the router in a fresh interpreter, less those of an empty one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from rich.progress import Progress

from benchmarks import routing
from benchmarks.report import Goal, Report
from rag_memory_plugins.chat import ChatRequest
from rag_memory_plugins.langchain import RouterChatModel, as_chat_model
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.opening import aopen_ledger
from rag_memory_plugins.router import Budget, Budgets, Model, Price, RateLimit, RateLimits, Router
from rag_memory_plugins.testing.models import ScriptedModel
from rag_memory_plugins.types import Message

GOALS: Final = {
    "overhead_us/ours": Goal("<=", 150),
    "import_cpu_s": Goal("<=", 0.1),
}
CALLS: Final = 300
ROUNDS: Final = 15
WAIT: Final = 0.25
TIMES: Final = 20
LITELLM: Final = "litellm==1.106.2"
QUESTION: Final = "What is the capital of France, and since when?"
SCOPE: Final = Scope("acme", "ann")

Call = Callable[[], Awaitable[object]]

LITELLM_SCRIPT: Final = """
import asyncio, gc, json, logging, os, statistics, sys, time
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it asks the network for prices otherwise
import litellm
litellm.suppress_debug_info = True
logging.disable(logging.CRITICAL)
names = ("first", "second")
router = litellm.Router(
    model_list=[
        {"model_name": name, "litellm_params": {
            "model": "openai/gpt-4o", "api_key": "x", "mock_response": "Paris."}}
        for name in names
    ],
    fallbacks=[{"first": ["second"]}],
)
messages = [{"role": "user", "content": sys.argv[3]}]

async def main():
    calls, rounds = int(sys.argv[1]), int(sys.argv[2])
    taken = []
    for number in range(rounds + 1):
        gc.collect()
        started = time.process_time()
        for _ in range(calls):
            await router.acompletion(model="first", messages=messages)
        if number:
            taken.append((time.process_time() - started) / calls)
    print(json.dumps(statistics.median(taken)))

asyncio.run(main())
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="RouteLLM's labels: gsm8k/ and mmlu/; without them no apgr is measured",
    )


def run(options: argparse.Namespace, progress: Progress) -> Report:
    """Measure everything; what is not installed is named in a note."""
    report = Report("router", GOALS)
    steps = progress.add_task("router", total=4)
    overhead(report, quick=options.quick)
    progress.advance(steps)
    dead_primary(report)
    progress.advance(steps)
    litellm(report, quick=options.quick)
    report.put("import_cpu_s", import_seconds())
    progress.advance(steps)
    if options.data is not None:
        most = routing.QUICK if options.quick else routing.SAMPLE
        for key, figure in routing.quality(
            Path(options.data), most=most, progress=progress
        ).items():
            report.put(key, figure)
        report.notes += [*routing.table(report.figures).splitlines(), *routing.NOTES]
    progress.advance(steps)
    return report


class Scripted(BaseChatModel):
    """A LangChain model that answers at once; one that is `dead` fails after a while."""

    dead: bool = False
    asked: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError  # only asked asynchronously

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        self.asked += 1
        if self.dead:
            await asyncio.sleep(WAIT)
            raise ConnectionError("nobody is there")
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Paris."))])


def overhead(report: Report, *, quick: bool) -> None:
    """Every way in turn, round by round, so that what else the machine does falls on all."""
    rounds = 3 if quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        taken = asyncio.run(_rounds(Path(folder), rounds))
    bare, lc_bare = median(taken["bare"]), median(taken["lc_bare"])
    for name in ("ours", "ours_limits"):
        report.put(f"overhead_us/{name}", 1e6 * (median(taken[name]) - bare))
    for name in ("ours_langchain", "with_fallbacks"):
        report.put(f"overhead_us/{name}", 1e6 * (median(taken[name]) - lc_bare))


async def _rounds(folder: Path, rounds: int) -> Mapping[str, list[float]]:
    ledger = await aopen_ledger(folder / "ledger.db")
    prices = {"price": Price(0.1, 0.4)}
    chat = ScriptedModel("Paris.", name="first")
    entries = [
        Model(chat, "first", **prices),
        Model(ScriptedModel("Paris.", name="second"), "second", **prices),
    ]
    plain = Router(entries, ledger=ledger)
    limited = Router(
        entries,
        ledger=ledger,
        rates=RateLimits(
            [
                RateLimit("10000000/minute", per="tenant"),
                RateLimit("10000000000/minute", per="user", of="tokens"),
            ]
        ),
        budgets=Budgets(tenant=Budget(1_000_000.0)),
    )
    lc = [Scripted(), Scripted()]
    routed = RouterChatModel(
        Router(
            [
                Model(as_chat_model(model, name=name), name)
                for model, name in zip(lc, ("first", "second"), strict=True)
            ],
            ledger=ledger,
        )
    )
    fallbacks = lc[0].with_fallbacks([lc[1]])

    def request() -> ChatRequest:
        return ChatRequest((Message("user", QUESTION),), scope=SCOPE)

    async def bare() -> None:
        async for _ in chat.astream(request()):
            pass

    ways: dict[str, Call] = {
        "bare": bare,
        "ours": lambda: plain.aanswer(request()),
        "ours_limits": lambda: limited.aanswer(request()),
        "lc_bare": lambda: lc[0].ainvoke(QUESTION),
        "ours_langchain": lambda: routed.ainvoke(QUESTION),
        "with_fallbacks": lambda: fallbacks.ainvoke(QUESTION),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, call in ways.items():
            chat.requests.clear()
            gc.collect()
            started = process_time()
            for _ in range(CALLS):
                await call()
            await ledger.aflush()  # a ledger is part of the price
            if number:
                taken[name].append((process_time() - started) / CALLS)
    await ledger.aclose()
    return taken


def dead_primary(report: Report) -> None:
    """Seconds that callers waited for a primary that is gone."""
    for name, make in (("ours", _router), ("with_fallbacks", _fallbacks)):
        report.put(f"dead_primary_s/{name}", asyncio.run(_one_by_one(make())))
        for wave, seconds in enumerate(asyncio.run(_at_once(make())), 1):
            report.put(f"dead_primary_at_once_s/{name}/{wave}", seconds)


def _pair() -> tuple[Scripted, Scripted]:
    return Scripted(dead=True), Scripted()


def _router() -> Any:
    dead, well = _pair()
    return RouterChatModel(
        Router([as_chat_model(dead, name="dead"), as_chat_model(well, name="well")])
    )


def _fallbacks() -> Any:
    dead, well = _pair()
    return dead.with_fallbacks([well])


async def _one_by_one(model: Any) -> float:
    started = perf_counter()
    for _ in range(TIMES):
        await model.ainvoke(QUESTION)
    return perf_counter() - started


async def _at_once(model: Any) -> Sequence[float]:
    waves = []
    for _ in range(2):
        started = perf_counter()
        await asyncio.gather(*[model.ainvoke(QUESTION) for _ in range(TIMES)])
        waves.append(perf_counter() - started)
    return waves


def litellm(report: Report, *, quick: bool) -> None:
    """LiteLLM in a process of its own, from this environment or one that uv makes."""
    script = [LITELLM_SCRIPT, "60", "2" if quick else "7", QUESTION]
    for command in ([sys.executable, "-c"], _with_uv()):
        if not command:
            continue
        done = subprocess.run([*command, *script], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            report.put("overhead_us/litellm", 1e6 * json.loads(done.stdout.splitlines()[-1]))
            return
    report.notes.append(f"litellm was not measured: pip install {LITELLM}")


def _with_uv() -> list[str]:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        return []
    run = [str(uv), "run", "--no-project", "--python", sys.executable, "--with", LITELLM]
    return [*run, "python", "-c"]


def import_seconds() -> float:
    """The router's import less an interpreter's own, median of 9 in turn, with compiled files."""
    own = "import time; print(time.process_time())"
    code = f"import rag_memory_plugins.router.router; {own}"
    taken: dict[str, list[float]] = {own: [], code: []}
    with tempfile.TemporaryDirectory() as folder:
        # As where it is installed; what may not write bytecode compiles every file at every import.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for number in range(10):
            for each, seconds in taken.items():
                command = [sys.executable, "-c", each]
                done = subprocess.run(command, capture_output=True, check=True, env=env)
                if number:
                    seconds.append(float(done.stdout))
    return median(taken[code]) - median(taken[own])
