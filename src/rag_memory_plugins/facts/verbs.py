"""Verb phrases: the verb's base form, when it holds, and whether it is denied."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rag_memory_plugins.facts.forms import FORMS, base_of

__all__ = ["Phrase", "phrase_of"]

_ADVERBS: Final = frozenset(
    "really also just still always usually currently now actually mostly mainly generally normally"
    " simply absolutely totally truly personally definitely honestly recently finally officially"
    " already only mostly basically both even ever often sometimes rarely hardly secretly quite"
    " kinda literally completely technically first all very since then eventually instead proudly happily fully primarily occasionally regularly together".split()
) - {"first", "all", "very", "rarely", "hardly", "sometimes", "ever"}
_REFUSED: Final = frozenset(
    "would could might may should must want wanted need needed hope hoped wish wonder try tried"
    " feel felt mean know knew think thought guess was were had did rarely hardly sometimes only"
    " almost nearly ever wouldn't let see saw".split()
)
_GOING: Final = re.compile(
    r"(?!interesting|amazing|boring|missing|willing|during|being|nothing|something|anything|everything|exciting|surprising|annoying|confusing|hoping|thinking|wondering|feeling|trying|looking|freezing|dying|struggling|having|expecting|waiting|sorry|dreading|considering|debating|starving|guessing|assuming|wishing)[a-z]{2,10}ing"
)
_ABLE: Final = frozenset(("drive", "swim", "cook", "ski", "dance", "sing"))


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is said of a subject: `verb` in its base form ("be" too) and the `rest` behind it.

    `tense` is "now", "doing" (is -ing), "since" (has done), "past" or "will"; `negated` also of what
    somebody used to do or has stopped doing.
    """

    verb: str
    rest: str
    tense: str
    negated: bool = False


def phrase_of(predicate: str, *, third: bool = False) -> Phrase | None:
    """The verb phrase that begins `predicate`, None where nothing can be told from it.

    `third`: its subject is he, she or it. Short forms must be written out: see `plain`.

    >>> phrase_of("don't really like olives")
    Phrase(verb='like', rest='olives', tense='now', negated=True)
    >>> phrase_of("have been living in Porto")
    Phrase(verb='live', rest='in Porto', tense='since', negated=False)
    """
    words, negated, tense = predicate.split(), False, "now"
    last = [word.lower() for word in words[-2:]]
    if last[-1:] in (["anymore"], ["longer"]) or last == ["any", "more"]:
        words = words[: -1 if last[-1] == "anymore" else -2]
    at = 0
    while at < min(len(words), 8):
        word = words[at].lower()
        after = [each.lower().strip(",") for each in words[at + 1 : at + 4]]
        denying = _denying(word, after)
        if word in _ADVERBS or denying:
            negated, at = negated or denying > 0, at + (denying or 1)
            continue
        if word in ("can't", "cannot") or (word == "can" and after[:1] == ["not"]):
            return _cannot(words[at + (2 if word == "can" else 1) :])
        whole = _whole(word, after, words[at + 1 :], tense, negated=negated)
        if whole:
            return whole
        step = _auxiliary(word, after, tense)
        if step is None:
            break
        count, tense, denies = step
        negated, at = negated or denies, at + count
    return _ended(words[at:], tense, third=third, negated=negated)


def _denying(word: str, after: list[str]) -> int:
    """How many words deny what follows them: "don't", "no longer", "used to"; 0 for none."""
    if word in ("not", "never", "don't", "doesn't", "dont"):
        return 1
    pair = (word, after[0] if after else "")
    return 2 if pair in {("no", "longer"), ("do", "not"), ("does", "not"), ("used", "to")} else 0


def _whole(
    word: str, after: list[str], rest: list[str], tense: str, *, negated: bool
) -> Phrase | None:
    """The phrases whose first word is an auxiliary that stands for itself."""
    if word == "have" and after[:1] == ["got"]:
        return Phrase("have", " ".join(rest[1:]), "now", negated)
    if word == "was" and after[:1] == ["born"]:
        return Phrase("be", " ".join(rest), "now")
    if word == "plan" and after[:1] == ["to"] and tense == "now":
        return Phrase("plan", " ".join(rest), tense, negated)
    if word == "been" and tense == "since" and not _going(after[:1]):
        return Phrase("be", " ".join(rest), "since", negated)
    return None


def _auxiliary(word: str, after: list[str], tense: str) -> tuple[int, str, bool] | None:
    """(how many words, the tense they make, whether they deny); None where the verb begins."""
    if word in ("isn't", "aren't", "ain't"):
        return 1, "doing", True
    if word in ("am", "are", "is") and tense == "now":
        return (3, "will", False) if after[:2] == ["going", "to"] else (1, "doing", False)
    if word in ("have", "has", "haven't", "hasn't") and _perfect(after):
        return 1, "since", word.endswith("n't")
    if word == "been" and tense == "since":
        return 1, "since", False
    if word in ("will", "gonna", "won't") and tense in ("now", "doing"):
        return 1, "will", word == "won't"
    if word in ("stopped", "quit", "quitting", "stopping") and _going(after[:1]):
        return 1, "doing", True
    if word in ("given", "gave", "giving") and after[:1] == ["up"] and _going(after[1:2]):
        return 2, "doing", True
    return None


def _perfect(after: list[str]) -> bool:
    """Whether a participle follows: "have moved", not "have a cat"."""
    for word in after:
        if word in _ADVERBS or word in ("not", "never", "been", "no", "longer"):
            if word == "been":
                return True
            continue
        return "p" in FORMS.get(word, ("", ""))[1] or word in ("gone", "quit")
    return False


def _going(words: list[str]) -> bool:
    return bool(words) and "g" in FORMS.get(words[0], ("", ""))[1]


def _cannot(words: list[str]) -> Phrase | None:
    if not words:
        return None
    word = words[0].lower()
    if word in ("stand", "bear", "abide"):
        return Phrase("hate", " ".join(words[1:]), "now")
    if word in ("eat", "drink") or (word in _ABLE and len(words) == 1):
        return Phrase(word, " ".join(words[1:]).strip(","), "now", negated=True)
    return None


def _ended(words: list[str], tense: str, *, third: bool, negated: bool) -> Phrase | None:
    if not words or words[0].lower() in _REFUSED:
        return None
    word, rest = words[0].lower().strip(","), " ".join(words[1:])
    verb, tenses = FORMS.get(word, ("", ""))
    if tense == "doing":
        if "g" in tenses and verb != "be":
            return Phrase(verb, rest, "doing", negated)
        if _GOING.fullmatch(word) and rest:
            return Phrase(base_of(word), rest, "doing", negated)
        return Phrase("be", " ".join(words), "now", negated)
    if tense == "since":
        return Phrase(verb, rest, "since", negated) if set("pg") & set(tenses) else None
    if tense == "will":
        if word == "be" and _going([each.lower() for each in words[1:2]]):
            return Phrase(FORMS[words[1].lower()][0], " ".join(words[2:]), "will", negated)
        if not verb and (words[0][0].isupper() or word in ("the", "my", "our", "a")):
            return Phrase("go", f"to {' '.join(words)}", "doing", negated)  # "going to Rome"
        return Phrase(verb or word, rest, "will", negated)
    wanted = "b" if negated or not third else "s"
    if wanted in tenses:
        return Phrase(verb, rest, "now", negated)
    return Phrase(verb, rest, "past", negated) if "t" in tenses else None
