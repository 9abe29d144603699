"""`python -m benchmarks llama_index`: with tiny counts, all that it prints."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest

from benchmarks import llama_index
from benchmarks.__main__ import main
from benchmarks.llama_index import Turns
from benchmarks.report import BadData

ACCEPTANCE = {
    "aget_ms_p50/100",
    "aget_ms_p50/10k",
    "aget_ms_ratio",
    "core_aget_ms_p50/10k",
    "faster",
}
LONG = {
    "aget_ms_p50/100_long",
    "aget_ms_p50/10k_long",
    "aget_ms_ratio/long",
    "core_aget_ms_p50/10k_long",
    "faster/long",
}


def figures(*arguments: str) -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama_index, "TURNS", 6)
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
            code = main(["llama_index", "--scale", "0.005", "--json", *arguments])
    assert code == 0, error.getvalue()
    found: dict[str, float] = json.loads(out.getvalue().splitlines()[-1])
    return found


def test_every_figure_of_the_acceptance_is_there_for_short_and_long_messages():
    found = figures()
    assert (ACCEPTANCE | LONG) - found.keys() == set()
    assert found["message_tokens/long"] > 5 * found["message_tokens"]
    ratio = found["core_aget_ms_p50/10k"] / found["aget_ms_p50/10k"]
    assert found["faster"] == pytest.approx(ratio, rel=0.01)


def test_quick_leaves_out_the_long_messages():
    found = figures("--quick")
    assert (found.keys() >= ACCEPTANCE, LONG & found.keys()) == (True, set())


async def test_a_history_that_does_not_show_the_question_is_no_figure():
    class Deaf:
        async def aput(self, message):
            self.said = message

        async def aget(self):
            return [type(self.said)("something else")]

    turns = Turns({}, [], [])
    with pytest.raises(BadData, match="not in what was shown"):
        await turns._turn("deaf", Deaf(), "which crane?")
