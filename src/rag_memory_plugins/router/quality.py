"""How likely a stronger model is worth its price, by the prompt alone.

Length is what is known to carry from one kind of question to another, and not far: APGR 0.55 to
0.60 where 0.5 is a coin. Numbers, sentences, lines, symbols, words of reasoning and their sums with
length were tried beside it (issue 7); none was better on both sets by more than its interval.
"""

from __future__ import annotations

from typing import Final

__all__ = ["prior"]

HALF: Final = 1_000  # characters; about 250 tokens of English. It sets the scale, never the order


def prior(text: str) -> float:
    """From 0, for no text, towards 1: the longer the prompt, the more a stronger model is worth it.

    An order, not a probability. Never falls when a text grows; the same for texts of one length,
    whatever they say, so nothing of a text is read. Who may pad a prompt can ask for the stronger
    model: budgets, not this, bound what that costs.

    >>> prior(""), prior("x" * 1_000), prior("x" * 9_000)
    (0.0, 0.5, 0.9)
    """
    return len(text) / (len(text) + HALF)
