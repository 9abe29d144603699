"""Transcripts in the shapes that people and tools write them in, read through the front door."""

from __future__ import annotations

import contextlib
import io
import time
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.errors import InvalidFile, InvalidInput
from rag_memory_plugins.ingest.lines import TextLines
from rag_memory_plugins.ingest.transcripts import (
    KINDS,
    detect_transcript,
    read_transcript,
    told_start,
)
from tests.ingest.writing import WRITERS, talks


def turns(kind, text):
    return list(read_transcript(io.StringIO(text), kind))


def said(kind, text):
    return [(turn.speaker, turn.text) for turn in turns(kind, text)]


def timed(kind, text):
    return [(turn.speaker, turn.offset, turn.text) for turn in turns(kind, text)]


# Plain text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ann: hello", ("Ann", None, "hello")),
        ("ANN LEE: hello", ("ANN LEE", None, "hello")),
        ("ann: hello", ("ann", None, "hello")),
        ("[00:01:02] Ann: hello", ("Ann", 62.0, "hello")),
        ("[01:02] Ann: hello", ("Ann", 62.0, "hello")),
        ("00:01:02.500 Ann: hello", ("Ann", 62.5, "hello")),
        ("(00:01:02) Ann: hello", ("Ann", 62.0, "hello")),
        ("00:01:02 - Ann: hello", ("Ann", 62.0, "hello")),
        ("[00:01:02 --> 00:01:09] Ann: hello", ("Ann", 62.0, "hello")),
        ("Ann (00:01:02): hello", ("Ann", 62.0, "hello")),
        ("Ann [1:02]: hello", ("Ann", 62.0, "hello")),
        ("Ann (00:01:02) hello", ("Ann", 62.0, "hello")),
        ("00:01:02 Ann Lee\nhello", ("Ann Lee", 62.0, "hello")),
        ("Ann Lee  1:02\nhello", ("Ann Lee", 62.0, "hello")),
        ("[Ann Lee] 00:01:02\nhello", ("Ann Lee", 62.0, "hello")),
        ("Ann Lee\n1:02\nhello", ("Ann Lee", 62.0, "hello")),
        ("Ann:\nhello", ("Ann", None, "hello")),
        ("[1:02 PM] Ann: hello", ("Ann", 46_920.0, "hello")),
        ("10:00:02 From Ann Lee to Everyone:\n\thello", ("Ann Lee", 36_002.0, "hello")),
        ("10:00:02\t From  Ann : hello", ("Ann", 36_002.0, "hello")),
        ("[SPEAKER_00]: hello", ("SPEAKER_00", None, "hello")),
        ("Lee, Ann (Acme): hello", ("Lee, Ann (Acme)", None, "hello")),
        ("Ludwig van Beek: hello", ("Ludwig van Beek", None, "hello")),
        ("Dr. O\u2019Neil-Smith: hello", ("Dr. O\u2019Neil-Smith", None, "hello")),
        ("\u674e\u96f7\uff1a\u4f60\u597d", ("\u674e\u96f7", None, "\u4f60\u597d")),
        ("\u00c9lodie: \u00e7a va", ("\u00c9lodie", None, "\u00e7a va")),
        ("[00:01:02] hello there.", (None, 62.0, "hello there.")),
        ("hello there", (None, None, "hello there")),
    ],
)
def test_a_line_of_text_says_who_when_and_what(text, found):
    assert timed("text", text) == [found]


@pytest.mark.parametrize(
    "line",
    [
        "the plan is as follows: we wait",
        "10:30 works for me",
        "https://example.org/a",
        "Note: it is late",
        "and so: we wait",
        "So: we wait",
        "Monday: we ship",
        "a ratio of 3:4",
        "Meet in Room 10:30",
    ],
)
def test_a_line_that_only_looks_like_a_label_goes_on(line):
    assert said("text", f"Ann: hello\n{line}") == [("Ann", f"hello {line}")]


