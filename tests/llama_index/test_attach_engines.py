"""A conversation's memory in query and chat engines that exist."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import (
    CustomQueryEngine,
    RetrieverQueryEngine,
    SubQuestionQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import (
    CompactAndRefine,
    Refine,
    TreeSummarize,
    get_response_synthesizer,
)
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import QueryEngineTool
from pydantic import BaseModel, PrivateAttr

from rag_memory_plugins import Conversation, Memory, TokenBudget
from rag_memory_plugins.errors import InvalidBudget, InvalidInput, UnknownArgument
from rag_memory_plugins.llama_index import LimitedLLM, ScopedMemory, attach, detach
from tests.llama_index.attached import asked, look, over
from tests.llama_index.listening import listening
from tests.llama_index.scripted import ScriptedLLM, texts

DOCUMENT = "The library opens at nine."
FACT = "I moved to Lisbon in May"
LONG = "the harbour crane is green and the boat was old " * 12  # 120 tokens


@pytest.fixture(autouse=True)
def loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """A loop for LlamaIndex's sync calls: where there is none it makes one and leaves it open."""
    if asyncio.iscoroutinefunction(request.function):
        yield
        return
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield
    asyncio.set_event_loop(None)
    made.close()


def index(*documents: str) -> VectorStoreIndex:
    nodes = [TextNode(text=text, id_=f"n{at}") for at, text in enumerate(documents)]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=4))


def query_engine(llm: Any, *documents: str, **options: Any) -> RetrieverQueryEngine:
    retriever = index(*(documents or (DOCUMENT,))).as_retriever(similarity_top_k=50)
    return RetrieverQueryEngine.from_args(retriever, llm=llm, **options)


QUESTIONS = '```json\n{"items": [{"sub_question": "where did I move?", "tool_name": "docs"}]}\n```'


def sub_questions(llm: Any, **tools: Any) -> SubQuestionQueryEngine:
    engines = tools or {"docs": query_engine(llm)}
    return SubQuestionQueryEngine.from_defaults(
        [
            QueryEngineTool.from_defaults(engine, name=name, description=name)
            for name, engine in engines.items()
        ],
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        verbose=False,
        use_async=False,
    )


def retriever() -> Any:
    return index(DOCUMENT).as_retriever()


def options(llm: Any) -> dict[str, Any]:
    # Not the default memory: LlamaIndex's leaves its database open.
    return {"llm": llm, "memory": ChatMemoryBuffer.from_defaults(token_limit=3000)}


MAKERS: dict[str, Callable[[Any], Any]] = {
    "RetrieverQueryEngine": query_engine,
    "SubQuestionQueryEngine": sub_questions,
    "SimpleChatEngine": lambda llm: SimpleChatEngine.from_defaults(**options(llm)),
    "ContextChatEngine": lambda llm: ContextChatEngine.from_defaults(retriever(), **options(llm)),
    "CondensePlusContextChatEngine": lambda llm: CondensePlusContextChatEngine.from_defaults(
        retriever(), **options(llm)
    ),
    "CondenseQuestionChatEngine": lambda llm: CondenseQuestionChatEngine.from_defaults(
        query_engine(llm), **options(llm)
    ),
}
CHATS = list(MAKERS)[2:]
every = pytest.mark.parametrize("kind", MAKERS)


@every
def test_attach_returns_the_very_target(ann: Conversation, kind: str) -> None:
    target = MAKERS[kind](ScriptedLLM())
    assert attach(target, ann) is target
    assert type(target).__name__ == kind


@every
def test_detach_restores_every_attribute(ann: Conversation, kind: str) -> None:
    target = MAKERS[kind](ScriptedLLM())
    before = look(target)
    attach(target, ann, budget=500, llm=ScriptedLLM())
    assert look(target) != before
    assert detach(target) is target
    assert look(target) == before


@every
def test_detach_without_an_attachment_changes_nothing(kind: str) -> None:
    target = MAKERS[kind](ScriptedLLM())
    before = look(target)
    detach(target)
    assert look(target) == before


@every
def test_attaching_the_same_again_changes_nothing(
    memory: Memory, ann: Conversation, kind: str
) -> None:
    target, llm = MAKERS[kind](ScriptedLLM()), ScriptedLLM()
    attach(target, ann, budget=500, llm=llm)
    before = look(target)
    attach(target, memory.conversation("acme", "ann", "tuesday"), budget=500, llm=llm)
    assert look(target) == before


