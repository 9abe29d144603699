"""`attach` with models, chains and retrievers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_classic.chains import create_history_aware_retriever, create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from pydantic import Field

from rag_memory_plugins import Conversation, Memory, TokenBudget
from rag_memory_plugins.errors import (
    BudgetTooSmall,
    ChatModelError,
    InvalidBudget,
    InvalidInput,
    UnknownArgument,
)
from rag_memory_plugins.langchain import (
    HybridRerank,
    LogChatMessageHistory,
    TokenBudgetCompressor,
    attach,
    detach,
)
from rag_memory_plugins.langchain.limited import LimitedModel
from tests.langchain.agents import sizes, stored, weather
from tests.langchain.scripted import ScriptedModel, StreamingModel, texts

LIBRARY = "The library in Porto opens at nine. "
ASK = ChatPromptTemplate(
    [("system", "Be brief."), MessagesPlaceholder("history"), ("human", "Q: {question}")]
)
RAG = ChatPromptTemplate([("system", "Answer from: {context}"), ("human", "{input}")])
CHAT_RAG = ChatPromptTemplate(
    [
        ("system", "Answer from: {context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


class Library(BaseRetriever):
    """Finds the same few documents for every query, and says what it was asked."""

    texts: list[str] = Field(default_factory=lambda: [LIBRARY])
    asked: list[str] = Field(default_factory=list)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        self.asked.append(query)
        return [Document(text, id=str(n)) for n, text in enumerate(self.texts)]


def joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    memory.conversation("globex", "ann", "monday").add("I moved to Oslo in May")
    return memory.conversation("acme", "ann", "tuesday")


@pytest.fixture
def oslo(memory: Memory) -> Conversation:
    return memory.conversation("globex", "ann", "tuesday")


TURN = [("user", "where did I move?"), ("assistant", "to Lisbon")]


# Models


def test_a_model_recalls_and_stores_what_is_asked_and_answered(ann: Conversation) -> None:
    model = ScriptedModel("to Lisbon", "yes")
    chat = attach(model, ann, budget=400)
    assert chat.invoke("where did I move?").text == "to Lisbon"
    chat.invoke([("system", "Be brief."), ("user", "sure?")])
    assert "I moved to Lisbon" in str(texts(model.asked[0]))
    assert texts(model.asked[1])[0] == ("system", "Be brief.")
    assert texts(model.asked[1])[2:] == [("ai", "to Lisbon"), ("human", "sure?")]
    assert stored(ann) == [*TURN, ("user", "sure?"), ("assistant", "yes")]


def test_two_tenants_of_one_model_see_nothing_of_each_other(
    ann: Conversation, oslo: Conversation
) -> None:
    model = ScriptedModel("to Lisbon", "to Oslo")
    for conversation in (ann, oslo):
        attach(model, conversation).invoke("where did I move?")
    first, second = (str(texts(sent)) for sent in model.asked)
    assert ("Lisbon" in first, "Oslo" in first) == (True, False)
    assert ("Lisbon" in second, "Oslo" in second) == (False, True)
    assert stored(oslo) == [TURN[0], ("assistant", "to Oslo")]


async def test_a_model_streams_and_awaits_with_the_same_memory(ann: Conversation) -> None:
    model = StreamingModel("to Lisbon", "to Lisbon", "so it is")
    chat = attach(model, ann)
    assert [part.text for part in chat.stream("where did I move?")][:2] == ["to ", "Lisbon"]
    assert [part.text async for part in chat.astream("where?")][:2] == ["to ", "Lisbon"]
    assert (await chat.ainvoke("sure?")).text == "so it is"
    assert [text for _, text in stored(ann)] == [
        *(text for _, text in TURN),
        "where?",
        "to Lisbon",
        "sure?",
        "so it is",
    ]


async def test_the_turns_of_a_batch_come_one_after_another(ann: Conversation) -> None:
    model = ScriptedModel("one", "two", "three", RuntimeError("down"), "five")
    chat = attach(model, ann)
    assert [m.text for m in chat.batch(["1?", "2?"])] == ["one", "two"]
    assert texts(model.asked[1])[-2:] == [("ai", "one"), ("human", "2?")]
    third, fourth, fifth = await chat.abatch(["3?", "4?", "5?"], return_exceptions=True)
    assert (third.text, str(fourth), fifth.text) == ("three", "down", "five")
    assert [text for _, text in stored(ann)] == "1? one 2? two 3? three 4? 5? five".split()


def test_the_last_chunk_of_a_stream_says_what_its_request_lost(ann: Conversation) -> None:
    model = StreamingModel(*["it is green and stands at the pier for all to see"] * 11)
    chat = attach(model, ann, budget=110)
    for n in range(10):
        chat.invoke(f"what colour has the crane at pier {n}?")
    first, *rest = chat.stream("what colour has the crane at pier 1?")
    for part in rest:
        first += part
    assert first.text == "it is green and stands at the pier for all to see"
    assert first.response_metadata["context_adjustment"]["degraded"]
    assert sizes(model)[-1] <= 110


def test_what_was_erased_is_not_recalled_again(memory: Memory, ann: Conversation) -> None:
    model = ScriptedModel("to Lisbon", "who knows")
    chat = attach(model, ann)
    chat.invoke("where did I move?")
    memory.conversation("acme", "ann", "monday").erase("user")
    chat.invoke("where did I move?")
    assert texts(model.asked[1]) == [("human", "where did I move?")]


def test_bound_tools_are_counted_and_a_round_of_them_is_stored_once(ann: Conversation) -> None:
    model = ScriptedModel([("c1", "weather", {"city": "Porto"})], "21 degrees")
    chat = attach(model.bind_tools([weather]).bind(tools=[weather]), ann, budget=300)
    asked = HumanMessage("weather?")
    call = chat.invoke([asked])
    chat.invoke([asked, call, ToolMessage("21", tool_call_id="c1")])
    assert max(sizes(model)) <= 300
    assert [role for role, _ in stored(ann)] == ["user", "assistant", "tool", "assistant"]


def test_a_model_is_never_asked_with_more_than_the_budget(ann: Conversation) -> None:
    model = ScriptedModel(*["it is green and stands at the pier for all to see"] * 20)
    chat = attach(model, ann, budget=200)
    for n in range(20):
        chat.invoke(f"what colour has the crane at pier {n}?")
    assert 150 < max(sizes(model)) <= 200
    with pytest.raises(BudgetTooSmall):
        chat.invoke("why? " * 300)
    assert len(stored(ann)) == 41


def test_a_model_with_fallbacks_stores_the_turn_once(ann: Conversation) -> None:
    second = ScriptedModel("to Lisbon")
    model = ScriptedModel(RuntimeError("429")).with_fallbacks([second])
    attach(model, ann).invoke("where did I move?")
    assert "I moved to Lisbon" in str(second.asked[0])
    assert stored(ann) == TURN


def test_a_chain_that_begins_with_a_model_remembers(ann: Conversation) -> None:
    model = ScriptedModel("to Lisbon")
    chat = attach(model | StrOutputParser(), ann)
    assert chat.invoke("where did I move?") == "to Lisbon"
    assert "I moved to Lisbon" in str(model.asked[0])
    assert stored(ann) == TURN


# Chains with a history


def test_a_chain_gets_its_history_and_what_is_recalled_for_the_question(ann: Conversation) -> None:
    model = ScriptedModel("to Lisbon", "yes")
    chat = attach(ASK | model | StrOutputParser(), ann)
    assert chat.invoke({"question": "where did I move?"}) == "to Lisbon"
    chat.invoke({"question": "sure?"})
    first, second = (texts(sent) for sent in model.asked)
    assert [kind for kind, _ in first] == ["system", "human"]
    assert "I moved to Lisbon" in first[1][1]
    assert first[1][1].endswith("Q: where did I move?")
    assert [kind for kind, _ in second] == ["system", "human", "ai", "human"]
    assert second[2] == ("ai", "to Lisbon")
    assert second[3][1].endswith("Q: sure?")
    assert stored(ann) == [*TURN, ("user", "sure?"), ("assistant", "yes")]


async def test_a_chain_streams_and_awaits_with_the_same_history(ann: Conversation) -> None:
    chat = attach(ASK | StreamingModel("to Lisbon", "so it is", "yes") | StrOutputParser(), ann)
    parts = [*chat.stream({"question": "where did I move?"})]
    assert parts[:2] == ["to ", "Lisbon"]
    parts = [part async for part in chat.astream({"question": "sure?"})]
    assert parts[:3] == ["so ", "it ", "is"]
    assert await chat.ainvoke({"question": "yes?"}) == "yes"
    said = [*TURN, ("user", "sure?"), ("assistant", "so it is"), ("user", "yes?")]
    assert stored(ann) == [*said, ("assistant", "yes")]


def test_every_request_of_a_chain_is_within_the_budget_and_its_answer_says_what_was_lost(
    ann: Conversation,
) -> None:
    model = ScriptedModel(*["it is green and stands at the pier for all to see"] * 21)
    long = ChatPromptTemplate([("system", "Be brief. " * 40), *ASK.messages[1:]])
    chat = attach(long | model.bind_tools([weather]).bind(tools=[weather]), ann, budget=300)
    for n in range(20):
        answer = chat.invoke({"question": f"what colour has the crane at pier {n}?"})
    *_, last = chat.stream({"question": "what colour has the crane at pier 1?"})
    for told in (answer.response_metadata, last.response_metadata):
        assert told["context_adjustment"]["removed"] > 0
    assert last.response_metadata["context_adjustment"]["tokens"] == sizes(model)[-1]
    assert 200 < max(sizes(model)) <= 300
    assert len(stored(ann)) == 42
    assert stored(ann)[-1] == ("assistant", last.text)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    said=st.lists(st.integers(1, 60), max_size=12),
    prompt=st.integers(0, 80),
    budget=st.integers(20, 300),
)
def test_no_request_of_a_limited_model_is_over_its_budget(
    ann: Conversation, said: list[int], prompt: int, budget: int
) -> None:
    model = ScriptedModel("hm")
    history: list[BaseMessage] = [
        HumanMessage("a " * size) if place % 2 == 0 else AIMessage("b " * size)
        for place, size in enumerate(said)
    ]
    limited = LimitedModel(model, TokenBudget(budget), ann)
    asked = [SystemMessage("c " * prompt + "."), *history, HumanMessage("why?")]
    try:
        limited.invoke(asked)
    except BudgetTooSmall:
        alone = ScriptedModel("hm")
        alone.invoke([asked[0], *unanswered(history), asked[-1]])
        assert sizes(alone)[0] > budget
        return
    assert sizes(model)[0] <= budget
    assert texts(model.asked[0])[0] == ("system", asked[0].text)
    assert texts(model.asked[0])[-1] == ("human", "why?")


def unanswered(history: list[BaseMessage]) -> list[BaseMessage]:
    """User messages at the end, which are part of the running turn."""
    return history[-1:] if len(history) % 2 else []


def test_a_chain_of_messages_alone_ends_with_what_the_user_says(ann: Conversation) -> None:
    model = ScriptedModel("to Lisbon", "yes")
    chain = ChatPromptTemplate([("system", "Be brief."), MessagesPlaceholder("messages")]) | model
    chat = attach(chain, ann)
    chat.invoke({"messages": [HumanMessage("where did I move?")]})
    chat.invoke({"messages": [("user", "sure?")]})
    assert "I moved to Lisbon" in texts(model.asked[0])[1][1]
    assert [kind for kind, _ in texts(model.asked[1])] == ["system", "human", "ai", "human"]
    assert stored(ann) == [*TURN, ("user", "sure?"), ("assistant", "yes")]


def test_two_tenants_of_one_chain_see_nothing_of_each_other(
    ann: Conversation, oslo: Conversation
) -> None:
    model = ScriptedModel("to Lisbon", "to Oslo")
    chain = ASK | model
    for conversation in (ann, oslo):
        attach(chain, conversation).invoke({"question": "where did I move?"})
    first, second = (str(texts(sent)) for sent in model.asked)
    assert ("Lisbon" in first, "Oslo" in first) == (True, False)
    assert ("Lisbon" in second, "Oslo" in second) == (False, True)


def test_what_a_parser_made_of_an_answer_is_stored_as_json(ann: Conversation) -> None:
    chat = attach(ASK | ScriptedModel('{"city": "Lisbon"}') | JsonOutputParser(), ann)
    assert chat.invoke({"question": "where did I move?"}) == {"city": "Lisbon"}
    assert stored(ann)[1] == ("assistant", '{"city": "Lisbon"}')


def test_a_failing_chain_keeps_the_question_and_a_retry_asks_it_once(ann: Conversation) -> None:
    chat = attach(ASK | ScriptedModel(RuntimeError("429"), "to Lisbon"), ann)
    with pytest.raises(RuntimeError, match=r"429"):
        chat.invoke({"question": "where did I move?"})
    chat.invoke({"question": "where did I move?"})
    assert stored(ann) == TURN


def test_a_retrieval_chain_with_history_finds_documents_and_turns(ann: Conversation) -> None:
    source = Library(texts=[f"{n}: {LIBRARY * 20}" for n in range(8)])
    model = ScriptedModel("library of Lisbon", "at nine", "library hours", "yes")
    rephrase = ChatPromptTemplate([MessagesPlaceholder("chat_history"), ("human", "{input}")])
    finder = create_history_aware_retriever(model, source, rephrase)
    chain = create_retrieval_chain(finder, create_stuff_documents_chain(model, CHAT_RAG))
    chat = attach(chain, ann, budget=900, rerank=HybridRerank())
    first = chat.invoke({"input": "when does the library open where I moved?"})
    chat.invoke({"input": "sure?"})
    assert source.asked == ["library of Lisbon", "library hours"]
    assert first["answer"] == "at nine"
    assert "relevance_score" in first["context"][0].metadata
    assert max(sizes(model)) <= 900
    assert all("Lisbon in May" in str(texts(sent)) for sent in model.asked[:2])
    assert [text for _, text in stored(ann)] == [
        "when does the library open where I moved?",
        "at nine",
        "sure?",
        "yes",
    ]


# Chains with a retriever


def test_a_retrieval_chain_answers_from_documents_and_what_was_said_and_stores_nothing(
    ann: Conversation,
) -> None:
    model = ScriptedModel("to Lisbon", "to Lisbon")
    chain = create_retrieval_chain(Library(), create_stuff_documents_chain(model, RAG))
    asked = attach(chain, ann)
    found = asked.invoke({"input": "where did I move?"})
    parts = [*asked.stream({"input": "where did I move?"})]
    assert {"I moved to Lisbon in May", LIBRARY} <= {d.page_content for d in found["context"]}
    assert "".join(part.get("answer", "") for part in parts) == "to Lisbon"
    for sent in model.asked:
        found_in = [text in str(sent) for text in ("I moved to Lisbon", LIBRARY, "Oslo")]
        assert found_in == [True, True, False]
    assert stored(ann) == []


async def test_an_lcel_chain_answers_within_the_budget(ann: Conversation) -> None:
    model = ScriptedModel("to Lisbon", "to Lisbon")
    source = Library(texts=[f"{n}: {LIBRARY * 20}" for n in range(8)])
    context = source | RunnableLambda(joined)
    chain = {"context": context, "input": RunnablePassthrough()} | RAG | model | StrOutputParser()
    asked = attach(chain, ann, budget=600, rerank=[HybridRerank()])
    assert asked.invoke("where did I move?") == await asked.ainvoke("where did I move?")
    assert 200 < max(sizes(model)) <= 600
    assert all("I moved to Lisbon" in str(sent) for sent in model.asked)
    assert len(source.asked) == 2


# Retrievers


async def test_a_retriever_finds_what_was_said_beside_its_documents(ann: Conversation) -> None:
    source = Library()
    both = attach(source, ann)
    found = both.invoke("where did I move?")
    assert {d.page_content for d in found} == {"I moved to Lisbon in May", LIBRARY}
    assert {d.page_content for d in await both.ainvoke("where did I move?")} == {
        "I moved to Lisbon in May",
        LIBRARY,
    }
    assert isinstance(both, BaseRetriever)
    assert detach(both) is source
    with pytest.raises(UnknownArgument, match=r"filter"):
        both.invoke("where did I move?", filter=None)


async def test_what_a_retriever_found_is_reranked_and_within_the_budget(ann: Conversation) -> None:
    source = Library(texts=[f"{n}: {LIBRARY * 20}" for n in range(8)])
    both = attach(source, ann, rerank=HybridRerank(), budget=120)
    for found in (both.invoke("where did I move?"), await both.ainvoke("where did I move?")):
        assert found[0].page_content == "I moved to Lisbon in May"
        assert found[0].metadata["context_adjustment"]["tokens"] <= 120


def test_a_compression_retriever_is_a_retriever_like_any_other(ann: Conversation) -> None:
    compressor = TokenBudgetCompressor(30, min_nodes=1)
    own = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=Library())
    found = attach(own, ann).invoke("where did I move?")
    assert "I moved to Lisbon in May" in [d.page_content for d in found]


# The same again, and refusals


def test_what_holds_an_attached_part_is_refused(ann: Conversation, oslo: Conversation) -> None:
    rag = {"context": Library(), "input": RunnablePassthrough()} | RAG | ScriptedModel()
    model = attach(ScriptedModel(), ann)
    for target in (attach(rag, ann).with_config(tags=["a"]), model.bind(stop=["."]), ASK | model):
        with pytest.raises(InvalidInput, match=r"has a memory already"):
            attach(target, oslo)


def test_attaching_the_same_again_gives_the_same_and_detach_what_was_there(
    memory: Memory, ann: Conversation, oslo: Conversation
) -> None:
    model = ScriptedModel(*["hm"] * 3)
    rag = create_retrieval_chain(Library(), create_stuff_documents_chain(model, RAG))
    for target in (model, ASK | model, rag, model | StrOutputParser(), Library()):
        made = attach(target, ann, budget=500)
        assert attach(made, memory.conversation("acme", "ann", "tuesday"), budget=500) is made
        other = attach(made, oslo)
        assert other is not made
        assert detach(other) is target is detach(made)
        assert detach(target) is target
    rag.invoke({"input": "where did I move?"})
    assert "Lisbon" not in str(model.asked)
    attach(attach(model, ann), oslo).invoke("where did I move?")
    assert (stored(ann), len(stored(oslo))) == ([], 2)


@pytest.mark.parametrize(
    ("target", "match"),
    [
        (object(), "target: got 'builtins.object'; what can be attached to: a graph"),
        (RunnableLambda(lambda text: text), "target: .*RunnableLambda.*create_agent"),
        (
            ChatPromptTemplate([("human", "{input}")]) | ScriptedModel("hm"),
            "ChatPromptTemplate, ScriptedModel.*MessagesPlaceholder",
        ),
        (ASK | RunnableLambda(lambda _: "hm"), "ChatPromptTemplate, RunnableLambda.*no chat"),
        (
            ChatPromptTemplate([MessagesPlaceholder("a"), MessagesPlaceholder("b")])
            | ScriptedModel("hm"),
            "history_messages_key: .*: a, b",
        ),
        (
            ChatPromptTemplate([MessagesPlaceholder("history"), ("human", "{tone}: {text}")])
            | ScriptedModel("hm"),
            "input_messages_key: .*: .*text",
        ),
    ],
)
def test_what_has_no_place_for_a_memory_is_refused_by_name(
    ann: Conversation, target: Any, match: str
) -> None:
    with pytest.raises(InvalidInput, match=match):
        attach(target, ann)


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
def test_a_chain_with_a_history_of_its_own_is_refused(ann: Conversation) -> None:
    chain = RunnableWithMessageHistory(ScriptedModel(), lambda _: LogChatMessageHistory(ann))
    with pytest.raises(InvalidInput, match=r"history of its own"):
        attach(chain, ann)


def test_options_that_have_no_place_are_refused_by_name(ann: Conversation) -> None:
    model = ScriptedModel()
    for target, option in [
        (model, {"rerank": HybridRerank()}),
        (model, {"nodes": "model"}),
        (Library(), {"input_messages_key": "input"}),
        (ASK | model, {"rerank": HybridRerank()}),
        (ASK | model, {"history_messages_key": "past"}),
        (model | StrOutputParser(), {"output_messages_key": "answer"}),
        (model, {"rerank": "best"}),
        (model, {"nodes": 3}),
        (model, {"input_messages_key": 3}),
        (model, {"level": "tenant"}),
    ]:
        with pytest.raises(InvalidInput, match=next(iter(option))):
            attach(target, ann, **option)
    with pytest.raises(InvalidBudget, match=r"total"):
        attach(model, ann, budget=0)
    with pytest.raises(InvalidInput, match=r"conversation"):
        attach(model, ann.memory)
    with pytest.raises(UnknownArgument, match=r"rerank"):
        attach(model, ann, rerankk=None)


def test_a_chain_says_what_its_input_and_output_lack(ann: Conversation) -> None:
    chat = attach(ASK | ScriptedModel("hm"), ann)
    with pytest.raises(InvalidInput, match=r"under 'question'"):
        chat.invoke("where did I move?")
    with pytest.raises(InvalidInput, match=r"the memory gives the history"):
        chat.invoke({"question": "where?", "history": [HumanMessage("hello")]})
    assert stored(ann) == []
    odd = attach(ASK | ScriptedModel("hm") | RunnableLambda(lambda _: {1, 2}), ann)
    with pytest.raises(ChatModelError, match=r"output_messages_key"):
        odd.invoke({"question": "where?"})
