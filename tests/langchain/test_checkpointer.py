"""`TenantCheckpointer`: a reused thread id reads no other tenant's chat."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from rag_memory_plugins import SHARED, Memory, Namespace, Scope
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace, UnknownArgument
from rag_memory_plugins.langchain import MemoryMiddleware, TenantCheckpointer, run_context
from tests.langchain.scripted import ScriptedModel, texts

ANN, BO = Scope("acme", "ann"), Scope("globex", "bo")


def thread(thread_id: str = "shared", **more: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, **more}}


def by_config(config: RunnableConfig) -> Scope:
    return Scope(config["configurable"]["tenant"], config["configurable"]["user"])


def agent(saver: BaseCheckpointSaver[Any], *replies: str, **more: Any) -> Any:
    return create_agent(ScriptedModel(*replies), checkpointer=saver, **more)


def said(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


@pytest.fixture
def saver() -> InMemorySaver:
    return InMemorySaver()


@pytest.fixture
def ann(saver: InMemorySaver) -> TenantCheckpointer:
    return TenantCheckpointer(saver, ANN)


@pytest.fixture
def bo(saver: InMemorySaver) -> TenantCheckpointer:
    return TenantCheckpointer(saver, BO)


def talk(saver: BaseCheckpointSaver[Any], text: str, config: RunnableConfig | None = None) -> Any:
    return agent(saver, "noted").invoke(said(text), config or thread())


def kept(saver: BaseCheckpointSaver[Any], config: RunnableConfig | None = None) -> list[str]:
    found = saver.get_tuple(config or thread())
    return [] if found is None else [m.text for m in found.checkpoint["channel_values"]["messages"]]


def test_dropin_a_reused_thread_id_reads_no_other_tenants_chat(
    ann: TenantCheckpointer, bo: TenantCheckpointer
) -> None:
    talk(ann, "my PIN is 1234")
    result = talk(bo, "what is my PIN?")
    assert texts(result["messages"]) == [("human", "what is my PIN?"), ("ai", "noted")]
    assert kept(ann) == ["my PIN is 1234", "noted"]


async def test_the_async_side_keeps_them_apart_too(
    ann: TenantCheckpointer, bo: TenantCheckpointer
) -> None:
    await agent(ann, "noted").ainvoke(said("my PIN is 1234"), thread())
    result = await agent(bo, "no idea").ainvoke(said("what is my PIN?"), thread())
    again = await agent(ann, "1234").ainvoke(said("what is my PIN?"), thread())
    assert [len(state["messages"]) for state in (result, again)] == [2, 4]


def test_a_chat_goes_on_across_runs(ann: TenantCheckpointer) -> None:
    talk(ann, "my PIN is 1234")
    result = talk(ann, "what is my PIN?")
    assert result["messages"][0].text == "my PIN is 1234"


@pytest.mark.parametrize(
    ("scope", "thread_id"),
    [
        (Scope("acme", "ann"), "globex/bo/shared"),
        (Scope("acme/ann", "x"), "shared"),
        (Scope("acme", SHARED), "ann/shared"),
        (Scope("acme", "*"), "shared"),
        (Scope("acme", "bo"), "shared"),
    ],
)
def test_no_thread_id_and_no_tenant_id_leads_into_another_scope(
    saver: InMemorySaver, ann: TenantCheckpointer, bo: TenantCheckpointer, scope, thread_id
) -> None:
    talk(ann, "mine")
    talk(bo, "mine")
    mine = TenantCheckpointer(saver, scope)
    assert mine.get_tuple(thread(thread_id)) is None
    assert list(mine.list(thread(thread_id))) == []


def test_what_an_unguarded_saver_wrote_is_of_no_scope(
    saver: InMemorySaver, ann: TenantCheckpointer
) -> None:
    talk(saver, "nobody's")
    talk(ann, "mine")
    assert {t.config["configurable"]["thread_id"] for t in ann.list(None)} == {"shared"}
    assert "nobody's" not in str(list(ann.list(None)))


def test_what_comes_back_carries_the_callers_thread_id(ann: TenantCheckpointer) -> None:
    graph = agent(ann, "noted")
    graph.invoke(said("hi"), thread())
    history = list(graph.get_state_history(thread()))
    configs = [s.config for s in history] + [s.parent_config for s in history if s.parent_config]
    configs += [item.config for item in ann.list(thread())]
    assert {config["configurable"]["thread_id"] for config in configs} == {"shared"}
    assert len(history) > 2


def test_the_scope_may_come_with_the_config(saver: InMemorySaver) -> None:
    guard = TenantCheckpointer(saver, by_config)
    mine, theirs = thread(tenant="acme", user="ann"), thread(tenant="globex", user="bo")
    talk(guard, "my PIN is 1234", mine)
    talk(guard, "hello", theirs)
    assert (kept(guard, mine), kept(guard, theirs)) == (
        ["my PIN is 1234", "noted"], ["hello", "noted"]
    )  # fmt: skip


def test_a_snapshots_config_leads_back_to_its_scope(saver: InMemorySaver) -> None:
    guard = TenantCheckpointer(saver, by_config)
    graph = agent(guard, "noted", "what?")
    mine = thread(tenant="acme", user="ann")
    graph.invoke(said("one"), mine)
    graph.update_state(mine, said("two"))
    first = list(graph.get_state_history(mine))[-2]
    assert [m.text for m in graph.get_state(first.config).values["messages"]] == ["one"]
    replayed = graph.invoke(None, first.config)
    assert [m.text for m in replayed["messages"]] == ["one", "what?"]


@dataclass
class Who:
    tenant: str
    user: str


async def test_the_scope_may_come_with_the_runs_context(saver: InMemorySaver) -> None:
    def scope(config: RunnableConfig) -> Scope:
        who = run_context(config)
        return Scope(who.tenant, who.user)

    graph = agent(TenantCheckpointer(saver, scope), "noted", "no idea", "1234", context_schema=Who)
    graph.invoke(said("my PIN is 1234"), thread(), context=Who("acme", "ann"))
    theirs = await graph.ainvoke(said("my PIN?"), thread(), context=Who("globex", "bo"))
    mine = await graph.ainvoke(said("my PIN?"), thread(), context=Who("acme", "ann"))
    assert [len(state["messages"]) for state in (theirs, mine)] == [2, 4]
    with pytest.raises(InvalidNamespace, match="scope"):
        graph.get_state(thread())


async def test_one_agent_of_all_tenants_with_memory_and_guard_keeps_them_apart(
    saver: InMemorySaver, memory: Memory
) -> None:
    def namespace(runtime: Any) -> Namespace:
        return Namespace(runtime.context.tenant, runtime.context.user, "shared")

    def scope(config: RunnableConfig) -> Scope:
        return Scope(run_context(config).tenant, run_context(config).user)

    model = ScriptedModel("noted", "no idea", "1234")
    one = create_agent(
        model,
        middleware=[MemoryMiddleware(memory, namespace=namespace)],
        checkpointer=TenantCheckpointer(saver, scope),
        context_schema=Who,
    )
    await one.ainvoke(said("my PIN is 1234"), thread(), context=Who("acme", "ann"))
    await one.ainvoke(said("what is my PIN?"), thread(), context=Who("globex", "bo"))
    one.invoke(said("what is my PIN?"), thread(), context=Who("acme", "ann"))
    assert ["1234" in str(texts(asked)) for asked in model.asked] == [True, False, True]
    assert len(memory.conversation("acme", "ann", "shared").messages()) == 4


@pytest.mark.parametrize(
    "config",
    [thread(), thread(tenant="acme"), thread(tenant="", user="ann"), {"configurable": {}}, {}],
    ids=["none", "no user", "empty", "no thread", "no configurable"],
)
async def test_a_config_without_a_tenant_fails_closed(saver: InMemorySaver, config) -> None:
    talk(saver, "nobody's")
    guard = TenantCheckpointer(saver, by_config)
    written = str(saver.storage)
    for call in (
        lambda: guard.get_tuple(config),
        lambda: list(guard.list(config)),
        lambda: guard.put(config, empty_checkpoint(), {}, {}),
        lambda: guard.put_writes(config, [("messages", "x")], "task"),
        lambda: guard.get_delta_channel_history(config=config, channels=["messages"]),
    ):
        with pytest.raises(InvalidNamespace):
            call()
    for work in (
        guard.aget_tuple(config),
        guard.aput(config, empty_checkpoint(), {}, {}),
        guard.aput_writes(config, [("messages", "x")], "task"),
        guard.aget_delta_channel_history(config=config, channels=["messages"]),
    ):
        with pytest.raises(InvalidNamespace):
            await work
    with pytest.raises(InvalidNamespace):
        _ = [item async for item in guard.alist(config)]
    assert str(saver.storage) == written


async def test_a_call_without_a_config_needs_a_fixed_scope(saver: InMemorySaver) -> None:
    guard = TenantCheckpointer(saver, by_config)
    talk(guard, "mine", thread(tenant="acme", user="ann"))
    calls = {
        "delete_thread": ("shared",),
        "copy_thread": ("shared", "other"),
        "prune": (["shared"],),
        "delete_for_runs": (["run"],),
    }
    for name, arguments in calls.items():
        with pytest.raises(InvalidNamespace, match="of\\(Scope"):
            getattr(guard, name)(*arguments)
        with pytest.raises(InvalidNamespace, match="of\\(Scope"):
            await getattr(guard, f"a{name}")(*arguments)
    with pytest.raises(InvalidNamespace, match="of\\(Scope"):
        guard.list(None)
    assert kept(guard.of(ANN)) == ["mine", "noted"]


async def test_deleting_a_thread_leaves_the_others_of_its_id(
    ann: TenantCheckpointer, bo: TenantCheckpointer
) -> None:
    for one in (ann, bo):
        talk(one, "hi")
    ann.delete_thread("shared")
    assert (kept(ann), kept(bo)) == ([], ["hi", "noted"])
    await bo.adelete_thread("shared")
    assert kept(bo) == []


async def test_list_of_all_is_the_scopes_own_and_its_limit_counts_them(
    ann: TenantCheckpointer, bo: TenantCheckpointer
) -> None:
    for number in "12":
        for one in (bo, ann):
            talk(one, f"hi {number}", thread(number))
    everything = list(ann.list(None))
    assert {t.config["configurable"]["thread_id"] for t in everything} == {"1", "2"}
    assert len(everything) == len(list(ann.list(thread("1")))) * 2
    for limit in (0, 1, 3, 99):
        found = list(ann.list(None, limit=limit))
        assert found == [item async for item in ann.alist(None, limit=limit)]
        assert len(found) == min(limit, len(everything))
    assert len(list(ann.list(thread("1"), limit=2))) == 2
    assert len([item async for item in ann.alist(thread("1"), limit=2)]) == 2


def test_list_before_a_checkpoint_and_by_metadata(ann: TenantCheckpointer) -> None:
    talk(ann, "hi")
    newest, *older = ann.list(thread())
    assert list(ann.list(thread(), before=newest.config)) == older
    assert [t.metadata["step"] for t in ann.list(thread(), filter={"step": 0})] == [0]


class FullSaver(InMemorySaver):
    """With the calls that are optional, as savers of databases have them; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Any, ...]] = []

    def delete_for_runs(self, run_ids):
        self.asked.append(("runs", list(run_ids)))

    def copy_thread(self, source_thread_id, target_thread_id):
        self.asked.append(("copy", source_thread_id, target_thread_id))

    def prune(self, thread_ids, *, strategy="keep_latest"):
        self.asked.append(("prune", list(thread_ids), strategy))

    async def adelete_for_runs(self, run_ids):
        self.delete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id, target_thread_id):
        self.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids, *, strategy="keep_latest"):
        self.prune(thread_ids, strategy=strategy)


