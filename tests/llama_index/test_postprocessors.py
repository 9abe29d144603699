from __future__ import annotations

import asyncio
import copy
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import PromptTemplate
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.response_synthesizers.context_only import ContextOnly
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_index.core.utils import get_tokenizer

from rag_memory_plugins import Conversation, LLMReranker, Memory
from rag_memory_plugins.errors import (
    InvalidBudget,
    InvalidInput,
    InvalidNamespace,
    UnknownArgument,
)
from rag_memory_plugins.llama_index import (
    HybridRerank,
    MemoryRetriever,
    NeighbourPostprocessor,
    Rerank,
    TenantGuardPostprocessor,
    TokenBudgetPostprocessor,
    as_chat_model,
    trimmed,
)
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.tokens import WordEstimate
from tests.llama_index.listening import listening, of
from tests.llama_index.scripted import ScriptedLLM

QUERY = QueryBundle("Which colour is the boat?")
BOAT = "It rained for days. We sat inside with tea. The boat is green. Nobody knew a song."


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    with listening() as events:
        yield events


def scored(node: BaseNode, score: float | None = None) -> NodeWithScore:
    return NodeWithScore(node=node, score=score)


def nodes_of(*texts: str, **metadata: Any) -> list[NodeWithScore]:
    """Nodes n0, n1, ... from the best to the weakest."""
    return [
        scored(TextNode(text=text, id_=f"n{at}", metadata=metadata), 1 - at / 100)
        for at, text in enumerate(texts)
    ]


def texts(nodes: Sequence[NodeWithScore]) -> list[str]:
    return [node.get_content() for node in nodes]


def tokens(text: str) -> int:
    """LlamaIndex's own count."""
    return len(get_tokenizer()(text))


def prompt_of(mode: ResponseMode, nodes: list[NodeWithScore]) -> str:
    """What the synthesizer of this mode makes of nodes, in a prompt of nothing but the context."""
    if mode is ResponseMode.CONTEXT_ONLY:
        shown = [node.node.get_content(MetadataMode.LLM) for node in nodes]
        # Without its __init__, which asks the global Settings for a model that it never calls.
        return str(ContextOnly.__new__(ContextOnly).get_response("", shown))
    llm = ScriptedLLM("done")
    template = PromptTemplate("{context_str}")
    synthesizer = get_response_synthesizer(
        llm=llm, response_mode=mode, text_qa_template=template, summary_template=template
    )
    # Its sync form leaves a loop behind that nobody closes.
    asyncio.run(synthesizer.asynthesize(QUERY, nodes))
    return "".join(message.content or "" for message in llm.asked[0]) if llm.asked else ""


# --- the budget ---

