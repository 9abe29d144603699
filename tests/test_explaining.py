"""A context explained: the same pieces as text, as data and in a notebook, whatever was stored."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
from datetime import datetime, timezone
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from rag_memory_plugins import Message, TokenBudget
from rag_memory_plugins.explaining import Explanation, source_link
from rag_memory_plugins.results import Context, ContextPart, Piece
from rag_memory_plugins.types import Messages, ToolCall

WHEN = datetime(2026, 5, 8, 14, 30, tzinfo=timezone.utc)
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


def said(content="hello", **fields):
    return Message(fields.pop("role", "user"), content, time=WHEN, **fields)


def piece(message, part="recent", *, included=True, reason="recent turn", tokens=7, **fields):
    return Piece(message, part, included, reason, tokens, **fields)


def context(pieces=(), parts=(("recent", 100),), *, budget=1_000, **fields):
    kept = Messages(item.message for item in pieces if item.included)
    made = {
        "query": "When is the launch?",
        "budget": TokenBudget(budget),
        "messages": kept,
        "text": "",
        "tokens": sum(tokens for _, tokens in parts),
        "tokens_exact": True,
        "parts": tuple(ContextPart(name, kept, tokens) for name, tokens in parts),
        "pieces": tuple(pieces),
        "lanes": {"keywords": "ok"},
        "mode": "safe",
        "mode_reason": "31204 tokens are more than 20000",
        "history_tokens": 31_204,
    }
    return Context(**made | fields)


OUT = piece(
    said("We met on a Tuesday", id="m1", name="Bea"),
    "retrieved",
    included=False,
    reason="out: over budget",
    score=1.25,
    session="monday",
)
IN = piece(said("The launch is on 3 June", id="m2", name="Ann"), score=None, session="today")


# pieces


def test_an_explanation_is_the_tuple_of_the_pieces():
    explanation = Explanation(context([OUT, IN]))
    assert explanation == (OUT, IN)
    assert [item.message.id for item in explanation] == ["m1", "m2"]
    assert isinstance(explanation, tuple)


def test_a_context_explains_itself(opened):
    talk = opened().conversation("acme", "ann", "monday")
    talk.add("The launch is on 3 June", id="m1")
    made = talk.context("When is the launch?", 500)
    explanation = made.explain()
    assert explanation == made.pieces
    assert str(explanation) == explanation.text
    assert made._repr_html_() == explanation._repr_html_()


@pytest.mark.parametrize("copied", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_explains_the_same(copied):
    explanation = Explanation(context([OUT, IN]))
    again = copied(explanation)
    assert again == explanation
    assert again.text == explanation.text


def test_its_name_is_one_line():
    explanation = Explanation(context([OUT, IN]))
    assert repr(explanation) == "Explanation(1 of 2 pieces in, 100 of 1000 tokens)"


# text


def test_every_piece_is_told_with_its_reason_what_is_in_first():
    lines = Explanation(context([OUT, IN])).text.splitlines()
    start = lines.index("     part       score  tokens  why")
    assert lines[start + 1 :] == [
        "in   recent                 7  recent turn",
        "     2026-05-08 Ann: The launch is on 3 June (today #m2)",
        "out  retrieved   1.25       7  over budget",
        "     2026-05-08 Bea: We met on a Tuesday (monday #m1)",
    ]


def test_parts_are_bars_of_their_share_of_the_budget():
    parts = (("anchors", 1), ("recent", 500), ("retrieved", 5_000))
    lines = Explanation(context((), parts)).text.splitlines()
    assert lines[1:4] == [
        f"anchors        1    0%  {'━'}{29 * '─'}",
        f"recent       500   50%  {15 * '━'}{15 * '─'}",
        f"retrieved  5,000  500%  {30 * '━'}",
    ]


def test_the_figures_say_the_mode_and_what_was_saved():
    text = Explanation(context((), tokens_exact=False)).text
    assert text.startswith("100 of 1,000 tokens (an upper estimate)\n")
    assert "\nmode safe: 31204 tokens are more than 20000\n" in text
    assert "\n31,204 tokens of history: 99.7% saved\n" in text


def test_a_context_larger_than_its_history_saved_nothing():
    assert "50 tokens of history: 0.0% saved" in Explanation(context((), history_tokens=50)).text


def test_what_failed_is_told():
    text = Explanation(context((), degraded=("summariser: timed out",))).text
    assert "degraded: summariser: timed out" in text


def test_the_pieces_may_be_left_out():
    explanation = Explanation(context([IN]))
    assert "#m2" in explanation.to_text()
    assert "#m2" not in explanation.to_text(pieces=False)


def test_an_empty_context_is_explained_too():
    explanation = Explanation(context((), (), lanes={}))
    assert explanation.text.startswith("0 of 1,000 tokens\n")
    assert "nothing" in explanation._repr_html_()
    assert json.dumps(explanation.to_dict())


def test_a_tool_call_is_named():
    message = said("", role="assistant", tool_calls=(ToolCall("c1", "weather", "{}"),))
    assert "assistant: [called weather]" in Explanation(context([piece(message)])).text


def test_an_id_stands_whole_to_be_copied():
    name = 32 * "f"
    text = Explanation(context([piece(said(90 * "long ", id=name))])).text
    assert f"#{name})" in text


TEXTS = st.text(
    st.sampled_from("ab \t\n\r\x1b\x9b\u202e\u2028日本😀é[]/<>&\"'"), min_size=1, max_size=60
)


@given(TEXTS, TEXTS, TEXTS, st.integers(40, 200))
def test_no_line_is_wider_than_asked_and_nothing_steers_the_terminal(content, name, reason, width):
    pieces = [piece(said(content, name=name, id=name), reason=reason, session=name)]
    made = context(pieces, mode_reason=reason, degraded=(reason,), lanes={name: reason})
    text = Explanation(made).to_text(width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert all(character.isprintable() or character == "\n" for character in text)


def test_markup_of_rich_is_text():
    assert "[bold]x[/bold]" in Explanation(context([piece(said("[bold]x[/bold]"))])).text


def test_text_has_no_colours_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    assert "\x1b" not in Explanation(context([IN])).text


def test_a_rich_console_draws_it_in_colours():
    stream = io.StringIO()
    Console(
        file=stream, force_terminal=True, color_system="standard", width=100, legacy_windows=False
    ).print(Explanation(context([IN])))
    assert "\x1b[34m" in stream.getvalue()


def test_importing_the_room_does_not_import_rich():
    code = "import sys, rag_memory_plugins.explaining; print('rich' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "False\n"


# data


def test_data_is_plain_json():
    linked = said("see there", id="m3", metadata={"url": "https://example.org/a"})
    data = Explanation(context([OUT, piece(linked)])).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["mode"] == "safe"
    assert data["budget"]["total"] == 1_000
    assert data["parts"] == [{"name": "recent", "tokens": 100, "ids": ["m3"]}]
    assert data["pieces"][0] == {
        "id": "m1",
        "session": "monday",
        "part": "retrieved",
        "included": False,
        "reason": "out: over budget",
        "tokens": 7,
        "score": 1.25,
        "role": "user",
        "who": "Bea",
        "time": "2026-05-08T14:30:00+00:00",
        "content": "We met on a Tuesday",
        "link": None,
    }
    assert data["pieces"][1]["link"] == "https://example.org/a"


# notebook

TAGS = set("p b br div span table thead tbody tr th td a small".split())
ATTRIBUTES = {"style", "title", "href", "id", "target", "rel"}


class Page(HTMLParser):
    """What a browser would make of it: tags, attributes, ids, links and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open = set(), set(), []
        self.ids, self.links, self.styles, self.text = [], [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.styles += [found["style"]] if "style" in found else []
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_each_piece_links_to_its_message_in_the_page():
    page = Page(Explanation(context([OUT, IN]))._repr_html_())
    assert len(set(page.ids)) == 2
    assert {f"#{name}" for name in page.ids} == set(page.links)
    assert page.text.count("The launch is on 3 June") == 2  # in the table, and where it links to


def test_a_message_that_was_considered_twice_stands_in_the_page_once():
    page = Page(Explanation(context([IN, IN]))._repr_html_())
    assert len(page.ids) == 1
    assert len(page.links) == 2


def test_two_contexts_on_a_page_do_not_share_their_links():
    pages = [Page(context([IN], query=query)._repr_html_()) for query in ("one", "two")]
    assert not set(pages[0].ids) & set(pages[1].ids)


def test_equal_ids_of_two_sessions_are_two_messages():
    same = [piece(said(session, id="m1"), session=session) for session in ("a", "b")]
    assert len(set(Page(Explanation(context(same))._repr_html_()).ids)) == 2


def test_a_message_that_names_its_source_links_to_it():
    address = "https://example.org/page?a=1&b=%22"
    pieces = [piece(said("x", metadata={"source": address}))]
    page = Page(Explanation(context(pieces))._repr_html_())
    assert address in page.links
    assert "example.org" in page.text


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "\x01javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "javascript://example.org/%0aalert(1)",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "//example.org",
        "example.org",
        "https:",
        "https://",
        "https:///path",
        "http://[",
        "https://example.org\\@evil.example",
        'https://example.org/" onclick="alert(1)',
        "https://example.org/a b",
        "https://example.org/<b>",
        "https://example.org/\u202egro",
        "",
        7,
        None,
        ["https://example.org"],
    ],
)
def test_only_the_web_is_linked_to(address):
    message = said("x", metadata={"url": address, "source": address})
    assert source_link(message) is None
    page = Page(Explanation(context([piece(message)]))._repr_html_())
    assert [link for link in page.links if not link.startswith("#rag-memory-")] == []


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://example.org/a", "example.org"),
        ("HTTP://Example.org:8080/a#b", "example.org"),
        ("https://good.example@evil.example/", "evil.example"),
        ("https://[::1]/", "::1"),
    ],
)
def test_a_link_is_labelled_with_the_host_it_leads_to(address, host):
    assert source_link(said("x", metadata={"url": address})) == (address, host)


