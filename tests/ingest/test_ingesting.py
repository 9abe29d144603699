"""`Memory.ingest` and `ingest_files` over a real SQLite file."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import tracemalloc
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_memory_plugins import Namespace, open_memory
from rag_memory_plugins.errors import (
    InvalidFile,
    InvalidInput,
    InvalidNamespace,
    UnknownArgument,
    WouldDeadlock,
)
from tests.ingest.writing import WRITERS, clock, talks

ANN = ("acme", "ann")
START = datetime(2026, 5, 8, 14, tzinfo=timezone.utc)


@pytest.fixture
def memory(tmp_path):
    with open_memory(tmp_path / "memory.db", embedder=None) as opened:
        yield opened


@pytest.fixture
def write(tmp_path):
    def make(text, name="talk"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def stored(memory, session="talk"):
    return memory.conversation(*ANN, session).messages()


def said(memory, session="talk"):
    return [(message.name, message.content) for message in stored(memory, session)]


def long_talk(count):
    """A VTT talk of so many turns, 3 seconds each."""
    return "WEBVTT\n\n" + "".join(
        f"{clock(3 * n)} --> {clock(3 * n + 0.5)}\n<v Person {n % 5}>Turn {n} of it.</v>\n\n"
        for n in range(count)
    )


def test_a_turn_becomes_a_message_with_its_speaker_and_time(memory, write):
    path = write(
        "WEBVTT\n\n00:01.000 --> 00:02.500\n<v Ann Lee>Hi.\n\n01:00.250 --> 01:02.000\n<v Bob>Ho."
    )
    done = memory.ingest(path, *ANN, start=START)
    first, second = stored(memory)
    assert (done.turns, done.new, done.kind, done.session) == (2, 2, "vtt", "talk")
    assert (done.speakers, done.start) == (("Ann Lee", "Bob"), START)
    assert (first.role, first.name, first.content) == ("user", "Ann Lee", "Hi.")
    assert second.time == START + timedelta(seconds=60.25)
    assert second.metadata == {"offset": 60.25}


def test_what_was_ingested_is_found(memory, write):
    memory.ingest(write("Ann: The launch moves to Friday.\nBob: Lunch?"), *ANN)
    found = memory.conversation(*ANN, "other").search("when is the launch")
    assert found[0].message.name == "Ann"


@pytest.mark.parametrize(
    ("place", "session"),
    [((*ANN,), "talk"), ((*ANN, "s"), "s"), ((Namespace(*ANN, "s"),), "s")],
    ids=["file", "names", "namespace"],
)
def test_the_session_is_the_one_named_or_the_files(memory, write, place, session):
    assert memory.ingest(write("Ann: hi"), *place).session == session
    assert said(memory, session) == [("Ann", "hi")]


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(talk=talks)
def test_every_kind_is_stored_as_it_was_said_and_once(memory, tmp_path, kind, talk):
    path = tmp_path / "talk"
    path.write_text(WRITERS[kind](talk), encoding="utf-8")
    memory.conversation(*ANN, "talk").erase()
    done = memory.ingest(path, *ANN)
    again = memory.ingest(path, *ANN)
    assert (done.kind, done.new, again.new, again.turns) == (kind, len(talk), 0, len(talk))
    assert said(memory) == [(name, text) for name, text, _ in talk]
    assert done.start == again.start


# The same file again


def test_a_copy_with_another_date_and_name_stores_nothing_and_keeps_its_times(memory, write):
    first = memory.ingest(write(long_talk(300)), *ANN)
    times = [message.time for message in stored(memory)]
    copy = write(long_talk(300), "copy")
    os.utime(copy, (0, 0))
    again = memory.ingest(copy, *ANN, "talk")
    assert (again.new, again.turns, again.start) == (0, 300, first.start)
    assert [message.time for message in stored(memory)] == times


def test_a_file_that_has_grown_goes_on_in_the_time_it_began(memory, write):
    path = write(long_talk(250))
    first = memory.ingest(path, *ANN)
    path.write_text(long_talk(260), encoding="utf-8")
    os.utime(path, (0, 0))
    assert (memory.ingest(path, *ANN).new, len(stored(memory))) == (10, 260)
    assert stored(memory)[-1].time == first.start + timedelta(seconds=3 * 259)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_that_is_cut_anywhere_ends_up_whole(tmp_path, kind):
    talk = [(f"Speaker {n % 3}", f"turn {n} of this talk, with words", 3.0 * n) for n in range(6)]
    text = WRITERS[kind](talk)
    cuts = range(len(text) // 2, len(text), 7)
    with open_memory(tmp_path / "memory.db", embedder=None) as memory:
        for cut in cuts:
            path = tmp_path / f"talk-{cut}"
            path.write_text(text[:cut], encoding="utf-8")
            try:
                memory.ingest(path, *ANN, kind=kind)
            except InvalidFile:
                assert kind != "text"  # half a line of JSON, or half of a time; the rest is stored
            path.write_text(text, encoding="utf-8")
            memory.ingest(path, *ANN, kind=kind)
            assert said(memory, path.name) == [(name, words) for name, words, _ in talk], cut


def test_a_turn_that_has_grown_takes_the_place_of_its_beginning(memory, write):
    memory.ingest(write("Ann: one\nBob: two and"), *ANN)
    done = memory.ingest(write("Ann: one\nBob: two and a half\nAnn: three"), *ANN)
    assert done.new == 2
    assert said(memory) == [("Ann", "one"), ("Bob", "two and a half"), ("Ann", "three")]


def test_the_only_turn_of_a_file_may_grow_and_keeps_its_time(memory, write):
    first = memory.ingest(write("Ann: one"), *ANN)
    path = write("Ann: one two")
    os.utime(path, (0, 0))
    assert memory.ingest(path, *ANN).start == first.start
    assert said(memory) == [("Ann", "one two")]


def test_another_talk_in_the_session_takes_nothing_away(memory, write):
    memory.ingest(write("Ann: one\nBob: two\nAnn: three"), *ANN, "s")
    memory.ingest(write("Kim: four\nLee: five\nAnn: three and more"), *ANN, "s")
    assert len(said(memory, "s")) == 6


def test_the_same_words_at_two_places_are_two_turns(memory, write):
    assert memory.ingest(write("Ann: yes\nBob: no\n" * 3), *ANN).new == 6


def test_what_was_said_in_the_session_before_stays(memory, write):
    memory.conversation(*ANN, "talk").add("hello", id="m1")
    memory.ingest(write("Ann: hi"), *ANN)
    assert said(memory) == [(None, "hello"), ("Ann", "hi")]


# When it was


def test_the_start_is_asked_for_told_by_the_file_or_its_date_of_change(memory, write):
    text = "Ann: hi"
    os.utime(write(text, "plain"), (1_000_000_000, 1_000_000_000))
    told = write(f"Date: 2026-05-07\n\n{text}", "told")
    plain = memory.ingest(told.parent / "plain", *ANN).start
    assert plain == datetime.fromtimestamp(1_000_000_000, timezone.utc)
    assert memory.ingest(told, *ANN).start == datetime(2026, 5, 7, tzinfo=timezone.utc)
    assert memory.ingest(told, *ANN, "other", start=START).start == START


def test_times_of_the_day_belong_to_the_day_that_is_told(memory, write):
    memory.ingest(write("Date: 8 May 2026\n\n[10:01:02 AM] Ann: hi\n[2:00 PM] Bob: ho"), *ANN)
    assert [f"{message.time:%d %H:%M}" for message in stored(memory)] == ["08 10:01", "08 14:00"]


def test_dates_of_json_are_the_times_of_its_turns(memory, write):
    line = '{"speaker": "Ann", "text": "hi", "time": "2026-05-08T14:00:0%s+00:00"}\n'
    memory.ingest(write(line % 0 + line % 5), *ANN)
    assert [message.time for message in stored(memory)] == [START, START + timedelta(seconds=5)]


def test_a_turn_without_a_time_is_said_right_after_the_one_before_it(memory, write):
    memory.ingest(write("[00:01:00] Ann: hi\nBob: ho"), *ANN, start=START)
    times = [START + timedelta(seconds=60), START + timedelta(seconds=60, microseconds=1)]
    assert [message.time for message in stored(memory)] == times
    assert stored(memory)[1].metadata == {}


def test_another_start_than_the_stored_one_is_refused(memory, write):
    path = write("[00:00:01] Ann: hi")
    memory.ingest(path, *ANN, start=START)
    assert memory.ingest(path, *ANN, start=START).new == 0
    with pytest.raises(InvalidInput, match=r"start: .*stored from 2026-05-08T14:00:00\+00:00"):
        memory.ingest(path, *ANN, start=START + timedelta(days=1))


# Errors


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"kind": "vvt"}, InvalidInput, "did you mean 'vtt'"),
        ({"start": datetime(2026, 5, 8)}, InvalidInput, "start: .*timezone"),  # noqa: DTZ001
        ({"start": "2026"}, InvalidInput, "start: "),
        ({"progress": 5}, InvalidInput, "progress: "),
        ({"strt": START}, UnknownArgument, "did you mean 'start'"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused(memory, write, arguments, error, words):
    with pytest.raises(error, match=words):
        memory.ingest(write("Ann: hi"), *ANN, **arguments)
    assert memory.namespaces() == []


def test_a_place_that_is_none_is_refused(memory, write):
    path = write("Ann: hi")
    with pytest.raises(InvalidNamespace, match="user"):
        memory.ingest(path, "acme")
    with pytest.raises(InvalidNamespace, match="it holds user and session"):
        memory.ingest(path, Namespace(*ANN, "s"), "ann")
    with pytest.raises(InvalidInput, match="path"):
        memory.ingest(5, *ANN)


def test_turns_before_a_bad_line_are_stored_and_the_repaired_file_goes_on(memory, write):
    good = "".join(f'{{"speaker": "Ann", "text": "turn {n}"}}\n' for n in range(250))
    with pytest.raises(InvalidFile, match=r"talk, line 251: .*250 turns before it are stored"):
        memory.ingest(write(good + '{"speaker": "Ann", "te'), *ANN)
    assert len(said(memory)) == 250
    assert memory.ingest(write(good + '{"speaker": "Ann", "text": "end"}'), *ANN).new == 1


def test_a_text_that_no_message_may_hold_names_its_line(memory, write):
    text = '{"text": "a"}\n{"text": "a\\u0000b"}\n'
    with pytest.raises(InvalidFile, match=r"line 2, content: .*NUL"):
        memory.ingest(write(text), *ANN)
    with pytest.raises(InvalidFile, match=r"line 2, content: .*lone surrogate"):
        memory.ingest(write(text.replace("0000", "d83d")), *ANN)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"WEBVTT\n\nNOTE nobody spoke\n", "no turn"),
        (b"\x7fELF\x00\x01", "NUL"),
        (b"%PDF-1.7", "PDF"),
        ("Ann: hi \U0001f600".encode("utf-16")[:-1], "not UTF-16"),
    ],
)
def test_a_file_with_nothing_to_store_stores_nothing(memory, write, content, words):
    with pytest.raises(InvalidFile, match=words):
        memory.ingest(write(content), *ANN)
    assert memory.namespaces() == []


def test_an_id_that_is_taken_by_other_words_is_told_with_the_lines(memory, write):
    path = write("Ann: hi\nBob: ho")
    memory.ingest(path, *ANN)
    taken = stored(memory)[1].id
    memory.conversation(*ANN, "s").add("other words", id=taken)
    with pytest.raises(InvalidFile, match=f"line 1 to 2, id: .*{taken}"):
        memory.ingest(path, *ANN, "s")


# While it runs


def test_progress_tells_each_batch_and_ends_at_the_size(memory, write):
    path, steps = write(long_talk(450)), []
    memory.ingest(path, *ANN, progress=steps.append)
    assert [(step.turns, step.new) for step in steps] == [(200, 200), (400, 400), (450, 450)]
    assert (steps[-1].read, steps[-1].size) == (path.stat().st_size,) * 2
    assert (steps[0].path, steps[0].session) == (path, "talk")


def test_a_progress_that_fails_ends_it_and_the_next_call_goes_on(memory, write):
    path = write(long_talk(450))

    def stop(now):
        if now.turns == 400:
            raise KeyError("stop")

    with pytest.raises(KeyError):
        memory.ingest(path, *ANN, progress=stop)
    assert memory.ingest(path, *ANN).new == 50


def test_a_sync_call_from_progress_is_refused(memory, write):
    with pytest.raises(WouldDeadlock):
        memory.ingest(write("Ann: hi"), *ANN, progress=lambda _now: memory.backlog())


async def test_cancelling_stops_and_the_next_call_goes_on(tmp_path, write):
    path, count = write(long_talk(1_000)), threading.active_count()
    memory = await _opened(tmp_path)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(
        memory.aingest(path, *ANN, progress=lambda _now: loop.call_soon_threadsafe(begun.set))
    )
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    done = await memory.aingest(path, *ANN)
    assert 0 < done.new < 1_000
    found = await memory.conversation(*ANN, "talk").amessages()
    assert [message.content for message in found] == [f"Turn {n} of it." for n in range(1_000)]
    await memory.aclose()
    assert threading.active_count() <= count + 8  # those of the portal and the store, not ours


async def _opened(folder):
    from rag_memory_plugins import aopen_memory

    return await aopen_memory(folder / "memory.db", embedder=None)


KILLED = """
import os, signal, sys
from pathlib import Path
from rag_memory_plugins import open_memory
database, path, batches = sys.argv[1:]
def kill(now):
    if now.turns >= int(batches) * 200:
        os.kill(os.getpid(), signal.SIGKILL)
