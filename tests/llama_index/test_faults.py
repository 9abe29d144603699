"""Faults of LlamaIndex's memories, by issue number, that this one does not have."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.workflow import Context

from rag_memory_plugins import Memory
from rag_memory_plugins.llama_index import MemoryRetriever, ScopedMemory, restoring
from tests.llama_index.scripted import ScriptedLLM, calling, result, texts
from tests.llama_index.test_agents import orphans
from tests.llama_index.test_turns import Questions


def scoped(
    memory: Memory, session: str = "tuesday", *, user: str = "ann", budget: int = 4000
) -> ScopedMemory:
    return ScopedMemory(memory.conversation("acme", user, session), budget)


def shown(chats: list[ChatMessage]) -> str:
    return "\n".join(text for _, text in texts(chats))


def agent(llm: ScriptedLLM) -> FunctionAgent:
    return FunctionAgent(llm=llm, system_prompt="Be brief.", streaming=False)


def test_22701_the_first_reader_does_not_decide_what_later_ones_see(memory: Memory) -> None:
    users = {"ann": "Lisbon", "bob": "Oslo"}
    chats = {user: scoped(memory, user=user) for user in users}
    for user, place in users.items():
        scoped(memory, "monday", user=user).put(ChatMessage(f"I moved to {place} in May"))
    for user in ("ann", "bob", "ann"):
        found = shown(chats[user].get(input="where did I move?"))
        assert [place in found for place in users.values()] == [user == "ann", user == "bob"]


def test_23144_a_system_message_of_the_session_stays_first(memory: Memory) -> None:
    chat = scoped(memory, budget=300)
    chat.put(ChatMessage("Always answer in French.", role="system"))
    for number in range(100):
        chat.put_messages(
            [
                ChatMessage(f"question {number} about the crane"),
                ChatMessage(f"answer {number}: it is green", role="assistant"),
            ]
        )
    chat.put(ChatMessage("and now?"))
    sent = texts(chat.get())
    assert sent[0] == ("system", "Always answer in French.")
    assert [role for role, _ in sent].count("system") == 1


def test_23144_a_system_message_is_counted(memory: Memory) -> None:
    from rag_memory_plugins.llama_index.convert import to_message

    chat = scoped(memory, budget=400)
    chat.put(ChatMessage("Always answer in French. " * 30, role="system"))
    chat.put_messages([ChatMessage(f"note {n}: crane {n} is green") for n in range(60)])
    sent = [to_message(message) for message in chat.get()]
    assert 300 < memory.counter.count_messages(sent) <= 400


async def test_19050_recall_asks_for_the_latest_user_text_alone(
    opened: Callable[..., Memory],
) -> None:
    questions = Questions()
    chat = scoped(opened(embedder=questions))
    await chat.aput_messages([ChatMessage("I like cranes"), ChatMessage("good", role="assistant")])
    await agent(ScriptedLLM("Lisbon")).run("where did I move?", memory=chat)
    assert questions.asked == ["where did I move?"]


def test_23180_an_input_may_be_a_chat_message(memory: Memory) -> None:
    scoped(memory, "monday").put(ChatMessage("I moved to Lisbon in May"))
    found = scoped(memory).get(input=ChatMessage("where did I move?"))
    assert "I moved to Lisbon in May" in shown(found)


async def test_18069_a_finished_context_keeps_its_history_without_memory(memory: Memory) -> None:
    llm = ScriptedLLM("hello Ann", "Ann")
    workflow = agent(llm)
    context = Context(workflow)
    chat = scoped(memory)  # the caller holds it, as whoever opened it does
    await workflow.run("I am Ann", ctx=context, memory=chat)
    await workflow.run("who am I?", ctx=context)
    assert [role for role, _ in texts(llm.asked[1])] == ["system", "user", "assistant", "user"]


async def test_18475_a_context_with_a_memory_goes_through_json(memory: Memory) -> None:
    workflow = agent(ScriptedLLM("hello Ann", "Ann"))
    context = Context(workflow)
    chat = scoped(memory)
    await workflow.run("I am Ann", ctx=context, memory=chat)
    written = json.dumps(context.to_dict())
    with restoring(chat):  # needed in another process, and before workflows 2.23
        await workflow.run("who am I?", ctx=Context.from_dict(workflow, json.loads(written)))
    assert len(await chat.aget_all()) == 4


async def test_12858_one_agent_serves_many_sessions(memory: Memory) -> None:
    llm = ScriptedLLM("noted", "noted", "you said Lisbon", "you said Oslo")
    shared = agent(llm)
    chats = {place: scoped(memory, place, user=place) for place in ("Lisbon", "Oslo")}
    for place, chat in chats.items():
        await shared.run(f"I live in {place}", memory=chat)
    for chat in chats.values():
        await shared.run("where do I live?", memory=chat)
    seen = [[place in shown(asked) for place in chats] for asked in llm.asked[2:]]
    assert seen == [[True, False], [False, True]]


async def test_13312_a_new_agent_finds_the_memory_as_it_was(memory: Memory) -> None:
    chat = scoped(memory)
    await agent(ScriptedLLM("noted")).run("I live in Lisbon", memory=chat)
    await agent(ScriptedLLM("Lisbon")).run("where do I live?", memory=chat)
    assert len(await chat.aget_all()) == 4


class Counting:
    """A token counter that keeps how many characters it was given."""

    name = "counting"
    exact = False

    def __init__(self) -> None:
        self.characters = 0

    def count(self, text):
        self.characters += len(text)
        return -(-len(text) // 4)

    def count_batch(self, texts):
        return [self.count(text) for text in texts]

    def count_messages(self, messages):
        return sum(4 + self.count(message.content) for message in messages)


def test_12264_what_a_get_counts_does_not_grow_with_the_history(
    opened: Callable[..., Memory],
) -> None:
    counter = Counting()
    chat = scoped(opened(embedder=None, counter=counter), budget=1000)
    counted = []
    for _ in range(2):
        chat.put_messages(
            [ChatMessage(f"note {n}: the harbour crane is green") for n in range(1000)]
        )
        counter.characters = 0
        chat.get(input="which crane is green?")
        counted.append(counter.characters)
    assert counted[1] <= 1.3 * counted[0]


@pytest.mark.parametrize("budget", [150, 300, 600, 1200])
def test_13715_a_tool_message_always_follows_its_call(memory: Memory, budget: int) -> None:
    chat = scoped(memory, budget=budget)
    for number in range(20):
        asked = [(f"c{number}-{n}", "crane", {"n": n}) for n in range(3)]
        results = [result(key, "green " * 20) for key, _, _ in asked]
        chat.put_messages(
            [
                ChatMessage(f"look at the cranes, {number}"),
                calling(*asked),
                *results,
                ChatMessage("all are green", role="assistant"),
            ]
        )
        sent = chat.get()
        assert orphans(sent) == set()
        at_tools = [at for at, message in enumerate(sent) if message.role.value == "tool"]
        before = {sent[at - 1].role.value for at in at_tools}
        assert before <= {"assistant", "tool"}


@pytest.mark.parametrize("taken", [0, 100, 250])
def test_9371_an_initial_token_count_is_taken_off_and_does_not_raise(
    memory: Memory, taken: int
) -> None:
    chat = scoped(memory, budget=300)
    chat.put_messages([ChatMessage(f"note {n}: crane {n} is green") for n in range(60)])
    chat.put(ChatMessage("which crane?"))
    assert shown(chat.get(initial_token_count=taken)).endswith("which crane?")


def test_21103_a_condensed_question_does_not_cost_what_the_memory_recalls(memory: Memory) -> None:
    conversation = memory.conversation("acme", "ann", "tuesday")
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    conversation.add(["hi", "hello"])
    papers = memory.conversation("acme", "library", "papers")
    papers.add("a paper that says what it is")  # without a node no model is asked
    llm = ScriptedLLM(
        "What does the paper say?", "Lisbon"
    )  # the first reply is the condensed question
    engine = CondensePlusContextChatEngine.from_defaults(
        MemoryRetriever(papers),
        llm=llm,
        memory=ScopedMemory(conversation),
    )
    engine.chat("where did I move?")
    assert "I moved to Lisbon in May" in shown(llm.asked[1])