def test_the_first_usable_address_is_taken():
    metadata = {"url": "not one", "source": "https://example.org/b"}
    assert source_link(said("x", metadata=metadata)) == ("https://example.org/b", "example.org")


def test_stored_text_never_becomes_markup():
    message = said(
        HOSTILE,
        role="assistant",
        id=HOSTILE,
        name=HOSTILE,
        tool_calls=(ToolCall(HOSTILE, HOSTILE, HOSTILE),),
        metadata={"url": f"https://example.org/{HOSTILE}", "source": HOSTILE},
    )
    hostile = piece(message, HOSTILE, reason=HOSTILE, session=HOSTILE, score=1.0)
    check_is_ours(
        context(
            [hostile],
            ((HOSTILE, 10),),
            query=HOSTILE,
            lanes={HOSTILE: HOSTILE},
            degraded=(HOSTILE,),
            mode=HOSTILE,
            mode_reason=HOSTILE,
        )
    )


PIECES_OF_MARKUP = ["<", ">", '"', "'", "&", "&lt;", "<!--", "-->", "<script>", "</td>", "</table>"]
PIECES_OF_MARKUP += ["javascript:", "https://", "x.example", "/", "\\", "onload=", "\0", " ", "a"]
MARKUP = st.lists(st.sampled_from(PIECES_OF_MARKUP), min_size=1, max_size=8).map("".join)