@every
def test_another_conversation_takes_the_place_of_the_first(
    ann: Conversation, bob: Conversation, kind: str
) -> None:
    target = MAKERS[kind](ScriptedLLM())
    before = look(target)
    attach(attach(target, ann, budget=500), bob)
    attached = look(target)
    detach(target)
    assert look(target) == before
    attach(target, bob)
    assert attached.keys() == look(target).keys()


@every
def test_parts_that_others_may_hold_are_not_changed(ann: Conversation, kind: str) -> None:
    target = MAKERS[kind](ScriptedLLM())
    parts = {name: look(part) for name, part in vars(target).items() if hasattr(part, "__dict__")}
    held = dict(vars(target))
    attach(target, ann, budget=500)
    assert {name: look(held[name]) for name in parts} == parts


@every
def test_the_global_settings_are_left_alone(ann: Conversation, kind: str) -> None:
    target = MAKERS[kind](ScriptedLLM())
    before = {name: id(value) for name, value in vars(Settings).items()}
    attach(target, ann, budget=500, response_mode="Query" in kind)
    detach(target)
    assert {name: id(value) for name, value in vars(Settings).items()} == before


class Custom(CustomQueryEngine):
    def custom_query(self, query_str: str) -> str:
        return "forty two"


@pytest.mark.parametrize("target", [Custom(), MockLLM(), "engine", None, RetrieverQueryEngine])
def test_what_cannot_be_attached_to_is_refused_by_name(ann: Conversation, target: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        attach(target, ann)
    assert f".{type(target).__name__}'; what can be attached to: Retri" in str(refused.value)
    assert "FunctionAgent, ReActAgent, CodeActAgent, AgentWorkflow" in str(refused.value)


def test_a_target_without_the_attribute_is_refused_and_left_alone(ann: Conversation) -> None:
    target = query_engine(ScriptedLLM())
    del target._response_synthesizer
    before = look(target)
    with pytest.raises(InvalidInput, match="no attribute _response_synthesizer"):
        attach(target, ann)
    assert look(target) == before


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"conversation": "acme/ann/monday"}, InvalidInput, "conversation"),
        ({"rerank": "cohere"}, InvalidInput, "rerank"),
        ({"rerank": [MockLLM()]}, InvalidInput, "rerank"),
        ({"budget": 0}, InvalidBudget, "total"),
        ({"llm": "gpt-4o"}, InvalidInput, "llm"),
        ({"response_mode": "compact"}, InvalidInput, "response_mode"),
        ({"budgte": 500}, UnknownArgument, "budgte"),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(
    ann: Conversation, arguments: dict[str, Any], error: type[Exception], field: str
) -> None:
    target = attach(query_engine(ScriptedLLM()), ann)
    before = look(target)
    with pytest.raises(error, match=field):
        attach(target, **{"conversation": ann, **arguments})
    assert look(target) == before


class LastFirst(BaseNodePostprocessor):
    """A reranker that turns the order round and keeps two."""

    _seen: list[int] = PrivateAttr(default_factory=list)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        self._seen.append(len(nodes))
        return nodes[::-1][:2]


@pytest.mark.parametrize("kind", ["SimpleChatEngine"])
@pytest.mark.parametrize("option", [{"rerank": LastFirst()}, {"response_mode": True}])
def test_an_option_that_has_no_place_is_refused_by_name(
    ann: Conversation, kind: str, option: dict[str, Any]
) -> None:
    target = MAKERS[kind](ScriptedLLM())
    with pytest.raises(InvalidInput, match=f"{next(iter(option))}.*a {kind} has no"):
        attach(target, ann, **option)


def test_a_query_engine_finds_what_was_said_beside_its_documents(ann: Conversation) -> None:
    llm = ScriptedLLM("to Lisbon", "at nine")
    engine = attach(query_engine(llm), ann)
    response = engine.query("where did I move?")
    assert (DOCUMENT in asked(llm), FACT in asked(llm)) == (True, True)
    assert len(response.source_nodes) == 2
    assert list(ann.messages()) == []  # a query is nobody's turn


