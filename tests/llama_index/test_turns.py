"""A turn's context is made once, and what is said later in the turn follows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, DocumentBlock, TextBlock

from rag_memory_plugins import Conversation, Event, Memory
from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.llama_index import ScopedMemory
from rag_memory_plugins.llama_index.convert import to_message
from rag_memory_plugins.llama_index.counting import uncounted
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.llama_index.scripted import ScriptedLLM, calling, result, texts


class Questions(WordEmbedder):
    """An embedder that keeps the questions it was asked to embed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def aembed_query(self, text):
        self.asked.append(text)
        return await super().aembed_query(text)


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 21 degrees"


@pytest.fixture
def questions() -> Questions:
    return Questions()


@pytest.fixture
def ann(opened: Callable[..., Memory], questions: Questions) -> Conversation:
    memory = opened(embedder=questions)
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


def scoped(memory: Memory, budget: int = 4000) -> ScopedMemory:
    return ScopedMemory(memory.conversation("acme", "ann", "tuesday"), budget)


def counted(memory: Memory, chats: list[ChatMessage]) -> int:
    """What the model is sent, with what no message field holds."""
    sent = [to_message(chat) for chat in chats]
    return memory.counter.count_messages(sent) + sum(uncounted(m, memory.counter) for m in sent)


def searches(events: list[Event]) -> int:
    return [event.name for event in events].count("search")


@pytest.mark.parametrize("rounds", [0, 1, 5])
async def test_an_agent_embeds_its_question_once_however_many_tool_rounds(
    ann: Conversation, questions: Questions, rounds: int
) -> None:
    replies = [[(f"call_{n}", "weather", {"city": f"City {n}"})] for n in range(rounds)]
    agent = FunctionAgent(llm=ScriptedLLM(*replies, "done"), tools=[weather], streaming=False)
    await agent.run("weather where I moved?", memory=ScopedMemory(ann))
    assert questions.asked == ["weather where I moved?"]


def test_the_answer_follows_the_turns_context(memory: Memory, events: list[Event]) -> None:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    before = chat.get()
    chat.put(ChatMessage("to Lisbon", role="assistant"))
    assert texts(chat.get()) == [*texts(before), ("assistant", "to Lisbon")]
    assert searches(events) == 1


def test_a_tool_round_put_by_hand_follows_the_turns_context(memory: Memory) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("weather?"))
    chat.get()
    chat.put_messages([calling(("c1", "weather", {"city": "Porto"})), result("c1", "21")])
    assert [role for role, _ in texts(chat.get())] == ["user", "assistant", "tool"]


def test_a_tool_call_that_waits_for_its_result_is_not_sent_as_one(memory: Memory) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("weather?"))
    chat.get()
    chat.put(calling(("c1", "weather", {"city": "Porto"})))
    assert [role for role, _ in texts(chat.get())] == ["user"]


def test_a_new_question_makes_a_new_context(memory: Memory, events: list[Event]) -> None:
    chat = scoped(memory)
    for question in ("where did I move?", "where did I move?"):
        chat.put(ChatMessage(question))
        chat.get()
    assert searches(events) == 2


def test_another_input_makes_a_new_context(memory: Memory, events: list[Event]) -> None:
    chat = scoped(memory)
    chat.put(ChatMessage("where did I move?"))
    chat.get()
    chat.get(input="when?")
    assert searches(events) == 2


def test_the_input_may_be_a_chat_message(memory: Memory) -> None:
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    (block,) = scoped(memory).get(input=ChatMessage("where did I move?"))
    assert "I moved to Lisbon in May" in (block.content or "")


def test_a_turn_that_outgrows_the_budget_gets_a_new_context(memory: Memory) -> None:
    chat = scoped(memory, 300)
    chat.put_messages([ChatMessage(f"note {n}: crane {n} is green") for n in range(40)])
    chat.get()
    for number in range(10):
        chat.put_messages([ChatMessage(f"answer {number}: it is green. " * 5, role="assistant")])
        assert counted(memory, chat.get()) <= 300


def test_what_is_forgotten_is_gone_within_the_turn(memory: Memory) -> None:
    conversation = memory.conversation("acme", "ann", "tuesday")
    conversation.add("my pin is 4821", id="m1")
    chat = scoped(memory)
    chat.put(ChatMessage("what is my pin?"))
    chat.get()
    conversation.forget("m1")
    assert "4821" not in str(texts(chat.get()))


def test_nothing_that_was_erased_stays_in_the_memory_object(memory: Memory) -> None:
    other = memory.conversation("acme", "ann", "monday")
    other.add("my pin is 4821")
    chat = scoped(memory)
    chat.get(input="what is my pin?")
    other.erase()
    assert chat._turn is None


def test_a_first_question_that_is_asked_for_twice_is_one_turn(
    memory: Memory, events: list[Event]
) -> None:
    chat = scoped(memory)
    for _ in range(3):
        chat.get(input="where did I move?")
    assert searches(events) == 1


def test_a_question_of_two_texts_is_one_query(memory: Memory, events: list[Event]) -> None:
    chat = scoped(memory)
    question = ChatMessage(role="user", blocks=[TextBlock(text="where"), TextBlock(text="now?")])
    chat.put(question)
    chat.get()
    chat.get(input="where\nnow?")
    assert searches(events) == 1


def test_a_document_of_the_question_is_taken_off_the_budget(memory: Memory) -> None:
    chat = scoped(memory, 600)
    chat.put_messages([ChatMessage(f"note {n}: crane {n} is green") for n in range(60)])
    paper = DocumentBlock(data=b"the harbour rules. " * 90, document_mimetype="text/plain")
    chat.put(ChatMessage(role="user", blocks=[TextBlock(text="which crane?"), paper]))
    sent = chat.get()
    assert sent[-1].blocks[-1].block_type == "document"
    assert 500 < counted(memory, sent) <= 600


def test_a_document_larger_than_the_budget_is_refused(memory: Memory) -> None:
    chat = scoped(memory, 300)
    paper = DocumentBlock(data=b"the harbour rules. " * 200, document_mimetype="text/plain")
    chat.put(ChatMessage(role="user", blocks=[TextBlock(text="which crane?"), paper]))
    with pytest.raises(BudgetTooSmall, match="raise it"):
        chat.get()