@given(MARKUP, MARKUP, MARKUP, MARKUP)
def test_no_made_up_text_becomes_markup(content, name, part, address):
    clean = [text.replace("\0", "") or "x" for text in (content, name, address)]
    message = said(clean[0], name=clean[1], id=clean[1], metadata={"url": clean[2]})
    made = piece(message, part, reason=content, session=name)
    check_is_ours(context([made], ((part, 10),), mode_reason=content, degraded=(name,)))


def check_is_ours(made):
    page = Page(Explanation(made)._repr_html_())
    assert page.tags <= TAGS
    assert page.attributes <= ATTRIBUTES
    assert page.open == []
    assert all(link.startswith(("#rag-memory-", "http://", "https://")) for link in page.links)
    assert all("url" not in style and "expression" not in style for style in page.styles)


def test_a_very_long_message_is_cut_in_the_page():
    page = Page(Explanation(context([piece(said(50_000 * "a"))]))._repr_html_())
    assert "… and 48,000 more characters" in page.text
    assert len(page.text) < 3_000


def test_the_bar_of_a_notebook_never_leaves_its_frame():
    page = Page(Explanation(context((), (("recent", 900), ("retrieved", 600))))._repr_html_())
    widths = [style.partition("width:")[2] for style in page.styles if "background:#2" in style]
    assert widths == ["60.0%"]