async def test_a_query_engine_finds_what_was_said_async(ann: Conversation) -> None:
    llm = ScriptedLLM("to Lisbon")
    await attach(query_engine(llm), ann).aquery("where did I move?")
    assert (DOCUMENT in asked(llm), FACT in asked(llm)) == (True, True)


def test_a_query_engine_finds_nothing_of_another_tenant(
    ann: Conversation, bob: Conversation
) -> None:
    llm = ScriptedLLM("to Oslo")
    engine = attach(query_engine(llm), ann)
    attach(engine, bob).query("where did I move?")
    assert ("Oslo" in asked(llm), "Lisbon" in asked(llm)) == (True, False)


def test_a_detached_query_engine_finds_its_documents_alone(ann: Conversation) -> None:
    llm = ScriptedLLM("nowhere")
    detach(attach(query_engine(llm), ann)).query("where did I move?")
    assert FACT not in asked(llm)


def test_a_reranker_sees_documents_and_memory_behind_the_postprocessors_in_place(
    ann: Conversation,
) -> None:
    first, last = LastFirst(), LastFirst()
    documents = [f"Document {number}." for number in range(5)]
    engine = query_engine(ScriptedLLM("x"), *documents, node_postprocessors=[first])
    attach(engine, ann, rerank=last).query("where did I move?")
    assert (first._seen, last._seen) == ([6], [2])


@pytest.mark.parametrize("streaming", [False, True])
def test_a_query_engine_asks_no_more_than_its_budget(ann: Conversation, streaming: bool) -> None:
    llm = ScriptedLLM(*["green"] * 9)
    engine = query_engine(llm, *[f"{n}: {LONG}" for n in range(9)], streaming=streaming)
    response = attach(engine, ann, budget=600).query("which harbour crane is green?")
    text = "".join(response.response_gen) if streaming else str(response)
    assert (text, len(llm.asked) >= 1, over(llm, 600)) == ("green", True, [])


def test_one_node_longer_than_the_budget_is_shortened_to_one_request(ann: Conversation) -> None:
    llm = ScriptedLLM("green")
    engine = attach(query_engine(llm, LONG * 10), ann, budget=600)
    assert str(engine.query("which harbour crane is green?")) == "green"
    assert (len(llm.asked), over(llm, 600)) == (1, [])


def test_nodes_over_the_budget_are_left_out_and_told(ann: Conversation) -> None:
    engine = query_engine(ScriptedLLM("green"), *[f"{n}: {LONG}" for n in range(9)])
    with listening() as heard:
        attach(engine, ann, budget=600).query("which harbour crane is green?")
    (trim,) = heard.named("TrimEvent")
    assert (trim.original, trim.kept, trim.available) == (9, 3, 400)
    assert trim.source == "TokenBudgetPostprocessor"


def test_another_model_answers_and_the_first_again_after_detach(ann: Conversation) -> None:
    first, second = ScriptedLLM("first"), ScriptedLLM("second")
    engine = query_engine(first)
    assert str(attach(engine, ann, llm=second).query("?")) == "second"
    assert str(detach(engine).query("?")) == "first"


def test_an_engine_that_shares_the_synthesizer_keeps_its_model(ann: Conversation) -> None:
    first, second = ScriptedLLM("first"), ScriptedLLM("second")
    engine = query_engine(first)
    other = engine.with_retriever(retriever())
    attach(engine, ann, llm=second)
    assert (str(other.query("?")), str(engine.query("?"))) == ("first", "second")


class Answer(BaseModel):
    """An answer."""

    text: str


def test_an_engine_with_structured_answers_still_gives_them(ann: Conversation) -> None:
    llm = ScriptedLLM([("call_1", "Answer", {"text": "Lisbon"})])
    engine = query_engine(llm.as_structured_llm(Answer))
    response = attach(engine, ann, budget=900).query("where did I move?")
    assert (response.response, over(llm, 900)) == (Answer(text="Lisbon"), [])


