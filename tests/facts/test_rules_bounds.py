"""No text makes the rules fail, or takes them more than its length."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.facts.rules import claims_of
from rag_memory_plugins.facts.verb_rules import VERBS
from rag_memory_plugins.types import Message

SAID = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)
NL = chr(10)


PIECES = st.sampled_from(
    [*VERBS, "I ", "my ", "I'm ", " is ", "we ", " not ", "the ", ". ", ", ", '"', "`", "<memory-123456789>", "</memory-123456789>", " and ", " on ", "31 June ", "Monday ", " since ", "\u2028", "\x07", "?"]
)  # fmt: skip
TIMES = st.datetimes(timezones=st.just(timezone.utc))


@given(st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join), TIMES)
def test_no_text_makes_the_rules_fail(text, when):
    text = "".join(sign for sign in text if sign != "\x00" and not "\ud800" <= sign <= "\udfff")
    message = Message("user", text, time=when)
    found = claims_of(message)
    assert found == claims_of(message)
    for claim in found:
        assert claim.subject
        assert claim.object or claim.negated
        assert len(claim.object) <= 200
        assert 0 < claim.confidence <= 1


@pytest.mark.parametrize(
    "piece",
    ["a", "I live in ", "I live in Porto. ", "Not so. I no longer work at Acme. ", '"', "I. ", NL, "((", "<memory-123456789>", "I am not ", "my ", "not ", "as at ",
     "I work at x as ", "the x is ", ", and ", "> ", "` ", "I'm ", "x: ", "no longer ", "on May ", "- ", "A", "my x's ", "the a moved from b to ", "x over ", "I said a was b, ", "if you need ", "it is ", "the a of the b is ", "every day ", "one, "],
)  # fmt: skip
def test_reading_takes_time_in_proportion_to_the_text(piece):
    text = (piece * 100_000)[:100_000]
    begin = time.process_time()
    claims_of(Message("user", text, time=SAID))
    assert time.process_time() - begin < 1