TEXTS = st.one_of(
    st.lists(
        st.sampled_from(
            [
                "The boat is green. ",
                "It rained on us for days.\n\n",
                "# The harbour\n\n",
                "    indented = True\n",
                "row | 1 | 2\n",
                "你好。再见。",
                "🙂🙃!",
                "don't\u00a0",
                "page: 3\n\n",
                "{context_str} <|endoftext|> ",
                "supercalifragilistic",
            ]
        ),
        max_size=12,
    ).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
METADATA = st.dictionaries(
    st.sampled_from(["page", "time", "note", "path"]),
    st.one_of(TEXTS, st.integers(), st.none(), st.just("2026-05-08T14:30:00+00:00")),
    max_size=3,
)
TEMPLATES = st.sampled_from(
    [
        "{metadata_str}\n\n{content}",
        "{content}\n\n{metadata_str}",
        "Source: {metadata_str}\n-----\n{content}\n-----",
        "{content}",
        "{metadata_str}",
    ]
)


@st.composite
def any_node(draw: st.DrawFn) -> BaseNode:
    text, shown = draw(TEXTS), draw(METADATA)
    more: dict[str, Any] = {
        "metadata": shown,
        "excluded_llm_metadata_keys": draw(st.lists(st.sampled_from(["page", "path"]))),
        "text_template": draw(TEMPLATES),
    }
    kind = draw(st.sampled_from(["text", "resource", "image", "index"]))
    if kind == "resource":
        return Node(text_resource=MediaResource(text=text), **more)
    if kind == "image":
        return ImageNode(text=text, image_url="http://127.0.0.1/a.png", **more)
    if kind == "index":
        return IndexNode(text=text, index_id="a", **more)
    return TextNode(text=text, **more)


SCORES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
NODES = st.lists(st.builds(scored, any_node(), SCORES), max_size=7)


@pytest.mark.parametrize(
    "mode", [ResponseMode.COMPACT, ResponseMode.TREE_SUMMARIZE, ResponseMode.CONTEXT_ONLY]
)
@given(
    nodes=NODES,
    budget=st.integers(0, 90),
    order=st.sampled_from(["relevance", "chronological", "ends"]),
    min_nodes=st.integers(0, 4),
)
def test_what_a_synthesizer_puts_into_the_prompt_is_within_the_budget(
    mode: ResponseMode, nodes: list[NodeWithScore], budget: int, order: Any, min_nodes: int
) -> None:
    before = copy.deepcopy(nodes)
    fit = TokenBudgetPostprocessor(budget, order=order, min_nodes=min_nodes)
    kept = fit.postprocess_nodes(nodes, QUERY)
    assert tokens(prompt_of(mode, kept)) <= budget
    shown = [node.node.get_content(MetadataMode.LLM) for node in kept]
    again, report = trimmed(nodes, budget, query=QUERY.query_str, order=order, min_nodes=min_nodes)
    assert (again, report.text) == (kept, "\n\n".join(shown))
    assert nodes == before
    assert all(new is not old for new in kept for old in nodes)


@given(nodes=NODES)
def test_with_room_for_all_every_text_and_all_metadata_stay(nodes: list[NodeWithScore]) -> None:
    kept, report = trimmed(nodes, 100_000, repeats=True)
    wanted = [
        (item.node.node_id, item.score, item.node.metadata, item.node.get_content(MetadataMode.LLM))
        for item in nodes
    ]
    shown = {
        item.node.node_id: (item.score, item.node.metadata, item.node.get_content(MetadataMode.LLM))
        for item in kept
    }
    assert shown == {
        key: (score, metadata, text.strip())
        for key, score, metadata, text in wanted
        if text.strip()
    }
    assert [change.why for change in report.changes] == ["empty"] * (len(nodes) - len(kept))


@given(nodes=NODES, budget=st.integers(0, 60), separator=st.sampled_from(["\n", "", " | "]))
def test_nodes_that_are_joined_otherwise_are_within_the_budget_too(
    nodes: list[NodeWithScore], budget: int, separator: str
) -> None:
    kept = TokenBudgetPostprocessor(budget, separator=separator).postprocess_nodes(nodes, QUERY)
    shown = [node.node.get_content(MetadataMode.LLM) for node in kept]
    assert tokens(separator.join(shown)) <= budget


async def test_sync_and_async_keep_the_same_nodes() -> None:
    fit = TokenBudgetPostprocessor(20)
    nodes = nodes_of(BOAT, "The boat is old.", BOAT)
    assert await fit.apostprocess_nodes(nodes, QUERY) == fit.postprocess_nodes(nodes, QUERY)


def test_the_shortened_node_keeps_what_answers_the_query_and_its_metadata() -> None:
    fit = TokenBudgetPostprocessor(14, min_nodes=1)
    (node,) = fit.postprocess_nodes(nodes_of(BOAT, page=3), QUERY)
    assert node.node.get_content(MetadataMode.LLM) == "page: 3\n\nThe boat is green."
    assert (node.text, node.node_id, node.score) == ("The boat is green.", "n0", 1.0)


def test_metadata_goes_before_the_text_does() -> None:
    fit = TokenBudgetPostprocessor(8, min_nodes=1)
    note = "written in the second year of the harbour office"
    (node,) = fit.postprocess_nodes(nodes_of(BOAT, note=note), QUERY)
    assert node.node.get_content(MetadataMode.LLM) == node.text == "The boat is green."
    assert node.metadata == {"note": note}


def test_without_a_query_the_first_sentences_stay() -> None:
    (node,) = TokenBudgetPostprocessor(6).postprocess_nodes(nodes_of(BOAT))
    assert node.text == "It rained for days."


def test_at_least_min_nodes_stay_the_weakest_shortened_most() -> None:
    fit = TokenBudgetPostprocessor(60)
    nodes = nodes_of(*(f"{BOAT} {n}. {BOAT.replace('boat', f'car {n}')}" for n in range(4)))
    assert len(fit.postprocess_nodes(nodes, QUERY)) == 3


def test_repeats_go_unless_they_are_asked_for() -> None:
    nodes = nodes_of("The boat is green.", "the boat is green")
    assert texts(TokenBudgetPostprocessor(100).postprocess_nodes(nodes)) == ["The boat is green."]
    assert len(TokenBudgetPostprocessor(100, repeats=True).postprocess_nodes(nodes)) == 2


def test_the_same_words_said_at_two_times_are_no_repeat(memory: Memory) -> None:
    ann = memory.conversation("acme", "ann", "monday")
    ann.add(["I ran five kilometres", "I ran five kilometres"])
    found = MemoryRetriever(ann).retrieve("five kilometres")
    assert len(TokenBudgetPostprocessor(500).postprocess_nodes(found)) == 2


def test_nodes_come_in_the_order_that_was_asked_for() -> None:
    days = ["2026-05-03", "2026-05-01", "no date"]
    nodes = [
        scored(TextNode(text=f"said {day}", metadata={"time": day}), 1 - at / 10)
        for at, day in enumerate(days)
    ]
    fit = TokenBudgetPostprocessor(500, order="chronological")
    assert texts(fit.postprocess_nodes(nodes)) == [
        "said 2026-05-01",
        "said 2026-05-03",
        "said no date",
    ]


def test_an_event_says_what_was_kept_and_which_response_mode_suits_it(heard: list[Any]) -> None:
    nodes = nodes_of(*(f"Number {n} is here." for n in range(14)))
    TokenBudgetPostprocessor(75).postprocess_nodes(nodes)
    (event,) = of(heard, "RagMemoryTrimEvent")
    assert (event.source, event.original, event.kept) == ("TokenBudgetPostprocessor", 14, 12)
    assert (event.available, event.recommended_response_mode) == (75, "tree_summarize")
    assert event.tokens <= 75 < event.tokens + event.removed
    assert event.span_id.startswith("TokenBudgetPostprocessor._postprocess_nodes")
    assert of(heard, "RagMemoryDegradeEvent") == []


async def test_fewer_nodes_than_asked_for_are_told_of(
    heard: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    nodes = nodes_of("One two three.", "Four five six.", "Seven eight nine.")
    with caplog.at_level(logging.WARNING, "rag_memory_plugins.llama_index"):
        kept = await TokenBudgetPostprocessor(2).apostprocess_nodes(nodes)
    (event,) = of(heard, "RagMemoryDegradeEvent")
    assert event.reason == f"{len(kept)} of at least 3 nodes fit 2 tokens"
    assert len(caplog.records) == 1


def test_few_nodes_and_repeats_are_nothing_to_tell_of(heard: list[Any]) -> None:
    TokenBudgetPostprocessor(100).postprocess_nodes(nodes_of("One.", "one"))
    assert of(heard, "RagMemoryDegradeEvent") == []


async def test_long_texts_are_counted_beside_the_loop() -> None:
    seen = []

    class Watching(WordEstimate):
        def count(self, text: str) -> int:
            seen.append(threading.current_thread())
            return super().count(text)

    fit = TokenBudgetPostprocessor(10, counter=Watching())
    await fit.apostprocess_nodes(nodes_of(BOAT), QUERY)
    assert seen
    assert threading.current_thread() not in seen


def test_a_node_without_any_text_is_dropped() -> None:
    nodes = [scored(ImageNode(image_url="http://127.0.0.1/a.png")), *nodes_of("One.")]
    assert texts(TokenBudgetPostprocessor(100).postprocess_nodes(nodes)) == ["One."]


def test_the_report_tells_what_became_of_every_node() -> None:
    nodes = nodes_of(BOAT, "it RAINED for days", BOAT)
    kept, report = trimmed(nodes, 9, query=QUERY.query_str, min_nodes=1)
    assert (report.original, report.kept, report.tokens) == (3, len(kept), tokens(report.text))
    assert {change.place for change in report.changes} == {0, 1, 2}


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"budget": -1}, InvalidBudget, "budget"),
        ({"budget": 1.5}, InvalidBudget, "budget"),
        ({"min_nodes": -1}, InvalidInput, "min_nodes"),
        ({"order": "relevanse"}, InvalidInput, "order"),
        ({"separator": None}, InvalidInput, "separator"),
        ({"window": 0.5}, InvalidInput, "window"),
        ({"counter": "gpt"}, InvalidInput, "counter"),
        ({"token_budget": 5}, UnknownArgument, "token_budget"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused_by_name(
    arguments: dict[str, Any], error: type[InvalidInput], field: str
) -> None:
    for made in (TokenBudgetPostprocessor, lambda **given: trimmed([], **given)):
        with pytest.raises(error) as caught:
            made(**{"budget": 10, **arguments})
        assert field in caught.value.field


def test_the_serialised_form_brings_the_budget_back() -> None:
    fit = TokenBudgetPostprocessor(50, min_nodes=1, order="ends", counter="words", window=8)
    data = fit.to_dict()
    again = TokenBudgetPostprocessor.from_dict(data)
    assert (again.to_dict(), again.to_json()) == (data, fit.to_json())
    nodes = nodes_of(BOAT, "One.", "Two.")
    assert again.postprocess_nodes(nodes) == fit.postprocess_nodes(nodes)


# --- the tenant ---


def of_tenants(*tenants: Any, key: str = "tenant") -> list[NodeWithScore]:
    return [
        scored(TextNode(text=f"secret of {tenant}", metadata={key: tenant}), 0.5)
        for tenant in tenants
    ]


OTHERS = ["globex", "ACME", "acme ", "acme*", "*", "", 7, True, ["acme"], {"acme": 1}, b"acme"]


@pytest.mark.parametrize("untagged", ["drop", "keep"])
async def test_nodes_of_one_tenant_alone_come_through(untagged: Any) -> None:
    nodes = of_tenants("acme", *OTHERS)
    guard = TenantGuardPostprocessor("acme", untagged=untagged)
    assert texts(guard.postprocess_nodes(nodes)) == ["secret of acme"]
    assert texts(await guard.apostprocess_nodes(nodes)) == ["secret of acme"]


def test_nodes_that_name_no_tenant_are_dropped_unless_they_are_to_be_kept() -> None:
    nodes = [*of_tenants("acme", None), *nodes_of("a handbook")]
    assert texts(TenantGuardPostprocessor("acme").postprocess_nodes(nodes)) == ["secret of acme"]
    kept = TenantGuardPostprocessor("acme", untagged="keep").postprocess_nodes(nodes)
    assert texts(kept) == ["secret of acme", "secret of None", "a handbook"]


def test_every_drop_is_told_by_count_and_without_texts(
    heard: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [*of_tenants("acme", "globex", "initech"), *nodes_of("a handbook")]
    with caplog.at_level(logging.WARNING, "rag_memory_plugins.llama_index"):
        TenantGuardPostprocessor("acme").postprocess_nodes(nodes)
    reasons = [
        "dropped for tenant 'acme': 2 nodes of another tenant",
        "dropped for tenant 'acme': 1 node without 'tenant' in the metadata",
    ]
    assert [event.reason for event in of(heard, "RagMemoryDegradeEvent")] == reasons
    assert [r.message for r in caplog.records] == [
        f"TenantGuardPostprocessor: {r}" for r in reasons
    ]


def test_where_nothing_is_dropped_nothing_is_told(heard: list[Any]) -> None:
    TenantGuardPostprocessor("acme").postprocess_nodes(of_tenants("acme", "acme"))
    assert of(heard, "RagMemoryDegradeEvent") == []


def test_another_key_may_hold_the_tenant() -> None:
    nodes = [*of_tenants("acme"), *of_tenants("acme", key="org")]
    guard = TenantGuardPostprocessor("acme", key="org")
    assert [node.metadata for node in guard.postprocess_nodes(nodes)] == [{"org": "acme"}]


def test_remembered_nodes_name_their_tenant(memory: Memory) -> None:
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("I moved to Lisbon")
    found = MemoryRetriever(ann).retrieve("Lisbon")
    assert len(TenantGuardPostprocessor("acme").postprocess_nodes(found)) == 1
    assert TenantGuardPostprocessor("globex").postprocess_nodes(found) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"tenant": ""}, InvalidNamespace),
        ({"tenant": None}, InvalidNamespace),
        ({"key": ""}, InvalidInput),
        ({"key": None}, InvalidInput),
        ({"untagged": "maybe"}, InvalidInput),
        ({"untagged": None}, InvalidInput),
        ({"tenant_id": "acme"}, UnknownArgument),
    ],
)
def test_a_guard_that_would_guard_nothing_is_refused(
    arguments: dict[str, Any], error: type[InvalidInput]
) -> None:
    with pytest.raises(error):
        TenantGuardPostprocessor(**{"tenant": "acme", **arguments})