async def test_threads_are_copied_and_pruned_within_the_scope() -> None:
    saver = FullSaver()
    ann = TenantCheckpointer(saver, ANN)
    ann.copy_thread("a", "globex/bo/b")
    ann.prune(["a"], strategy="delete")
    await ann.acopy_thread("a", "globex/bo/b")
    await ann.aprune(["a"], strategy="delete")
    asked = [
        ("copy", "acme/ann/a", "acme/ann/globex%2Fbo%2Fb"),
        ("prune", ["acme/ann/a"], "delete"),
    ]
    assert saver.asked == [*asked, *asked]


async def test_runs_of_others_are_not_deleted() -> None:
    saver = FullSaver()
    ann, bo = TenantCheckpointer(saver, ANN), TenantCheckpointer(saver, BO)
    for one, run in [(ann, "mine"), (bo, "theirs"), (ann, "both"), (bo, "both")]:
        one.put(thread(checkpoint_ns=""), empty_checkpoint(), {"run_id": run}, {})
    ann.delete_for_runs(["mine", "theirs", "unknown"])
    await ann.adelete_for_runs(["mine", "theirs", "unknown"])
    assert saver.asked == [("runs", ["mine"])] * 2
    with pytest.raises(InvalidNamespace, match=r"run_ids.*both"):
        ann.delete_for_runs(["mine", "both"])
    with pytest.raises(InvalidNamespace, match=r"run_ids.*both"):
        await ann.adelete_for_runs(["mine", "both"])
    assert len(saver.asked) == 2


