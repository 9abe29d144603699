"""Faults of LlamaIndex's memories that were seen without an issue, and that this one does not have.

A new session that recalls nothing, what `reset` leaves behind, orphans, lost writes, and the like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llama_index.core.base.llms.types import ChatMessage, TextBlock

from rag_memory_plugins import Memory
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.llama_index.scripted import ScriptedLLM, calling, result, texts
from tests.llama_index.test_agents import orphans
from tests.llama_index.test_faults import agent, scoped, shown


def test_weakness_2_a_new_session_of_a_user_recalls_the_old_ones(memory: Memory) -> None:
    scoped(memory, "monday").put(ChatMessage("I moved to Lisbon in May"))
    assert "Lisbon" in shown(scoped(memory).get(input="where did I move?"))


def test_weakness_3_reset_takes_vectors_keywords_and_summary_along(
    opened: Callable[..., Memory], words: WordEmbedder
) -> None:
    memory = opened()
    chat = scoped(memory, "monday")
    chat.put_messages([ChatMessage(f"crane {n}: my pin is {4821 + n}") for n in range(120)])
    memory.settle()
    chat.reset()
    other = scoped(memory)
    assert "pin is" not in shown(other.get(input="what is my pin, crane 7?"))
    assert (chat.conversation.summary(), memory.backlog(), words.calls > 0) == (None, 0, True)


def test_weakness_3_set_keeps_what_the_window_left_behind(memory: Memory) -> None:
    chat = scoped(memory, budget=120)
    history = [ChatMessage(f"note {n}: crane {n} is green") for n in range(60)]
    chat.put_messages(history)
    chat.set(chat.get_all()[-3:])
    assert len(chat.get_all()) == 60


def test_weakness_5_a_long_tool_turn_half_way_is_no_orphan(memory: Memory) -> None:
    chat = scoped(memory, budget=300)
    chat.put(ChatMessage("look at every crane"))
    for number in range(12):
        made = [
            calling((f"c{number}", "crane", {"n": number})),
            result(f"c{number}", "green " * 60),
        ]
        chat.put_messages(made)
        sent = chat.get(input="look at every crane")
        assert orphans(sent) == set()
        assert "look at every crane" in shown(sent)


async def test_weakness_6_four_writers_over_two_objects_lose_nothing(memory: Memory) -> None:
    objects = [scoped(memory), scoped(memory)]

    async def write(task: int) -> None:
        for number in range(60):
            await objects[task % 2].aput(ChatMessage(f"task {task} message {number}"))

    await asyncio.gather(*map(write, range(4)))
    stored = [text for _, text in texts(await objects[0].aget_all())]
    own = [[text for text in stored if text.startswith(f"task {task} ")] for task in range(4)]
    assert own == [[f"task {task} message {n}" for n in range(60)] for task in range(4)]
    assert len(stored) == 240


def test_weakness_7_a_failing_embedder_costs_neither_a_message_nor_the_turn(
    opened: Callable[..., Memory], words: WordEmbedder
) -> None:
    memory = opened()
    words.fail = True
    scoped(memory, "monday").put(ChatMessage("I moved to Lisbon in May"))
    chat = scoped(memory)
    assert "Lisbon" in shown(chat.get(input="where did I move?"))  # by keywords
    words.fail = False
    assert memory.settle() == 0
    assert "Lisbon" in shown(chat.get(input="and in May?"))


def test_weakness_10_facts_said_in_passing_are_recalled_one_by_one(
    opened: Callable[..., Memory],
) -> None:
    memory = opened()
    chat = scoped(memory, "monday")
    things = [f"{a}{b}" for a in ("red", "blue", "grey", "pale") for b in range(10)]
    for at, thing in enumerate(things):
        talk = [ChatMessage(f"day {at * 9 + n}: the harbour was quiet") for n in range(9)]
        chat.put_messages([*talk, ChatMessage(f"the code of the {thing} locker is {at + 500}")])
    memory.settle()
    asked = [
        str(at + 500) in shown(scoped(memory, budget=600).get(input=f"code of the {thing} locker?"))
        for at, thing in enumerate(things)
    ]
    assert asked.count(True) == 40


def test_weakness_11_a_small_budget_shortens_recall_and_does_not_drop_it(memory: Memory) -> None:
    old = scoped(memory, "monday")
    old.put_messages([ChatMessage(f"crane {n} stands at pier {n}, it is green") for n in range(40)])
    recalled = [
        shown(scoped(memory, budget=budget).get(input="where is the green crane?")).count("stands")
        for budget in (120, 240, 480)
    ]
    assert 0 < recalled[0] < recalled[1] < recalled[2]


def test_weakness_12_a_tool_result_is_recalled_with_its_call(memory: Memory) -> None:
    scoped(memory, "monday").put_messages(
        [
            ChatMessage("look it up"),
            calling(("c1", "lookup", {"ship": "Marisol"})),
            result("c1", "berth 17"),
            ChatMessage("done", role="assistant"),
        ]
    )
    found = shown(scoped(memory).get(input="which berth has the ship Marisol?"))
    assert ("Marisol" in found, "berth 17" in found) == (True, True)


def test_weakness_12_the_same_batch_put_again_is_stored_once(memory: Memory) -> None:
    chat = scoped(memory)
    batch = [ChatMessage("hello"), ChatMessage("good day", role="assistant")]
    chat.put_messages(batch)
    chat.put_messages(batch)
    assert len(chat.get_all()) == 2


async def test_weakness_13_an_agents_prompt_is_the_only_system_message(memory: Memory) -> None:
    scoped(memory, "monday").put(ChatMessage("I moved to Lisbon in May"))
    llm = ScriptedLLM("Lisbon")
    await agent(llm).run("where did I move?", memory=scoped(memory))
    assert [role for role, _ in texts(llm.asked[0])] == ["system", "user"]


def test_a_shortened_message_of_several_blocks_stays_short(memory: Memory) -> None:
    chat = scoped(memory, budget=300)
    chat.put(ChatMessage("read the log"))
    long = [TextBlock(text="the crane moved. " * 200), TextBlock(text="the end")]
    chat.put_messages(
        [
            calling(("c1", "read", {})),
            ChatMessage(role="tool", blocks=long, additional_kwargs={"tool_call_id": "c1"}),
            ChatMessage("it moved", role="assistant"),
        ]
    )
    chat.put(ChatMessage("what moved?"))
    assert "shortened" in shown(chat.get())
    assert len(shown(chat.get())) < 1500


def test_a_history_with_a_shortened_message_is_not_stored_again(memory: Memory) -> None:
    chat = scoped(memory, budget=300)
    chat.put_messages([ChatMessage("read the log"), calling(("c1", "read", {}))])
    chat.put_messages(
        [result("c1", "the crane moved. " * 200), ChatMessage("ok", role="assistant")]
    )
    history = chat.get()
    chat.set(history)
    chat.put_messages(history)
    assert len(chat.get_all()) == 4
