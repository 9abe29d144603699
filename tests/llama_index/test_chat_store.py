"""`LogChatStore` under LlamaIndex's own `Memory`, and alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import ChatMessage, DocumentBlock, TextBlock
from llama_index.core.memory import Memory
from llama_index.core.memory.memory import BaseMemoryBlock
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import PrivateAttr

import rag_memory_plugins as rag
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace, UnknownArgument
from rag_memory_plugins.llama_index import LogChatStore, RecallMemoryBlock
from tests.llama_index.scripted import calling, result

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED


@pytest.fixture
def store(memory: rag.Memory) -> LogChatStore:
    return LogChatStore(memory, "acme", "ann")


def chats(*said: str) -> list[ChatMessage]:
    return [ChatMessage(text) for text in said]


async def listed(
    store: AsyncDBChatStore, status: MessageStatus | None = ACTIVE, key: str = "monday"
) -> list[str | None]:
    return [message.content for message in await store.get_messages(key, status)]


async def logged(memory: rag.Memory, session: str = "monday") -> list[str]:
    found = await memory.conversation("acme", "ann", session).amessages()
    return [message.content for message in found]


# ---- the contract ------------------------------------------------------------------------------


async def test_what_was_added_comes_back_in_order(store: LogChatStore) -> None:
    await store.add_message("monday", ChatMessage("one"))
    await store.add_messages("monday", chats("two", "three"))
    assert await listed(store) == ["one", "two", "three"]
    assert await store.count_messages("monday") == 3


async def test_a_message_comes_back_as_it_went(store: LogChatStore) -> None:
    called = calling(("c1", "weather", {"city": "Oslo"}))
    said = [
        ChatMessage(
            role="assistant",
            blocks=[
                DocumentBlock(data=b"cGFnZQ==", document_mimetype="text/plain", title="page"),
                TextBlock(text="x"),
                *called.blocks,
            ],
            additional_kwargs=called.additional_kwargs,
        ),
        ChatMessage("21", role="tool", additional_kwargs={"tool_call_id": "c1", "cost": 2}),
    ]
    await store.add_messages("monday", said)
    got = await store.get_messages("monday")
    assert [m.model_dump() for m in got] == [m.model_dump() for m in said]


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [(2, None, ["0", "1"]), (None, 3, ["3", "4"]), (2, 1, ["1", "2"]), (9, 9, []), (0, None, [])],
)
async def test_limit_and_offset_take_a_part(
    store: LogChatStore, limit: int | None, offset: int | None, expected: list[str]
) -> None:
    await store.add_messages("monday", chats(*"01234"))
    got = await store.get_messages("monday", ACTIVE, limit, offset)
    assert [message.content for message in got] == expected


async def test_the_oldest_are_archived_and_stay_in_the_log(
    store: LogChatStore, memory: rag.Memory
) -> None:
    await store.add_messages("monday", chats("one", "two", "three"))
    archived = await store.archive_oldest_messages("monday", 2)
    assert [message.content for message in archived] == ["one", "two"]
    assert await listed(store) == ["three"]
    assert await listed(store, ARCHIVED) == ["one", "two"]
    assert await listed(store, None) == await logged(memory) == ["one", "two", "three"]
    assert [await store.count_messages("monday", s) for s in (ACTIVE, ARCHIVED, None)] == [1, 2, 3]


async def test_messages_may_be_added_as_archived(store: LogChatStore) -> None:
    await store.add_message("monday", ChatMessage("one"))
    await store.add_messages("monday", chats("two", "three"), ARCHIVED)
    await store.add_message("monday", ChatMessage("four"))
    assert (await listed(store), await listed(store, ARCHIVED)) == (
        ["one", "four"],
        ["two", "three"],
    )


async def test_what_is_archived_stays_so_in_another_process(
    opened: Callable[..., rag.Memory],
) -> None:
    first = opened()
    store = LogChatStore(first, "acme", "ann")
    await store.add_messages("monday", chats("one", "two"))
    await store.archive_oldest_messages("monday", 1)
    await first.aclose()
    again = LogChatStore(opened(), "acme", "ann")
    assert (await listed(again), await listed(again, ARCHIVED)) == (["two"], ["one"])


async def test_the_oldest_active_are_deleted_and_returned(
    store: LogChatStore, memory: rag.Memory
) -> None:
    await store.add_messages("monday", chats("one", "two", "three"))
    await store.archive_oldest_messages("monday", 1)
    deleted = await store.delete_oldest_messages("monday", 1)
    assert [message.content for message in deleted] == ["two"]
    assert await logged(memory) == ["one", "three"]


@pytest.mark.parametrize(
    ("idx", "left"), [(0, ["two"]), (1, ["one"]), (2, ["one", "two"]), (-1, ["one", "two"])]
)
async def test_a_message_is_deleted_by_its_place(
    store: LogChatStore, idx: int, left: list[str]
) -> None:
    await store.add_messages("monday", chats("one", "two"))
    await store.archive_oldest_messages("monday", 1)
    deleted = await store.delete_message("monday", idx)
    assert (await listed(store, None), deleted is None) == (left, len(left) == 2)


@pytest.mark.parametrize(
    ("status", "left"), [(None, []), (ACTIVE, ["one"]), (ARCHIVED, ["two", "three"])]
)
async def test_messages_of_a_status_are_deleted(
    store: LogChatStore, memory: rag.Memory, status: MessageStatus | None, left: list[str]
) -> None:
    await store.add_messages("monday", chats("one", "two", "three"))
    await store.archive_oldest_messages("monday", 1)
    await store.delete_messages("monday", status)
    assert await logged(memory) == left


async def test_keys_are_the_users_sessions_that_hold_a_message(
    store: LogChatStore, memory: rag.Memory
) -> None:
    other = LogChatStore(memory, "acme", "bob")
    for place, key in ((store, "monday"), (other, "secret"), (store, "a/b"), (store, "gone")):
        await place.add_message(key, ChatMessage("hello"))
    await store.delete_message("gone", 0)
    assert (await store.get_keys(), await other.get_keys()) == (["monday", "a/b"], ["secret"])


@pytest.mark.parametrize(("tenant", "user"), [("globex", "ann"), ("acme", "bob")])
async def test_the_same_key_of_another_user_is_another_session(
    store: LogChatStore, memory: rag.Memory, tenant: str, user: str
) -> None:
    other = LogChatStore(memory, tenant, user)
    await store.add_messages("monday", chats("one", "two"))
    assert await listed(other, None) == []
    await other.add_message("monday", ChatMessage("theirs"))
    await other.archive_oldest_messages("monday", 5)
    await other.delete_messages("monday")
    assert await listed(store) == ["one", "two"]


async def test_nothing_is_archived_of_a_session_that_does_not_exist(store: LogChatStore) -> None:
    assert await store.archive_oldest_messages("nowhere", 3) == []
    assert await store.delete_oldest_messages("nowhere", 3) == []
    assert await store.get_keys() == []


async def test_yes_said_five_times_is_five_messages(store: LogChatStore) -> None:
    await store.add_messages("monday", chats(*["yes"] * 5))
    await store.archive_oldest_messages("monday", 2)
    assert (await listed(store), await listed(store, ARCHIVED)) == (["yes"] * 3, ["yes"] * 2)


async def test_the_same_object_again_is_a_retry(store: LogChatStore) -> None:
    said = ChatMessage("hello")
    await store.add_message("monday", said)
    await store.add_message("monday", said)
    assert await listed(store) == ["hello"]


operations = st.lists(
    st.tuples(st.just("add"), st.integers(0, 3))
    | st.tuples(st.just("aside"), st.integers(0, 2))
    | st.tuples(st.sampled_from(["archive", "delete_oldest", "delete"]), st.integers(-1, 4))
    | st.tuples(st.just("clear"), st.sampled_from([None, ACTIVE, ARCHIVED])),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(todo=operations, read=st.booleans())
def test_any_order_of_calls_gives_what_a_plain_list_would(
    memory: rag.Memory, todo: list[tuple[str, int | MessageStatus | None]], read: bool
) -> None:
    async def run() -> None:
        store = LogChatStore(memory, "acme", "ann")
        await store.delete_messages("monday")
        rows: list[tuple[str, MessageStatus]] = []
        for number, (what, arg) in enumerate(todo):
            if what in {"add", "aside"}:
                status = ACTIVE if what == "add" else ARCHIVED
                said = [f"{number} {n % 2}" for n in range(int(arg or 0))]
                await store.add_messages("monday", chats(*said), status)
                rows += [(text, status) for text in said]
            elif what == "clear":
                await store.delete_messages("monday", arg)
                rows = [row for row in rows if arg is not None and row[1] != arg]
            elif what == "delete":
                await store.delete_message("monday", arg)
                rows = [row for place, row in enumerate(rows) if place != arg]
            else:
                chosen = [n for n, row in enumerate(rows) if row[1] == ACTIVE][: max(0, arg)]
                call = store.archive_oldest_messages if what == "archive" else None
                got = await (call or store.delete_oldest_messages)("monday", arg)
                assert [message.content for message in got] == [rows[n][0] for n in chosen]
                if what == "archive":
                    rows = [
                        (t, ARCHIVED) if n in chosen else (t, s) for n, (t, s) in enumerate(rows)
                    ]
                else:
                    rows = [row for n, row in enumerate(rows) if n not in chosen]
            if read:  # what a task has read must not change what it archives alone
                assert await listed(store) == [text for text, s in rows if s == ACTIVE]
        assert await listed(store, None) == [text for text, _ in rows]
        assert await listed(store, ARCHIVED) == [text for text, s in rows if s == ARCHIVED]

    asyncio.run(run())


# ---- set ---------------------------------------------------------------------------------------


async def test_setting_a_history_gives_that_history_and_wipes_no_log(
    store: LogChatStore, memory: rag.Memory
) -> None:
    await store.add_messages("monday", chats("one", "two", "three"))
    await store.archive_oldest_messages("monday", 2)
    await store.set_messages("monday", chats("new"))
    assert await listed(store) == ["new"]
    assert await logged(memory) == ["one", "two", "three", "new"]


async def test_a_history_sent_with_every_request_does_not_double_the_log(
    store: LogChatStore, memory: rag.Memory
) -> None:
    history: list[str] = []
    for turn in range(4):
        await store.set_messages("monday", chats(*history))
        assert await listed(store) == history
        history += [f"question {turn}", f"answer {turn}"]
        await store.add_messages("monday", chats(*history[-2:]))
    assert await logged(memory) == history


async def test_a_history_without_the_tool_calls_does_not_double_the_log(
    store: LogChatStore, memory: rag.Memory
) -> None:
    tools = [
        calling(("c1", "weather", {})),
        result("c1", "21 degrees"),
    ]
    answer = ChatMessage("warm", role="assistant")
    await store.add_messages("monday", [ChatMessage("how warm?"), *tools, answer])
    history = [ChatMessage("how warm?"), ChatMessage("warm", role="assistant"), ChatMessage("ok")]
    await store.set_messages("monday", history)
    assert await listed(store) == ["how warm?", "warm", "ok"]
    assert await logged(memory) == ["how warm?", "", "21 degrees", "warm", "ok"]


async def test_a_history_may_bring_archived_messages_back(store: LogChatStore) -> None:
    await store.add_messages("monday", chats("one", "two", "three"))
    await store.archive_oldest_messages("monday", 2)
    await store.set_messages("monday", chats("two", "three", "four"))
    assert (await listed(store), await listed(store, ARCHIVED)) == (
        ["two", "three", "four"],
        ["one"],
    )


async def test_an_empty_history_archives_all(store: LogChatStore) -> None:
    await store.add_messages("monday", chats("one", "two"))
    await store.set_messages("monday", [])
    assert (await listed(store), await listed(store, ARCHIVED)) == ([], ["one", "two"])


async def test_a_history_may_be_set_as_archived(store: LogChatStore) -> None:
    await store.add_messages("monday", chats("one", "two"))
    await store.set_messages("monday", chats("two", "three"), ARCHIVED)
    assert (await listed(store), await listed(store, ARCHIVED)) == ([], ["one", "two", "three"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=st.lists(st.lists(st.sampled_from(["yes", "no", "why?"]), max_size=6), max_size=4))
def test_after_any_set_the_active_messages_are_what_was_set(
    memory: rag.Memory, histories: list[list[str]]
) -> None:
    async def run() -> None:
        store = LogChatStore(memory, "acme", "ann")
        await store.delete_messages("monday")
        before = 0
        for history in histories:
            await store.set_messages("monday", chats(*history))
            assert await listed(store) == history
            now = await store.count_messages("monday", None)
            assert before <= now <= before + len(history)
            before = now

    asyncio.run(run())


# ---- under Memory ------------------------------------------------------------------------------


class Seen(BaseMemoryBlock[str]):
    """A block that keeps what it was handed, after giving way to whoever else runs."""

    name: str = "Seen"
    _said: list[str] = PrivateAttr(default_factory=list)

    async def _aget(self, messages: list[ChatMessage] | None = None, **kwargs: object) -> str:
        return ""

    async def _aput(self, messages: list[ChatMessage]) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self._said += [message.content or "" for message in messages]


def on_log(store: LogChatStore, *blocks: BaseMemoryBlock[str], limit: int = 60) -> Memory:
    chat = Memory(
        session_id="monday",
        token_limit=limit,
        token_flush_size=10,
        memory_blocks=list(blocks),
    )
    chat.sql_store = store  # as an argument only the newest versions take it
    return chat


async def test_memory_keeps_its_queue_within_the_limit(store: LogChatStore) -> None:
    block = Seen()
    chat = on_log(store, block)
    said = [f"this is note number {n}" for n in range(30)]
    for text in said:
        await chat.aput(ChatMessage(text))
    active = await listed(store)
    assert 1 < len(active) < 10
    assert block._said + active == said == await listed(store, None)


async def test_concurrent_puts_lose_and_double_nothing(opened: Callable[..., rag.Memory]) -> None:
    """LlamaIndex's own store loses 12 of 60 so: archived and handed to no block."""
    stores = [LogChatStore(opened(embedder=None), "acme", "ann") for _ in range(2)]
    recall = [RecallMemoryBlock(store._sessions.memory, "acme", "ann") for store in stores]
    seen = [Seen(), Seen()]
    memories = [on_log(*parts, limit=200) for parts in zip(stores, recall, seen, strict=True)]

    async def write(task: int) -> None:
        for number in range(60):
            await memories[task % 2].aput(ChatMessage(f"task {task} note {number}"))

    await asyncio.gather(*map(write, range(4)))
    everything = [f"task {task} note {number}" for task in range(4) for number in range(60)]
    logged = await listed(stores[0], None)
    assert sorted(logged) == sorted(everything)
    in_order = [[t for t in logged if t.startswith(f"task {n} ")] for n in range(4)]
    assert [text for texts in in_order for text in texts] == everything
    active, archived = await listed(stores[1]), await listed(stores[1], ARCHIVED)
    assert sorted(active + archived) == sorted(everything)
    assert set(archived) <= {*seen[0]._said, *seen[1]._said}