def test_what_the_saver_cannot_do_the_guard_cannot(ann: TenantCheckpointer) -> None:
    with pytest.raises(NotImplementedError):
        ann.copy_thread("a", "b")


def test_an_interrupt_is_resumed_by_its_own_tenant_alone(
    ann: TenantCheckpointer, bo: TenantCheckpointer
) -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", f"you said {interrupt('sure?')}")]}

    graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask")
    mine, theirs = graph.compile(checkpointer=ann), graph.compile(checkpointer=bo)
    assert mine.invoke(said("delete it"), thread())["__interrupt__"][0].value == "sure?"
    theirs.invoke(Command(resume="yes"), thread())
    assert mine.get_state(thread()).next == ("ask",)
    result = mine.invoke(Command(resume="no"), thread())
    assert result["messages"][-1].text == "you said no"


async def test_a_subgraph_with_its_own_checkpoints_works(saver: InMemorySaver) -> None:
    guard = TenantCheckpointer(saver, by_config)
    inner = agent(True, "one", "two", name="inner")  # type: ignore[arg-type]  # a checkpointer of its own
    outer = StateGraph(MessagesState).add_node("inner", inner).add_edge(START, "inner")
    graph = outer.compile(checkpointer=guard)
    mine = thread(tenant="acme", user="ann")
    graph.invoke(said("hi"), mine)
    await graph.ainvoke(said("again"), mine)
    state = graph.get_state(mine, subgraphs=True)
    assert [m.text for m in state.values["messages"]] == ["hi", "one", "again", "two"]


