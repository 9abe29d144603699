"""A text as the clauses that its author states: each may be read for itself.

Questions, conditions, wishes and what others said are left out with all that hangs on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rag_memory_plugins.facts.quoting import HIDDEN, own_words
from rag_memory_plugins.retrieval.sentences import LONGEST, sentences

__all__ = ["Clause", "clauses_of"]


@dataclass(frozen=True)
class Clause:
    """One clause. `hedged`: its author is not sure; `corrects`: it says that it sets right.

    `again` says so in a way ("actually") that counts only where something was stated before.
    """

    text: str
    hedged: bool = False
    corrects: bool = False
    again: bool = False


_QUESTION: Final = re.compile(
    r",? (?:so |and |but )?(?=(?:what|how|can|could|do|does|is there|are there|any|where|which|when"
    r"|should|would|who|why|will)\b(?: \S+){2})",
    re.IGNORECASE,
)
_UNREAL: Final = re.compile(
    r"(?:if|unless|suppose|supposing|assuming|imagine|pretend|when|whenever|once|should|were|had|would"
    r"|could|might|wouldn't|didn't|don't you|as long as|provided|in case|even if|what if|hopefully"
    r"|i wish|i hope|wish|hoping|fingers crossed|apparently|according to|rumou?r|allegedly|in another"
    r"|one day|some day|someday|maybe|perhaps|possibly|whether|let us say|act as|write|draft|in theory"
    r"|ideally|if only|i heard|i hear|i read|in my dream|as if|like if|word is|legend)\b",
    re.IGNORECASE,
)
_DOUBTED: Final = re.compile(
    r"\b(?:if|unless|would|could|might|maybe|perhaps|possibly|hopefully|wish|whether|i'd|we'd|assuming"
    r"|provided|as long as|in case|depends|should|supposedly|not sure|pretending|kidding|joking"
    r"|lol jk|in theory|until then)\b",
    re.IGNORECASE,
)
_OTHERS: Final = re.compile(
    r"\b(?:says?|said|saying|tells?|told|thinks?|thought|claims?|claimed|believes?|asked|asks|wrote"
    r"|mentioned|announced|reckons?|heard|suspects?|assumes?|insists?|swears?|quot\w+"
    r"|reports? that|denie[sd]|promised|argues?|shouted|sings?)\b",
    re.IGNORECASE,
)
_OWN_SAYING: Final = re.compile(
    r"(?:as |like )?(?:i|we)(?:'ve| have)? (?:already |just )?(?:said|told (?:you|him|her|them|everyone)|mentioned)"
    r"(?: before| earlier| already)?(?:,| that)? (?=(?:i|my|the|we)\b)",
    re.IGNORECASE,
)
_HEDGE: Final = re.compile(
    r"(?:i think|i guess|i believe|i suppose|i'd say|i'm (?:pretty|fairly|almost) sure|probably"
    r"|i reckon|if i remember right|as far as i know|afaik|iirc|i'm guessing)(?: that)?,? ",
    re.IGNORECASE,
)
_HEDGE_INSIDE: Final = re.compile(
    r"\b(?:probably|i think|i guess|i believe|likely|i suppose|sort of|kind of|roughly speaking)\b,?",
    re.IGNORECASE,
)
_LEAD: Final = re.compile(
    r"(?:(?:well|no|nope|yes|yep|yeah|ok(?:ay)?(?: so)?|oh|ah|hey|hi|hello|right|sure|thanks|thank you"
    r"|(?:great|good|bad|sad|big) news|news|update|note|reminder|decision|decided|final answer|edit"
    r"|p\.?s\.?|fact|for context|for the record|in short|in fact|i'm sorry|anyway|hi all|hi everyone|heads[- ]up|quick (?:update|note|one)"
    r"|(?:small|minor|one|another) (?:thing|note|update|change)|no no|fwiw|imo|ftr|hm+|ugh|come to think of it|on second thoughts?|now that i think(?: about it)?|changed jobs|new job|moved house|settled|done deal|bad news first"
    r"|unfortunately|sadly|luckily|fortunately|finally|great|cool|today|status|summary|for your info"
    r"|(?:it's |it is )?official|short version|long story short|as you know|you know|look|listen)[,:!.]+"
    r"|just so (?:it's|you|we|everybody|everyone|that's|it is)[^:,]{1,40}[:,]|(?:as|since|given|seeing)(?: that| as)?(?= (?:i|i'm|i've|my|we|we're|our)\b(?! (?:said|told|mentioned|wrote|turned|know)))"
    r"|(?:after|following) [^,]{1,60}?,?(?= (?:i|we)(?:'ve| have)? (?:finally |now |just )?(?:decided|chosen|chose|agreed|settled|picked|went)\b)"
    r"|when(?:ever)? (?:i|we)(?: [\w-]+){1,4}?,?(?= (?:i|we) (?:always|usually|only|never|tend to)\b)|from now on,?(?= (?!i\b|we\b))"
    r"|just(?= (?:call|so|to|a (?:heads|note|reminder)))|for (?:me|us),|in my case,|(?:at|for) work,?(?= (?:i|we)\b)|work-?wise,|at home,?(?= (?:i|we)\b)|on weekends,?(?= (?:i|we)\b)|in the end,?"
    r"|so|yeah|ok|okay|hey|btw|by the way|fyi|honestly|frankly|technically|basically|anyway|also|plus"
    r"|and|but|then|just so you know|tbh|to be honest|personally|currently|at the moment"
    r"|these days|nowadays|right now|day to day|(?:please )?(?:remember|note|keep in mind|don't forget|be aware)"
    r"(?: that)?(?! to\b)|just to let you know|i've made up my mind|i (?:just )?wanted to (?:say|let you know)"
    r"(?: that)?|of course|obviously|apart from that|the thing is|(?:we|i) (?:have |all )?(?:agreed|decided)(?: that)?(?= (?:the|our) )|now|yes|both)[,:]? ",
    re.IGNORECASE,
)
_CORRECTS: Final = re.compile(
    r"(?:looking at it again|scrap that|scratch what i said|forget that|disregard that|that's outdated|correction(?: to [^,:]{1,60})?|scratch that|strike that|i misspoke|i made a mistake"
    r"|my mistake|my bad|oops|whoops|sorry|wait|hang on|no wait|ignore (?:that|my last \w+)"
    r"|(?:it )?turns out(?: that)?|let me correct (?:that|myself)|to correct myself|i was wrong"
    r"|i got that wrong|that's wrong|that was wrong|not quite|typo)\b[,:.!]*(?: |$)",
    re.IGNORECASE,
)
_ACTUALLY: Final = re.compile(r"(?:actually|in fact|rather|well actually|no)\b,? ", re.IGNORECASE)
_TOLD_WRONG: Final = re.compile(
    r",? (?:and )?not (?:on |at |in )?(?:the |a )?\S+ (?:that |as )?i (?:told|said|mentioned)\b.*$",
    re.IGNORECASE,
)
_SAID_BUT: Final = re.compile(
    r"i (?:said|wrote|told you|put)(?: earlier| before)?(?: that)? (?P<a>.+?) (?:was|is|were|are) (?P<b>.+?)(?:,? but|\.|,| -)(?: that's wrong,| actually,?)? (?:it's|it is|it was|it should be|actually) (?:actually |really )?(?P<is>[^,]+)(?:,.*)?",
    re.IGNORECASE,
)
_RATHER: Final = re.compile(
    r"^(?P<who>i|we)(?:'d| would) (?:much |really |always |far |still )*(?:rather(?! not\b| (?:you|they|he|she|it|we|i|be|die|see|go|stay|wait)\b)|sooner(?= have)|prefer(?! not\b| (?:it|if|that|you|to see|to be)\b))"
    r"(?: (?:to )?(?:have|use|take|get|go for|stick with|keep|drink|eat))? (?!if\b|it\b)",
    re.IGNORECASE,
)
_FOR_YOU: Final = re.compile(
    r",? (?:if|in case) you(?:'re| are)? (?:ever |really |do |just )*(?:need|want|wonder\w*|ask|like|care|must|prefer|curious|interested)\b.*$",
    re.IGNORECASE,
)
_MEANT: Final = re.compile(r"\b(?:i|we) mean[t]?,? ", re.IGNORECASE)
_PARTS: Final = re.compile(
    r"\s*[;:]\s+|\s+(?:-+|\u2014)\s+|\u2014|,?\s(?:but|however|although|though|whereas|while|because|so(?= (?:i|i'm|my|the|we|please|don't|expect|you|mornings|no|not|it|it's|that|there|he|she|she's|he's|can|could|any|nothing|an?)\b))\s"
    r"|,?\s(?:and|plus)\s(?=(?:i|i'm|i've|i'll|my|we|we're|our|it's|it|he|she|they)\b)"
    r"|,?\s(?:and)\s(?=(?:the |my |our )?[\w.-]+(?: [\w.-]+){0,3}(?: is| are|'s| was| has) )"
    r"|,\s(?:and\s)?(?=(?:i|i'm|i've|my|we|we're|our|it's|it|he|he's|she|she's|they|let's|please|send|but|which|who|that's|you|sorry|no|not quite|make that|way|expect|correction|actually|scratch that|wait|oops|rather)\b)"
    r"|,\s(?=(?:the|our|my) [\w-]+(?: [\w-]+)?(?: now)? (?:happens|takes place|meets|leaves|arrives|belongs|needs|has|weighs|seats|will be|was) )"
    r"|,?\sand\s(?=(?-i:[A-Z])[\w'-]+ (?:does|is|runs|has|[a-z]+s) (?:the|an?|my|our|in|at|on|for|with|to) )"
    r"|,\s(?=(?:originally from|based in|allergic to|married to|born in|living in|working (?:at|for|as))\b)"
    r"|,\s(?=[\w-]+(?: [\w-]+)?(?:'s| is| are| has| was) (?:still |now |already |not )?[\w-]+)"
    r"|,?\s(?:and\s|,\s)(?=(?:the |our |my )?[\w-]+(?: [\w-]+){0,2} (?:starts|kicks off|opens|runs|lives|works|begins|ends|costs|goes|owns|leads|handles|uses|moved|moves|expires|takes|closes|manages|speaks|loves|likes|hates|prefers) )"
    r"|,\s(?=(?:the |our |my )?[\w-]+(?: [\w-]+){0,2} (?:starts|kicks off|opens|runs|lives|works|begins|ends|costs|owns|leads|handles|expires|closes|manages) )",
    re.IGNORECASE,
)
_SHARED: Final = re.compile(
    r"(?:,?\sand\s|,\s)(?:also\s|now\s|currently\s|still\s)?(?=(?:work|works|live|lives|love|loves|like|likes|hate|hates|prefer|prefers|play|plays"
    r"|speak|speaks|own|owns|have|has|drive|drives|use|uses|study|studies|moved|bought|eat|teach|teaches"
    r"|don't|can't|am|run|manage|look after|report|rent|work|started|joined|grew up|keep|coach|volunteer|collect|cycle|commute|never|sold|quit|left|bought)\s)",
    re.IGNORECASE,
)
_SUBJECT: Final = re.compile(
    r"(i|we|(?:[Mm]y|[Tt]he|[Oo]ur) [\w'-]+(?: [A-Z][\w'-]+)?|[A-Z][\w'-]+(?: [A-Z][\w'-]+)?)(?='| )",
)
_ENDS: Final = re.compile(r"[.!?\n\u2026\"')\]]\s*$")
_EDGE: Final = " \t,.!;:-\u2014()[]*_~"


def clauses_of(text: str) -> Iterator[Clause]:
    """The clauses of `text` in order, without what opens them and says nothing.

    >>> [clause.text for clause in clauses_of("So I live in Porto. If I could, I'd move!")]
    ['I live in Porto']
    """
    corrects = False
    for line in own_words(text).split("\n"):
        whole = True
        for start, end in sentences(line):
            sentence = line[start:end]
            # The rest of a sentence that was cut for its length begins anywhere.
            broken, whole = not whole, end - start < LONGEST - 100 or bool(_ENDS.search(sentence))
            if broken:
                continue
            found = list(_clauses(sentence.strip(), corrects=corrects))
            corrects = found[-1].corrects and not found[-1].text if found else False
            yield from (clause for clause in found if clause.text)


def _clauses(sentence: str, *, corrects: bool) -> Iterator[Clause]:
    if sentence.endswith("?"):
        asked = _QUESTION.search(sentence)
        if not asked or asked.start() == 0:
            return
        sentence = sentence[: asked.start()]
    again = False
    said = _SAID_BUT.fullmatch(sentence.strip(_EDGE))
    if said:
        # What was said of a thing, or who was said to be something, was wrong.
        role = said["b"].startswith(("the ", "our ", "my ")) and said["a"][:1].isupper()
        yield Clause(f"{said['b'] if role else said['a']} is {said['is']}", corrects=True)
        return
    for part in _split(sentence):
        clause = _opened(part.strip(_EDGE), corrects=corrects, again=again)
        corrects, again = clause.corrects, clause.again
        text = clause.text
        if _UNREAL.match(text) or (_OTHERS.search(text) and not _MEANT.match(text)):
            return
        if HIDDEN in text[:2]:
            return
        if not _DOUBTED.search(text):
            yield clause


def _split(sentence: str) -> Iterator[str]:
    """The parts of a sentence; "and" with a verb behind it takes the subject along."""
    for part in _PARTS.split(sentence):
        pieces = _SHARED.split(part)
        yield pieces[0]
        if len(pieces) > 1:
            opened = _opened(pieces[0].strip(_EDGE)).text
            subject = _SUBJECT.match(opened) or re.match(r"i|we", opened, re.IGNORECASE)
            for piece in pieces[1:]:
                if subject:
                    yield f"{subject[0]} {piece}"


def _opened(text: str, *, corrects: bool = False, again: bool = False) -> Clause:
    """A clause without the words before its subject that say how it is meant."""
    hedged = False
    for _ in range(6):
        found = _OWN_SAYING.match(text) or _LEAD.match(f"{text} ")
        if not found and (found := _HEDGE.match(text)):
            hedged = True
        if not found and (found := _CORRECTS.match(text)):
            corrects = True
        if not found and (found := _ACTUALLY.match(f"{text} ")):
            again = True
        if not found:
            break
        text = text[found.end() :].strip(_EDGE)
    text = _FOR_YOU.sub("", text)
    text = _RATHER.sub(r"\g<who> prefer ", text, count=1)
    told = _TOLD_WRONG.search(text)
    if told:
        text, corrects = text[: told.start()], True
    inside = _HEDGE_INSIDE.search(text)
    if inside:
        hedged = True
        text = " ".join((text[: inside.start()] + text[inside.end() :]).split())
    return Clause(text, hedged, corrects, again)