def test_lines_that_go_on_are_joined_and_paragraphs_kept():
    text = "Ann: one\n  two\n\nthree\nfour\n\n\nBob: five"
    assert said("text", text) == [("Ann", "one two\n\nthree four"), ("Bob", "five")]


def test_text_without_speakers_is_a_turn_a_paragraph():
    assert said("text", "one\ntwo\n\nthree\n") == [(None, "one two"), (None, "three")]


def test_a_time_without_a_name_below_another_time_is_no_name():
    assert timed("text", "00:00:05 Hello\n00:00:09 World\n") == [
        (None, 5.0, "Hello"),
        (None, 9.0, "World"),
    ]


def test_a_header_is_nobodys_and_its_date_is_no_turn():
    text = "Weekly sync\nDate: 8 May 2026\nAttendees: Ann, Bob\n\nAnn: hello"
    assert said("text", text) == [
        (None, "Weekly sync Attendees: Ann, Bob"),
        ("Ann", "hello"),
    ]


def test_a_date_that_somebody_says_is_said():
    text = "Ann: when?\nDate: 8 May 2026"
    assert said("text", text) == [("Ann", "when? Date: 8 May 2026")]


def test_a_speech_of_many_paragraphs_becomes_turns_of_its_speaker():
    paragraphs = [f"{number} " + "word " * 79 + "end." for number in range(12)]
    found = turns("text", "Ann: " + "\n\n".join(paragraphs))
    assert {turn.speaker for turn in found} == {"Ann"}
    assert all(len(turn.text) <= 1_000 for turn in found)
    assert " ".join(turn.text for turn in found).split() == " ".join(paragraphs).split()
    assert len(found) == 6


def test_a_turn_tells_the_line_it_begins_on():
    assert [turn.place for turn in turns("text", "\nAnn: a\nb\n\nBob: c")] == [2, 5]


# Captions

VTT = """WEBVTT - Weekly sync
Kind: captions

STYLE
::cue { color: red }

REGION
id:left

NOTE
two lines
that nobody said

intro-1
00:01.000 --> 00:02.000 align:start position:0%
<v.loud.first Ann Lee>Hello <c.red.big>dear</c>
<i>all</i>, <00:00:01.500>&lt;b&gt;&nbsp;&amp; a < b</v>

1:00:05.000 --> 1:00:06.000
<v Ann Lee>Bye.</v> <v Bob>Stop.</v>
"""


def test_vtt_blocks_tags_and_entities():
    assert timed("vtt", VTT) == [
        ("Ann Lee", 1.0, "Hello dear all, <b> & a < b"),
        ("Ann Lee", 3605.0, "Bye."),
        ("Bob", 3605.0, "Stop."),
    ]


def cues(*items):
    return "WEBVTT\n\n" + "".join(
        f"00:00:{start:06.3f} --> 00:00:{end:06.3f}\n{text}\n\n" for start, end, text in items
    )


def test_cues_of_one_speaker_that_follow_each_other_are_one_turn():
    text = cues((1, 2, "Ann: One."), (3.9, 4, "Ann: Two."), (6.1, 7, "Ann: Three."))
    assert timed("vtt", text) == [("Ann", 1.0, "One. Two."), ("Ann", 6.1, "Three.")]


def test_cues_of_one_sentence_are_one_turn_across_a_pause():
    text = cues((1, 2, "Ann: We ship"), (12, 13, "Ann: on Friday."), (20, 21, "Ann: Done."))
    assert said("vtt", text) == [("Ann", "We ship on Friday."), ("Ann", "Done.")]


def test_half_a_minute_ends_a_sentence_that_has_no_full_stop():
    assert len(said("vtt", cues((1, 2, "Ann: we ship"), (33, 34, "Ann: on Friday")))) == 2


def test_joined_turns_stay_near_a_thousand_characters():
    text = cues(*[(n / 10, n / 10 + 0.1, "Ann: " + "word " * 20) for n in range(100)])
    found = turns("vtt", text)
    assert all(900 < len(turn.text) <= 1_000 for turn in found[:-1])
    assert sum(turn.text.count("word") for turn in found) == 2_000


