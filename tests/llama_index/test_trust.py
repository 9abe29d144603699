"""A memory in a workflow's Context: written as a reference, read back as nobody else's."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import Context
from workflows.errors import WorkflowRuntimeError

from rag_memory_plugins import Memory
from rag_memory_plugins.errors import InvalidBudget, InvalidInput, InvalidNamespace
from rag_memory_plugins.llama_index import ScopedMemory, restoring
from rag_memory_plugins.llama_index.compat import SEES_RUNS
from tests.llama_index.scripted import ScriptedLLM, texts

sees_runs = pytest.mark.skipif(
    not SEES_RUNS, reason="workflows before 2.23 hide what a run was given"
)

ANN = ("acme", "ann", "tuesday")
BOB = ("globex", "bob", "tuesday")


@pytest.fixture
def llm() -> ScriptedLLM:
    return ScriptedLLM("hello", "it is you", "it is you")


@pytest.fixture(params=["agent", "workflow of agents"])
def workflow(request: pytest.FixtureRequest, llm: ScriptedLLM) -> Any:
    agent = FunctionAgent(name="clerk", description="answers", llm=llm, streaming=False)
    return agent if request.param == "agent" else AgentWorkflow(agents=[agent])


def of(memory: Memory, place: tuple[str, str, str]) -> ScopedMemory:
    return ScopedMemory(memory.conversation(*place))


def in_another_process(context: Context, written_by: ScopedMemory) -> dict[str, Any]:
    """The saved Context as a process reads it in which the writing object does not live."""
    return json.loads(json.dumps(context.to_dict()).replace(written_by.reference, "elsewhere"))


async def first_run(workflow: Any, memory: ScopedMemory) -> Context:
    context = Context(workflow)
    await workflow.run("I am Ann", ctx=context, memory=memory)
    return context


async def test_a_used_context_goes_on_with_the_memory_it_was_given(
    workflow: Any, memory: Memory
) -> None:
    ann = of(memory, ANN)
    context = await first_run(workflow, ann)
    await workflow.run("who am I?", ctx=context, memory=ann)
    await workflow.run("who?", ctx=context)
    assert len(await ann.aget_all()) == 6


async def test_a_used_context_goes_on_with_another_object_of_the_same_session(
    workflow: Any, memory: Memory
) -> None:
    context = await first_run(workflow, of(memory, ANN))
    again = of(memory, ANN)
    await workflow.run("who am I?", ctx=context, memory=again)
    assert len(await again.aget_all()) == 4


@sees_runs
async def test_a_context_of_one_tenant_is_refused_beside_the_memory_of_another(
    workflow: Any, memory: Memory, llm: ScriptedLLM
) -> None:
    ann, bob = of(memory, ANN), of(memory, BOB)
    context = await first_run(workflow, ann)
    with pytest.raises(InvalidNamespace, match="a Context of its own"):
        await workflow.run("who am I?", ctx=context, memory=bob)
    stored = (len(await ann.aget_all()), len(await bob.aget_all()), len(llm.asked))
    assert stored == (2, 0, 1)


@sees_runs
async def test_a_saved_context_of_one_tenant_is_refused_beside_the_memory_of_another(
    workflow: Any, memory: Memory
) -> None:
    ann, bob = of(memory, ANN), of(memory, BOB)
    data = json.loads(json.dumps((await first_run(workflow, ann)).to_dict()))
    with pytest.raises(InvalidNamespace, match="a Context of its own"):
        await workflow.run("who am I?", ctx=Context.from_dict(workflow, data), memory=bob)
    assert (len(await ann.aget_all()), len(await bob.aget_all())) == (2, 0)


@sees_runs
async def test_a_context_with_our_memory_is_refused_beside_a_memory_of_llama_index(
    workflow: Any, memory: Memory
) -> None:
    ann = of(memory, ANN)
    context = await first_run(workflow, ann)
    with pytest.raises(InvalidNamespace, match="acme/ann/tuesday"):
        await workflow.run("who?", ctx=context, memory=ChatMemoryBuffer.from_defaults())
    assert len(await ann.aget_all()) == 2


@sees_runs
async def test_another_process_restores_the_memory_that_its_run_is_given(
    workflow: Any, memory: Memory
) -> None:
    ann = of(memory, ANN)
    data = in_another_process(await first_run(workflow, ann), ann)
    context = Context.from_dict(workflow, data)
    await workflow.run("who am I?", ctx=context, memory=of(memory, ANN))
    await workflow.run("who?", ctx=context)
    assert len(await ann.aget_all()) == 6


@sees_runs
async def test_another_process_is_refused_the_memory_of_another_tenant(
    workflow: Any, memory: Memory
) -> None:
    ann, bob = of(memory, ANN), of(memory, BOB)
    data = in_another_process(await first_run(workflow, ann), ann)
    with pytest.raises(InvalidNamespace):
        await workflow.run("who am I?", ctx=Context.from_dict(workflow, data), memory=bob)
    assert (len(await ann.aget_all()), len(await bob.aget_all())) == (2, 0)


async def test_another_process_that_names_no_memory_is_refused(
    workflow: Any, memory: Memory
) -> None:
    ann = of(memory, ANN)
    data = in_another_process(await first_run(workflow, ann), ann)
    # Workflows 1 wraps what a step raises.
    with pytest.raises((InvalidInput, WorkflowRuntimeError), match=r"restoring\(memory\)"):
        await workflow.run("who am I?", ctx=Context.from_dict(workflow, data))
    assert len(await ann.aget_all()) == 2


async def test_another_process_names_its_memory_by_restoring(workflow: Any, memory: Memory) -> None:
    ann = of(memory, ANN)
    data = in_another_process(await first_run(workflow, ann), ann)
    with restoring(of(memory, ANN)):
        await workflow.run("who am I?", ctx=Context.from_dict(workflow, data))
    assert len(await ann.aget_all()) == 4


@sees_runs
async def test_a_changed_tenant_in_a_saved_context_is_refused(
    workflow: Any, memory: Memory
) -> None:
    ann = of(memory, ANN)
    await of(memory, BOB).aput(ChatMessage("my pin is 4821"))
    written = json.dumps((await first_run(workflow, ann)).to_dict())
    forged = json.loads(written.replace("acme/ann/tuesday", "globex/bob/tuesday"))
    with pytest.raises(ValueError, match="the trusted memory is 'acme/ann/tuesday'"):
        await workflow.run("my pin?", ctx=Context.from_dict(workflow, forged))


def test_the_written_form_is_a_reference_without_content(memory: Memory) -> None:
    chat = of(memory, ANN)
    chat.put(ChatMessage("my secret is 4711"))
    chat.get()
    written = json.dumps(chat.to_dict())
    assert ("acme/ann/tuesday" in written, "4711" in written) == (True, False)


@sees_runs
def test_the_process_that_wrote_a_reference_reads_it_back(memory: Memory) -> None:
    chat = of(memory, ANN)
    assert ScopedMemory.from_dict(json.loads(json.dumps(chat.to_dict()))) is chat


@sees_runs
def test_pickle_keeps_a_reference(memory: Memory) -> None:
    chat = of(memory, ANN)
    assert pickle.loads(pickle.dumps(chat)) is chat


def test_a_deep_copy_refers_to_the_same_conversation(memory: Memory) -> None:
    chat = of(memory, ANN)
    assert copy.deepcopy(chat) is chat


def test_a_reference_from_another_process_is_restored_to_the_trusted_memory(
    memory: Memory,
) -> None:
    mine = of(memory, ANN)
    with restoring(mine):
        assert ScopedMemory.from_dict({**mine.to_dict(), "reference": "elsewhere"}) is mine


def test_a_reference_to_another_tenant_is_refused(memory: Memory) -> None:
    foreign = of(memory, BOB).to_dict()
    with restoring(of(memory, ANN)), pytest.raises(InvalidNamespace, match="globex"):
        ScopedMemory.from_dict(foreign)


@pytest.mark.skipif(SEES_RUNS, reason="this version shows what a run was given")
def test_where_runs_are_not_seen_a_reference_needs_restoring_in_its_own_process(
    memory: Memory,
) -> None:
    ann = of(memory, ANN)
    with pytest.raises(InvalidInput, match=r"restoring\(memory\)"):
        ScopedMemory.from_dict(ann.to_dict()).get()
    with restoring(ann):
        assert ScopedMemory.from_dict(ann.to_dict()) is ann


def test_a_reference_may_not_be_used_before_it_is_trusted(memory: Memory) -> None:
    waiting = ScopedMemory.from_dict({**of(memory, ANN).to_dict(), "reference": "elsewhere"})
    for use in (waiting.get, waiting.get_all, waiting.reset, lambda: waiting.put(ChatMessage("x"))):
        with pytest.raises(InvalidInput, match=r"restoring\(memory\)"):
            use()


def test_a_waiting_reference_becomes_the_memory_of_restoring(memory: Memory) -> None:
    ann = of(memory, ANN)
    ann.put(ChatMessage("hello"))
    waiting = ScopedMemory.from_dict({**ann.to_dict(), "reference": "elsewhere"})
    with restoring(ann):
        waiting.get()
    assert texts(waiting.get_all()) == [("user", "hello")]


def test_a_waiting_reference_never_becomes_another_tenants_memory(memory: Memory) -> None:
    waiting = ScopedMemory.from_dict({**of(memory, ANN).to_dict(), "reference": "elsewhere"})
    with restoring(of(memory, BOB)), pytest.raises(InvalidNamespace, match="globex"):
        waiting.get()


def test_a_reference_cannot_raise_its_own_budget(memory: Memory) -> None:
    ann = ScopedMemory(memory.conversation(*ANN), 500, level="session")
    forged = {**ann.to_dict(), "reference": "elsewhere", "level": "user"}
    waiting = ScopedMemory.from_dict({**forged, "budget": {**forged["budget"], "total": 10**6}})
    with restoring(ann):
        waiting.get()
    assert (waiting.budget.total, waiting.level) == (500, "session")


def test_a_reference_to_itself_is_no_trust(memory: Memory) -> None:
    waiting = ScopedMemory.from_dict({**of(memory, ANN).to_dict(), "reference": "elsewhere"})
    with restoring(waiting), pytest.raises(InvalidInput, match=r"restoring\(memory\)"):
        waiting.get()


@pytest.mark.parametrize("budget", [{"total": 0}, {"sum": 4000}, None])
def test_a_broken_budget_in_a_reference_is_refused(memory: Memory, budget: object) -> None:
    with pytest.raises(InvalidBudget):
        ScopedMemory.from_dict({**of(memory, ANN).to_dict(), "reference": "?", "budget": budget})


def test_the_level_is_part_of_the_reference(memory: Memory) -> None:
    ann = ScopedMemory(memory.conversation(*ANN), level="session")
    again = ScopedMemory.from_dict(ann.to_dict(), conversation=memory.conversation(*ANN))
    assert again.level == "session"