async def test_two_that_flush_at_once_archive_the_same_messages(store: LogChatStore) -> None:
    await store.add_messages("monday", chats(*"0123456789"))
    both_read, first_done = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        await store.get_messages("monday")
        await both_read.wait()
        await store.archive_oldest_messages("monday", 3)
        first_done.set()

    async def second() -> None:
        await store.get_messages("monday")
        both_read.set()
        await first_done.wait()
        await store.archive_oldest_messages("monday", 4)

    await asyncio.gather(first(), second())
    assert await listed(store, ARCHIVED) == list("0123")


async def test_resetting_memory_erases_what_its_block_recalls(
    store: LogChatStore, memory: rag.Memory
) -> None:
    block = RecallMemoryBlock(memory, "acme", "ann")
    chat = on_log(store, block, limit=400)
    await chat.aput_messages(
        chats("I moved to Lisbon in May", *[f"this is note number {n}" for n in range(60)])
    )
    assert "Lisbon" in str(await chat.aget(input="where did I move?"))
    await chat.areset()
    assert await chat.aget(input="where did I move?") == []
    assert (await chat.aget_all(), await store.get_keys()) == ([], [])


async def test_a_new_memory_goes_on_with_the_session(store: LogChatStore) -> None:
    first = on_log(store)
    for number in range(20):
        await first.aput(ChatMessage(f"this is note number {number}"))
    assert [m.content for m in await on_log(store).aget()] == await listed(store)