def test_two_speakers_are_never_one_turn():
    assert len(said("vtt", cues((1, 2, "<v Ann>we"), (2, 3, "<v Bob>ship")))) == 2


def test_a_label_holds_until_the_next_one():
    text = cues((1, 2, "Ann: Hello."), (9, 10, "Still me."), (19, 20, ">> BOB: Now me."))
    assert said("vtt", text) == [("Ann", "Hello."), ("Ann", "Still me."), ("BOB", "Now me.")]


def test_lines_with_dashes_are_said_by_others():
    text = cues((1, 2, "- Ann: Hi\n- Bob: Ho"), (2, 3, "- What\nnow?\n- Nothing."))
    assert said("vtt", text) == [
        ("Ann", "Hi"),
        ("Bob", "Ho"),
        (None, "What now?"),
        (None, "Nothing."),
    ]


def test_text_behind_a_blank_line_still_belongs_to_its_cue():
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\nAnn: one\n\ntwo\n\n00:03.000 --> 00:04.000\nBob: x"
    assert said("vtt", text) == [("Ann", "one two"), ("Bob", "x")]


SRT = (
    "\ufeff1\r\n00:00:01,000 --> 00:00:02,000\r\nAnn: <i>Hello</i>\r\nworld.\r\n\r\n"
    "00:00:13.000 --> 00:00:14.000\r\n- Bob: {\\an8}Hi\r\n- Ann: Ho &amp; on\r\n"
    "3\r\n00:00:25,5 --> 00:00:26,0 X1:1 X2:2\r\n<font color='red'>42</font>\r\n"
)


def test_srt_with_commas_or_dots_numbers_or_none():
    found = [("Ann", 1.0, "Hello world."), ("Bob", 13.0, "Hi"), ("Ann", 13.0, "Ho & on 42")]
    assert timed("srt", SRT) == found


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("vtt", "WEBVTT\n\n00:01.000 --> soon\nx", "line 3: .*00:00:01.000 --> 00:00:02.500"),
        ("vtt", "WEBVTT\n\nhello", "line 3: .*a cue begins with its times"),
        ("srt", "1\n00:00:61,000 --> 00:01:02,000\nx", "line 2: "),
        ("vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n" + "x\n" * 2_000, "line 1004: .*no caption"),
        ("jsonl", '{"text": "a"}\n{"text": "b', "line 2: .*one JSON object a line"),
        ("jsonl", "[1]", "line 1: .*an object with speaker and text"),
        ("jsonl", '{"speaker": "Ann"}', "line 1: .*keys speaker.*its text"),
        ("jsonl", '{"text": 5}', "line 1, text: "),
        ("jsonl", '{"text": "a", "speaker": [1]}', "line 1, speaker: .*string or a number"),
        ("jsonl", '{"text": "a", "start": "noon"}', "line 1, start: .*write seconds"),
        ("jsonl", '{"text": "a", "start": 1e300}', "line 1, start: "),
        ("jsonl", '{"text": "a", "start": NaN}', "line 1, start: "),
        ("jsonl", "[" * 100_000, "line 1: "),
    ],
)
def test_what_cannot_be_read_is_named_with_line_and_remedy(kind, text, words):
    with pytest.raises(InvalidFile, match=words):
        turns(kind, text)


@pytest.mark.parametrize(
    "end", ["3", "3\n", "3\n00:0", "00:00:09.000", "00:00:09.000 --", "3\n9:00 -"]
)
def test_the_beginning_of_a_cue_that_is_cut_off_is_said_by_nobody(end):
    assert said("srt", f"1\n00:00:01,000 --> 00:00:02,000\nAnn: hi\n\n{end}") == [("Ann", "hi")]


def test_a_number_in_a_paragraph_of_its_own_is_said():
    text = "00:01.000 --> 00:02.000\nAnn: hi\n\n42\n\n00:03.000 --> 00:04.000\nBob: ho"
    assert said("vtt", "WEBVTT\n\n" + text) == [("Ann", "hi 42"), ("Bob", "ho")]