with open_memory(database, embedder=None) as memory:
    memory.ingest(Path(path), "acme", "ann", progress=kill)
"""
KILLED_ANYWHERE = """
import sys
from pathlib import Path
from rag_memory_plugins import open_memory
database, path = sys.argv[1:]
with open_memory(database, embedder=None) as memory:
    print("open", flush=True)
    memory.ingest(Path(path), "acme", "ann")
"""


@pytest.mark.parametrize("batches", [1, 3])
def test_killed_after_a_batch_it_goes_on_and_stores_nothing_twice(tmp_path, write, batches):
    path, database = write(long_talk(1_000)), tmp_path / "killed.db"
    command = [sys.executable, "-c", KILLED, str(database), str(path), str(batches)]
    run = subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert run.returncode == -signal.SIGKILL, run.stderr
    os.utime(path, (0, 0))
    with open_memory(database, embedder=None) as memory:
        before = stored(memory)
        assert len(before) >= batches * 200
        done = memory.ingest(path, *ANN)
        assert done.new == 1_000 - len(before)
        found = stored(memory)
    assert [message.content for message in found] == [f"Turn {n} of it." for n in range(1_000)]
    assert found[-1].time - found[0].time == timedelta(seconds=3 * 999)


def test_killed_at_any_moment_it_goes_on(tmp_path, write):
    path, rng = write(long_talk(3_000)), random.Random(5)
    database = tmp_path / "killed.db"
    counts = []
    for _ in range(3):
        command = [sys.executable, "-c", KILLED_ANYWHERE, str(database), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            timer = threading.Timer(rng.uniform(0.02, 0.4), process.kill)
            timer.start()
            process.wait(60)
            timer.cancel()
        with open_memory(database, embedder=None) as memory:
            counts.append(len(stored(memory)))
    assert counts == sorted(counts)
    with open_memory(database, embedder=None) as memory:
        assert memory.ingest(path, *ANN).turns == 3_000
        found = [message.content for message in stored(memory)]
    assert found == [f"Turn {n} of it." for n in range(3_000)]


async def test_the_portal_answers_while_a_file_is_read(tmp_path, write):
    memory = await _opened(tmp_path)
    path = write(long_talk(2_000))
    work = asyncio.create_task(memory.aingest(path, *ANN))
    answers = 0
    while not work.done():
        await memory.conversation(*ANN, "other").arecent(1)
        answers += 1
    assert (await work).new == 2_000
    assert answers > 10
    await memory.aclose()


def test_a_longer_file_needs_no_more_memory(tmp_path):
    def peak(count):
        path = tmp_path / f"talk-{count}"
        with path.open("w", encoding="utf-8") as file:
            for n in range(count):  # few texts, because caches of words keep a bounded number
                file.write(f"[{clock(n)[:8]}] Person {n % 4}: {n % 20} {'some words ' * 100}\n")
        tracemalloc.start(1)
        done = memory.ingest(path, *ANN)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert done.new == count
        return found

    with open_memory(tmp_path / "memory.db", embedder=None, summarizer=None) as memory:
        peak(10)  # what is made once
        assert peak(2_000) < 1.5 * peak(600)


# Several files


def test_several_files_are_stored_each_in_its_session_and_order(memory, write):
    paths = [write(long_talk(50 * n + 1), f"talk-{n}.vtt") for n in range(6)]
    done = memory.ingest_files(paths, *ANN, concurrency=3)
    assert [one.session for one in done] == [path.name for path in paths]
    assert [one.new for one in done] == [50 * n + 1 for n in range(6)]
    for n, path in enumerate(paths):
        texts = [text for _, text in said(memory, path.name)]
        assert texts == [f"Turn {number} of it." for number in range(50 * n + 1)]


def test_no_more_files_than_asked_for_are_read_at_a_time(memory, write):
    order = []
    paths = [write(long_talk(450), f"talk-{n}") for n in range(3)]
    memory.ingest_files(paths, *ANN, concurrency=1, progress=lambda now: order.append(now.session))
    assert order == [f"talk-{n}" for n in range(3) for _ in range(3)]


def test_a_file_that_fails_ends_the_others_and_the_next_call_goes_on(memory, write):
    paths = [write(long_talk(900), "good"), write("WEBVTT\n\nx", "bad")]
    with pytest.raises(InvalidFile, match="bad, line 3"):
        memory.ingest_files(paths, *ANN)
    write("WEBVTT\n\n00:01.000 --> 00:02.000\nx", "bad")
    memory.ingest_files(paths, *ANN)
    assert (len(said(memory, "good")), len(said(memory, "bad"))) == (900, 1)


@pytest.mark.parametrize(
    ("paths", "options", "words"),
    [
        (["a/talk", "b/talk"], {}, "two files of one name"),
        ("talk", {}, "pass a list of paths"),
        ([5], {}, "pass the path of a file"),
        (["talk"], {"concurrency": 0}, "concurrency"),
        (["talk"], {"concurrency": True}, "concurrency"),
    ],
)
def test_files_that_cannot_be_taken_together_are_refused(memory, paths, options, words):
    with pytest.raises(InvalidInput, match=words):
        memory.ingest_files(paths, *ANN, **options)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_growing_step_by_step_comes_to_the_same_as_at_once(memory, tmp_path, data):
    talk = data.draw(talks)
    sizes = sorted(data.draw(st.lists(st.integers(1, len(talk)), max_size=3)))
    memory.conversation(*ANN, "talk").erase()
    path = tmp_path / "talk"
    for size in [*sizes, len(talk)]:
        path.write_text(WRITERS["vtt"](talk[:size]), encoding="utf-8")
        memory.ingest(path, *ANN)
    assert said(memory) == [(name, text) for name, text, _ in talk]