@pytest.mark.skipif(
    Memory.model_fields["sql_store"].annotation is not AsyncDBChatStore,
    reason="this version's Memory names a class of its own",
)
def test_memory_takes_the_store_as_an_argument(store: LogChatStore) -> None:
    first = Memory.from_defaults("monday", chats("one", "two"), chat_store=store)
    second = Memory(session_id="monday", token_limit=100, sql_store=store)
    assert [[m.content for m in chat.get()] for chat in (first, second)] == [["one", "two"]] * 2


def test_the_sync_face_of_memory_works(store: LogChatStore) -> None:
    chat = on_log(store)
    chat.set(chats("one"))
    chat.put(ChatMessage("two"))
    assert [message.content for message in chat.get()] == ["one", "two"]
    chat.reset()
    assert chat.get_all() == []


def test_it_is_a_chat_store_of_llama_index(store: LogChatStore) -> None:
    assert isinstance(store, AsyncDBChatStore)
    assert store.class_name() == "LogChatStore"
    assert json.loads(store.model_dump_json()) == {"scope": "acme/ann"}


# ---- bad input ---------------------------------------------------------------------------------


async def test_a_key_that_names_no_session_is_refused(store: LogChatStore) -> None:
    with pytest.raises(InvalidNamespace, match="session"):
        await store.add_message("", ChatMessage("hello"))


async def test_an_unknown_status_is_refused_and_stores_nothing(store: LogChatStore) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'archived'"):
        await store.add_message("monday", ChatMessage("hello"), "archive")  # type: ignore[arg-type]
    assert await listed(store, None) == []


def test_what_is_not_a_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="open_memory"):
        LogChatStore(tmp_path, "acme", "ann")  # type: ignore[arg-type]


def test_an_unknown_argument_is_refused(memory: rag.Memory) -> None:
    with pytest.raises(UnknownArgument, match="'tenant'"):
        LogChatStore(memory, tenat="acme", user="ann")  # type: ignore[call-arg]