def test_what_came_before_a_bad_line_was_read():
    reader = read_transcript(['{"text": "a"}', '{"text": "b"}', "{"], "jsonl")
    assert [turn.text for turn in islice(reader, 1)] == ["a"]


@pytest.mark.parametrize(
    "piece", [" ", "<v ", "<b ", "{\\a", ".'", "A (", "a to ", ": ", "&a", "> "]
)
@pytest.mark.parametrize("kind", ["text", "vtt"])
def test_a_line_of_a_megabyte_that_is_made_to_be_slow_is_not(kind, piece):
    head = "" if kind == "text" else "WEBVTT\n\n00:01.000 --> 00:02.000\n"
    for before in ("A", "00:00:01 From A"):
        line = before + piece * (900_000 // len(piece))
        started = time.process_time()
        turns(kind, f"{head}{line}x\nAnn: hi")
        assert time.process_time() - started < 3  # some 0.1 s; what is quadratic takes minutes


# JSON Lines


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"speaker": "Ann", "text": "hi", "start": 1.5}', ("Ann", 1.5, "hi")),
        ('{"name": "Ann", "content": "hi", "time": "00:01:02"}', ("Ann", 62.0, "hi")),
        ('{"role": "user", "content": "hi"}', ("user", None, "hi")),
        ('{"role": "user", "name": "Ann", "content": "hi"}', ("Ann", None, "hi")),
        ('{"speaker": 0, "transcript": "hi", "startTime": "3.25"}', ("Speaker 0", 3.25, "hi")),
        ('{"speaker": {"name": "Ann"}, "utterance": "hi"}', ("Ann", None, "hi")),
        ('{"speaker": null, "text": " hi "}', (None, None, "hi")),
        ('{"user": "Ann", "text": "hi", "time": "2026-05-08T10:00:00Z"}', ("Ann", 0.0, "hi")),
        ('{"text": "hi", "timestamp": 1778234400}', (None, 0.0, "hi")),
    ],
)
def test_a_line_of_json_under_the_names_that_services_use(line, found):
    assert timed("jsonl", line) == [found]


def test_dates_become_seconds_since_the_first():
    lines = '{"text": "a", "time": "2026-05-08T10:00:00Z"}\n{"text": "b", "time": 1778234401500}'
    assert [turn.offset for turn in turns("jsonl", lines)] == [0.0, 1.5]


def test_segments_with_an_end_are_joined_and_lines_without_are_not():
    line = '{{"speaker": "Ann", "text": "{}", "start": {}, "end": {}}}\n'
    text = line.format("we ship", 0, 1) + line.format("on Friday.", 1.1, 2)
    assert said("jsonl", text) == [("Ann", "we ship on Friday.")]
    assert len(said("jsonl", '{"speaker": "Ann", "text": "yes", "start": 1}\n' * 2)) == 2


# What is written is read


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_is_written_is_read_again(kind, data):
    talk = data.draw(talks)
    found = said(kind, WRITERS[kind](talk))
    assert found == [(speaker, text) for speaker, text, _ in talk]


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=300))
def test_no_text_is_more_than_refused(kind, text):
    reader, found = read_transcript(io.StringIO(text), kind), []
    with contextlib.suppress(InvalidFile):
        found.extend(reader)
    assert all(turn.text for turn in found)
    places = [turn.place for turn in found]
    assert places == sorted(places)


@given(talk=talks)
def test_every_end_of_line_and_encoding_gives_the_same(tmp_path_factory, talk):
    text = WRITERS["srt"](talk)
    path = tmp_path_factory.mktemp("talk") / "talk"
    right = [turn.text for turn in turns("srt", text)]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        for end in ("\n", "\r\n", "\r"):
            path.write_bytes(text.replace("\n", end).encode(encoding))
            assert detect_transcript(path) == "srt"
            with TextLines(path) as lines:
                assert [turn.text for turn in read_transcript(lines, "srt")] == right