def test_streams_show_the_callers_thread_id(ann: TenantCheckpointer) -> None:
    graph = agent(ann, "noted")
    shown = list(graph.stream(said("hi"), thread(), stream_mode=["checkpoints", "debug"]))
    assert "acme" not in str(shown)


def test_every_method_of_the_base_class_is_guarded() -> None:
    """A method that a newer LangGraph adds must be looked at here before it can pass a tenant by."""
    inherited = {"get", "aget"}  # built on get_tuple and aget_tuple
    public = {name for name in vars(BaseCheckpointSaver) if not name.startswith("_")} - {"serde"}
    assert public - inherited == {n for n in vars(TenantCheckpointer) if n[0] != "_"} - {"of"}


def test_every_method_takes_what_the_base_classs_takes() -> None:
    for name, method in inspect.getmembers(BaseCheckpointSaver, inspect.isfunction):
        if not name.startswith("_"):
            ours = inspect.signature(getattr(TenantCheckpointer, name))
            assert list(ours.parameters) == list(inspect.signature(method).parameters), name


def test_versions_serde_specs_and_allowlist_are_the_savers(ann: TenantCheckpointer) -> None:
    assert ann.get_next_version("00000000000000000000000000000004.5", None)[:32].endswith("5")
    assert ann.serde == ann.saver.serde
    assert ann.config_specs == ann.saver.config_specs
    talk(ann, "hi")
    allowed = ann.with_allowlist({("tests", "Who")})
    assert isinstance(allowed, TenantCheckpointer)
    assert kept(allowed) == ["hi", "noted"]


async def test_get_and_delta_history_read_the_scopes_own(
    ann: TenantCheckpointer, bo: TenantCheckpointer
) -> None:
    talk(ann, "hi")
    assert (await ann.aget(thread()))["channel_values"]["messages"][0].text == "hi"
    assert await bo.aget(thread()) is None
    mine = ann.get_delta_channel_history(config=thread(), channels=["messages"])
    assert mine == await ann.aget_delta_channel_history(config=thread(), channels=["messages"])
    theirs = bo.get_delta_channel_history(config=thread(), channels=["messages"])
    assert ("seed" in mine["messages"], theirs["messages"]) == (True, {"writes": []})


IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=6)


@given(st.tuples(IDS, IDS, IDS), st.tuples(IDS, IDS, IDS))
def test_two_threads_have_one_key_only_if_all_their_parts_are_equal(one, other) -> None:
    saver = FullSaver()
    for tenant, user, thread_id in (one, other):
        TenantCheckpointer(saver, Scope(tenant, user)).prune([thread_id])
    assert (saver.asked[0] == saver.asked[1]) == (one == other)


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"saver": object()}, InvalidInput, "saver"),
        ({"scope": None}, InvalidNamespace, "scope"),
        ({"scope": "acme"}, InvalidNamespace, "scope"),
        ({"tenant": "acme"}, UnknownArgument, "tenant"),
    ],
)
def test_a_bad_argument_is_named(saver: InMemorySaver, arguments, error, named) -> None:
    with pytest.raises(error, match=named):
        TenantCheckpointer(**{"saver": saver, "scope": ANN, **arguments})


@pytest.mark.parametrize("answer", [None, "acme", ("acme", "ann")])
def test_a_function_that_gives_no_scope_fails_closed(saver: InMemorySaver, answer) -> None:
    with pytest.raises(InvalidNamespace, match="must give a Scope"):
        TenantCheckpointer(saver, lambda _: answer).get_tuple(thread())


@pytest.mark.parametrize("thread_id", ["", "a\x00b", "x" * 257, None, 7])
def test_a_thread_id_that_cannot_name_a_session_is_refused(ann, thread_id) -> None:
    with pytest.raises(InvalidNamespace, match="thread_id"):
        ann.get_tuple(thread(thread_id))