def modes_of(engine: RetrieverQueryEngine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the synthesizers that answer from now on."""
    used: list[str] = []
    for kind in (Refine, TreeSummarize):
        for name in ("get_response", "aget_response"):

            def wrap(method: Any) -> Any:
                def call(self: Any, *args: Any, **kwargs: Any) -> Any:
                    used.append(type(self).__name__)
                    return method(self, *args, **kwargs)

                return call

            monkeypatch.setattr(kind, name, wrap(getattr(kind, name)))
    monkeypatch.setattr(CompactAndRefine, "get_response", CompactAndRefine.get_response)
    return used


@pytest.mark.parametrize(("documents", "mode"), [(3, "CompactAndRefine"), (15, "TreeSummarize")])
@pytest.mark.parametrize("way", ["query", "aquery"])
async def test_the_response_mode_is_chosen_for_each_query(
    ann: Conversation, monkeypatch: pytest.MonkeyPatch, documents: int, mode: str, way: str
) -> None:
    llm = ScriptedLLM(*["green"] * 9)
    engine = query_engine(llm, *[f"Document {n}." for n in range(documents)])
    used = modes_of(engine, monkeypatch)
    answer = getattr(attach(engine, ann, response_mode=True), way)("which crane?")
    response = answer if way == "query" else await answer
    assert (str(response), used) == ("green", [mode])


def test_a_chosen_mode_keeps_prompts_model_and_streaming(ann: Conversation) -> None:
    llm = ScriptedLLM("it is green")
    synthesizer = get_response_synthesizer(llm=llm, response_mode="refine", streaming=True)
    engine = RetrieverQueryEngine(retriever(), synthesizer)
    prompts = engine.get_prompts()
    attach(engine, ann, response_mode=True)
    key = "response_synthesizer:text_qa_template"
    assert engine.get_prompts()[key] == prompts[key]
    assert "".join(engine.query("which crane?").response_gen) == "it is green"


@pytest.mark.parametrize("way", ["query", "aquery"])
async def test_sub_questions_find_what_was_said(ann: Conversation, way: str) -> None:
    llm = ScriptedLLM(QUESTIONS, "to Lisbon", "to Lisbon in May")
    engine = attach(sub_questions(llm), ann)
    answer = getattr(engine, way)("where did I move and why?")
    response = answer if way == "query" else await answer
    assert (str(response), FACT in str(texts(llm.asked[1]))) == ("to Lisbon in May", True)


def test_the_engines_of_tools_are_left_as_they_are(ann: Conversation) -> None:
    llm = ScriptedLLM("nowhere")
    inner = query_engine(llm)
    attach(sub_questions(ScriptedLLM(), docs=inner), ann)
    inner.query("where did I move?")
    assert FACT not in asked(llm)


def test_every_model_of_a_sub_question_engine_is_limited(ann: Conversation) -> None:
    llm = ScriptedLLM(QUESTIONS, *["to Lisbon"] * 9)
    inner = query_engine(llm, *[f"{n}: {LONG}" for n in range(9)])
    attach(sub_questions(llm, docs=inner), ann, budget=900).query("where did I move?")
    assert (len(llm.asked) >= 3, over(llm, 900)) == (True, [])


def test_a_tool_that_cannot_have_memory_is_told(ann: Conversation) -> None:
    engine = sub_questions(ScriptedLLM(), docs=query_engine(ScriptedLLM()), other=Custom())
    with listening() as heard:
        attach(engine, ann)
    (event,) = heard.named("DegradeEvent")
    assert event.reason == "tool 'other' is without memory: Custom"


def test_sub_questions_without_any_tool_for_memory_are_refused(ann: Conversation) -> None:
    with pytest.raises(InvalidInput, match=r"\['other'\]; none of its tools has one of: Retri"):
        attach(sub_questions(ScriptedLLM(), other=Custom()), ann)


async def said(engine: Any, way: str, text: str) -> str:
    answer = getattr(engine, way)(text)
    response = await answer if way.startswith("a") else answer
    if way == "stream_chat":
        return "".join(response.response_gen)
    if way == "astream_chat":
        return "".join([part async for part in response.async_response_gen()])
    return str(response)


TURNS = [("user", "where did I move?"), ("assistant", "to Lisbon")]


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
@pytest.mark.parametrize("kind", CHATS)
async def test_a_chat_engine_recalls_and_stores(ann: Conversation, kind: str, way: str) -> None:
    llm = ScriptedLLM("where did I move?", "to Lisbon") if "Condense" in kind else ScriptedLLM()
    llm._replies = llm._replies or ["to Lisbon"]
    engine = attach(MAKERS[kind](llm), ann)
    assert await said(engine, way, "where did I move?") == "to Lisbon"
    assert FACT in asked(llm)
    assert [(m.role, m.content) for m in await ann.amessages()] == TURNS


@pytest.mark.parametrize("kind", CHATS)
def test_a_chat_engine_goes_on_in_another_process(
    memory: Memory, ann: Conversation, kind: str
) -> None:
    def reply(*replies: str) -> ScriptedLLM:
        # The condensing engines ask for a standalone question first, once there is a history.
        return ScriptedLLM(*(["what is my cat called?"] if "Condense" in kind else []), *replies)

    llm = reply("noted")
    attach(MAKERS[kind](llm), ann).chat("my cat is called Sesame")
    llm = reply("Sesame")
    again = memory.conversation("acme", "ann", "tuesday")
    assert attach(MAKERS[kind](llm), again).chat("what is my cat called?").response == "Sesame"
    assert "Sesame" in asked(llm)


@pytest.mark.parametrize("kind", CHATS)
def test_a_detached_chat_engine_has_its_own_memory_again(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM(*["ok"] * 9)
    engine = MAKERS[kind](llm)
    engine.chat("I like tea")
    attach(engine, ann)
    engine.chat("I like coffee")
    detach(engine)
    assert [m.content for m in engine.chat_history] == ["I like tea", "ok"]
    assert [m.content for m in ann.messages()] == ["I like coffee", "ok"]


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
@pytest.mark.parametrize("kind", CHATS)
async def test_many_turns_of_a_chat_engine_keep_the_budget(
    ann: Conversation, kind: str, way: str
) -> None:
    turns = 10 if "stream" in way else 30  # LlamaIndex sleeps between the words of a stream
    llm = ScriptedLLM(*[f"it is green, says the book: {LONG}"] * 150)
    engine = attach(MAKERS[kind](llm), ann, budget=1200)
    for turn in range(turns):
        await said(engine, way, f"which harbour crane is green, number {turn}?")
    assert (len(llm.asked) >= turns, over(llm, 1200)) == (True, [])
    assert len(await ann.amessages()) == 2 * turns


@pytest.mark.parametrize("kind", ["ContextChatEngine", "CondensePlusContextChatEngine"])
def test_a_chat_engine_reranks_its_documents(ann: Conversation, kind: str) -> None:
    llm, rerank = ScriptedLLM(*["ok"] * 3), LastFirst()
    attach(MAKERS[kind](llm), ann, rerank=[rerank]).chat("where did I move?")
    assert rerank._seen == [1]


@pytest.mark.parametrize("kind", CHATS)
def test_recalled_text_stands_in_a_prompt_once(ann: Conversation, kind: str) -> None:
    llm = ScriptedLLM(*["where did I move?"] * 3)
    attach(MAKERS[kind](llm), ann).chat("where did I move?")
    assert [str(texts(messages)).count(FACT) for messages in llm.asked][-1] == 1


def test_a_budget_says_what_the_memory_may_have(ann: Conversation) -> None:
    engine = MAKERS["SimpleChatEngine"](ScriptedLLM())
    budget = TokenBudget(1000, completion=300, recent=200)
    attach(engine, ann, budget=budget)
    memory, llm = engine._memory, engine._llm
    assert isinstance(memory, ScopedMemory)
    assert isinstance(llm, LimitedLLM)
    assert (memory.budget, llm.budget) == (budget, 700)


def test_a_long_question_may_have_nearly_all_of_a_number(ann: Conversation) -> None:
    llm = ScriptedLLM("green")
    question = "which harbour crane is green? " * 75
    attach(MAKERS["SimpleChatEngine"](llm), ann, budget=500).chat(question)
    assert llm.asked[0][-1].content is not None
    assert (question in llm.asked[0][-1].content, over(llm, 500)) == (True, [])


def test_two_tenants_of_one_condensing_chat_do_not_mix(
    ann: Conversation, bob: Conversation
) -> None:
    llm = ScriptedLLM(*["ok"] * 9)
    engine = MAKERS["CondenseQuestionChatEngine"](llm)
    attach(engine, ann).chat("where did I move?")
    seen = len(llm.asked)
    attach(engine, bob).chat("where did I move?")
    later: Sequence[list[ChatMessage]] = llm.asked[seen:]
    assert ("Lisbon" in str(later), "Oslo" in str(later)) == (False, True)