# What a file is


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("WEBVTT\n\n", "vtt"),
        ("\ufeffWEBVTT - x\n", "vtt"),
        ("WEBVTTX: hello", "text"),
        ("1\n00:00:01,000 --> 00:00:02,000\nx", "srt"),
        ("00:01.000 --> 00:02.000\nx", "srt"),
        ("\n\n" + '{"text": "a"}', "jsonl"),
        ("[00:01:02] Ann: hi", "text"),
        ("[00:00.000 --> 00:04.000]  hi", "text"),
        ("Ann: hi", "text"),
    ],
)
def test_the_content_says_the_kind(tmp_path, content, kind):
    path = tmp_path / "misleading.json"
    path.write_text(content, encoding="utf-8")
    assert detect_transcript(path) == kind


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"\xef\xbb\xbf \n\t\n", "an empty file"),
        (b"PK\x03\x04rest", "Office document.*as text or WebVTT"),
        (b"%PDF-1.7", "PDF"),
        (b"Ann: hi\nBob: \x00\x01", "line 2: .*NUL.*save the transcript"),
        (b"Ann: hi\nBob: caf\xe9 x", "line 2: .*not UTF-8.*save it as UTF-8"),
        ("Ann: hi\nBob: \U0001f600".encode("utf-16")[:-1], "line 2: .*not UTF-16"),
        ("Ann: hi\nBob: \U0001f600".encode("utf-16")[:-2], "line 2: .*not UTF-16"),
        ("Ann: hi".encode("utf-16-le"), "NUL"),
        (b'[{"text": "a"}]', "one turn a line"),
        (b'{\n"text": "a"}', "one turn a line"),
    ],
)
def test_what_is_no_transcript_is_refused_with_what_to_do(tmp_path, content, words):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InvalidFile, match=words):
        detect_transcript(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidFile, match="pass the path of a file"):
            detect_transcript(path)


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "talk"
    path.write_bytes(b"Ann: hi\n" + b"x" * 3_000_000)
    with pytest.raises(InvalidFile, match=r"line 2: .*a line over"), TextLines(path) as lines:
        list(read_transcript(lines, "text"))


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(InvalidInput, match="did you mean 'vtt'"):
        read_transcript([], "vvt")


@pytest.mark.parametrize(
    ("content", "date"),
    [
        ("WEBVTT\n\nNOTE Date: 2026-05-08 14:30\n", "2026-05-08T14:30:00+00:00"),
        (
            "WEBVTT\n\nNOTE\nRecorded on: Friday, May 8th, 2026 at 2:30 PM\n",
            "2026-05-08T14:30:00+00:00",
        ),
        ("Meeting date: 8 May 2026\nAnn: hi", "2026-05-08T00:00:00+00:00"),
        ("Start time: 2026-05-08T14:30:00+02:00\n", "2026-05-08T14:30:00+02:00"),
        ("Date: 05/08/2026\n", None),
        ("Ann: hi\n", None),
    ],
)
def test_a_file_may_tell_its_date(tmp_path, content, date):
    path = tmp_path / "talk"
    path.write_text(content, encoding="utf-8")
    told = told_start(path, "text")
    assert (told.isoformat() if told else None) == date


def test_reading_holds_no_more_than_a_piece_of_the_file(tmp_path):
    path = tmp_path / "talk.vtt"
    line = "00:{:02}:{:02}.000 --> 00:{:02}:{:02}.900\n<v Person {}>" + "word " * 40 + ".</v>\n\n"
    with path.open("w", encoding="utf-8") as file:
        file.write("WEBVTT\n\n")
        for n in range(40_500):
            at = (n // 60 % 60, n % 60)
            file.write(line.format(*at, *at, n % 3))
    assert path.stat().st_size > 10_000_000
    tracemalloc.start(1)
    with TextLines(path) as lines:
        count = sum(1 for _ in read_transcript(lines, "vtt"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40_500
    assert peak < 2_000_000