def test_the_serialised_form_brings_the_guard_back() -> None:
    data = TenantGuardPostprocessor("acme", key="org", untagged="keep").to_dict()
    assert TenantGuardPostprocessor.from_dict(data).to_dict() == data


# --- all of them ---


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    conversation = memory.conversation("acme", "ann", "monday")
    conversation.add([BOAT, "Which boat?", "The one in Lisbon"])
    return conversation


def all_of(ann: Conversation) -> dict[str, BaseNodePostprocessor]:
    return {
        "budget": TokenBudgetPostprocessor(30),
        "guard": TenantGuardPostprocessor("acme", untagged="keep"),
        "hybrid": HybridRerank(WordEmbedder()),
        "model": Rerank(LLMReranker(as_chat_model(ScriptedLLM("{1: 2}", "none")))),
        "neighbours": NeighbourPostprocessor(ann),
    }


@pytest.mark.parametrize("name", ["budget", "guard", "hybrid", "model", "neighbours"])
async def test_the_callers_nodes_are_as_they_were_and_new_ones_come_back(
    ann: Conversation, name: str
) -> None:
    given = [
        *MemoryRetriever(ann, limit=1).retrieve("boat"),
        *nodes_of(f"  {BOAT} ", "the boat", page=3),
        scored(Node(text_resource=MediaResource(text=BOAT), metadata={"page": 4})),
    ]
    before = copy.deepcopy(given)
    postprocessor = all_of(ann)[name]
    for got in (
        postprocessor.postprocess_nodes(given, QUERY),
        await postprocessor.apostprocess_nodes(given, QUERY),
    ):
        assert got
        assert all(new is not old for new in got for old in given)
        got[0].score = -1.0
    assert given == before


@pytest.mark.parametrize("name", ["budget", "guard", "hybrid", "model", "neighbours"])
async def test_each_is_a_node_postprocessor_that_takes_nothing_and_no_query(
    ann: Conversation, name: str
) -> None:
    postprocessor = all_of(ann)[name]
    assert BaseNodePostprocessor.__name__ in [base.__name__ for base in type(postprocessor).__mro__]
    assert postprocessor.to_dict()["class_name"] == postprocessor.class_name()
    assert postprocessor.postprocess_nodes([]) == []
    assert await postprocessor.apostprocess_nodes([]) == []
    assert postprocessor.postprocess_nodes(nodes_of("One."), None)


@pytest.mark.parametrize("name", ["budget", "guard", "hybrid", "neighbours"])
async def test_one_object_serves_many_callers_at_once(ann: Conversation, name: str) -> None:
    postprocessor = all_of(ann)[name]
    inputs = [nodes_of(f"boat {n}", f"car {n}", f"tree {n}") for n in range(12)]
    wanted = [postprocessor.postprocess_nodes(nodes, QUERY) for nodes in inputs]
    got = await asyncio.gather(
        *(postprocessor.apostprocess_nodes(nodes, QUERY) for nodes in inputs)
    )
    assert list(got) == wanted
