"""Words by which an English sentence decides, corrects, wants, asks or greets; code and logs.

Patterns are tried on casefolded text. English alone: a text of another language is left to what
needs no words, its numbers and names.
"""

from __future__ import annotations

import re
from typing import Final

from rag_memory_plugins.retrieval.cues import is_english

__all__ = [
    "ACCEPT",
    "ANAPHOR",
    "BEING",
    "CLAUSE",
    "CODE",
    "CORRECTION",
    "DECISION",
    "FACT",
    "FILLER",
    "FIRST_PERSON",
    "FLEETING",
    "GOAL",
    "GREETING",
    "HINT",
    "LABEL",
    "LEAD",
    "LOG",
    "NEGATION",
    "OLD_VALUE",
    "PAST",
    "PROPOSAL",
    "REJECT",
    "RULE",
    "TENTATIVE",
    "TOPICS",
    "VERB",
    "speaks_english",
]


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(alternatives)})\b")


DECISION: Final = _words(
    "let'?s(?! see)", "let us", "we(?:'ll| will| shall)(?! see)", "decided?", "decision",
    "i(?:'ll| will) (?:go|take|pick|choose|use|keep|have|stick)", "go(?:ing|es)? with", "it is then",
    "settled?", "agreed?", "cho(?:ose|se|sen)", "picked", "stick(?:ing)? (?:with|to)",
    "please (?:use|make|add|keep|set|remove|put|change|write|show|name|call)", "approved", "confirmed", "(?:we|you|it) should(?:n't)?",
    "(?:make|set|keep|put|name|call) (?:it|the|this|that)", "from now on", "use", "using",
    "(?:my|our) (?:\\w+ )?(?:choice|pick|preference|favou?rite|decision)", "final",
    "(?:should|will|shall) (?:be|use|have|go|stay|show|open|start|look|run|live|get)",
)  # fmt: skip
RULE: Final = _words(
    "must", "never", "always", "prefer(?:s|red)?", "require[sd]?", "needs? to be", "ha(?:s|ve) to",
    "only if", "no (?:more|less|later) than", "at (?:most|least)", "deadline", "limit", "budget",
    "allergic", "(?:do not|don't|can't|cannot|won't) \\w+", "not allowed", "mandatory", "by default",
)  # fmt: skip
FLEETING: Final = _words(
    "today", "tonight", "yesterday", "this (?:morning|afternoon|evening)", "last night", "right now",
    "just now", "a (?:minute|moment|second|few minutes)",
)  # fmt: skip
GOAL: Final = _words(
    "i (?:want|need|plan|intend|hope)", "i(?:'d| would) (?:like|love)", "we (?:want|need|plan|aim)",
    "goals?", "objective", "purpose", "(?:am|'m|are|'re) (?:trying|planning|building|working on)",
    "the (?:point|idea|task|aim) is", "help me",
)  # fmt: skip
CORRECTION: Final = _words(
    "actually", "instead", "no longer", "any ?more", "changed? (?:my|our) mind", "correction",
    "chang(?:e|ed|ing) (?:that|it|the|this|our|my)", "scratch that", "forget (?:about )?(?:the|that)",
    "rather than", "switch(?:ed|ing)? (?:to|from|over)", "mov(?:e|ed|ing) (?:\\S+ ){0,5}to",
    "replac(?:e|ed|ing)", "i was wrong", "my mistake", "on second thought", "after all", "cancel(?:l?ed)?",
    "scrap(?:ped)?", "drop(?:ped)?", "postponed?", "reschedul(?:e|ed)", "(?:is|are|be) now", "now (?:is|be|at|uses?|runs?|lives?|costs?)", "now(?=[.,;!]|$)",
    "make (?:it|that)", "turns out", "revised?", "raised? (?:\\S+ ){0,4}to", "updated",
    "sorry", "oops", "wait", "(?<=, )not (?!only|just|sure|that|too|so)\\w+",
    "pushed? (?:\\S+ ){0,4}to", "not [^,.;]{1,30} but", "reconsidered", "ignore what", "reversed?",
    "renamed?", "migrat(?:e|ed|ing)", "extend(?:ed)?", "(?:set|cut|bump(?:ed)?|reduced?|lower(?:ed)?) (?:\\S+ ){1,6}to",
    "on reflection", "these days", "nowadays", "from here on", "i(?:'d| would) rather", "i quit", "the old",
    "mis(?:spell?ed|spelt|typed|spoke)", "typo", "(?:has|have) (?:left|changed|moved)", "unlike before",
    "(?:i|we) meant", "moves? (?:\\S+ ){0,2}to", "from (?:now|today|tomorrow) on",
    "(?:is|are) (?:off the table|sold out|taken)", "decided against", "tired of", "any longer",
    "i(?:'ve| have)? stopped", "new plan", "change of plans?", "(?<!\\w )no (?!problem|worries|need|idea|one)\\w+(?: \\w+)?(?=,)",
)  # fmt: skip
HINT: Final = _words(
    "(?:is|are|was|were|got|became|takes?) too (?!late|bad)\\w+", "stopped", "complain(?:s|ed)", "longer",
    "(?:is|are) (?:gone|ill|wrong)", "got more", "need not", "needn't", "asked for", "says? (?:that )?(?:i|we) should",
)  # fmt: skip
"""What a correction may say beside what it corrects; by itself it tells nothing."""
FACT: Final = _words(
    "my", "our", "i'?m", "i am", "i (?:have|live|work|use|like|love|hate|study|own|moved|speak|drive)",
    "we(?:'re| are| have|'ve| live| work)", "name is", "is called", "stands for", "means",
)  # fmt: skip
TENTATIVE: Final = _words(
    "maybe", "perhaps", "might", "not sure", "what if", "wonder(?:ing)?", "thinking (?:of|about)",
    "consider(?:ing)?", "possibly", "i guess", "for example", "imagine", "suppose", "could",
    "should (?:i|we)", "shall (?:i|we)", "we'll see", "undecided", "let'?s see",
)  # fmt: skip
PAST: Final = _words(
    "was", "were", "had", "used to", "previously", "earlier", "originally", "back then", "at first",
    "initially", "yesterday", "today", "tonight", "this (?:morning|afternoon|evening)", "ago",
    "last (?:night|week|month|year)", "did", "went", "bought", "ran", "met", "saw", "ate", "made",
)  # fmt: skip
PROPOSAL: Final = _words(
    "shall (?:we|i)", "should (?:we|i)", "how about", "what about", "suggest", "recommend", "propose",
    "(?:we|i) could", "would you like", "do you want", "want me to", "let'?s", "suggestion",
    "recommendation", "proposal", "i can", "if you like", "i(?:'d| would) (?:go|use|take|pick)",
)  # fmt: skip
NEGATION: Final = re.compile(r"\b(?:not|no|never|without|none|cannot|nicht|kein\w*)\b|n't\b")
FIRST_PERSON: Final = _words(
    "i", "i'm", "i'll", "i've", "i'd", "my", "mine", "me", "we", "our", "us"
)
ACCEPT: Final = re.compile(
    r"(?:yes|yep|yeah|ok|okay|sure|agreed|approved|deal|exactly|perfect|fine|great|good idea|do (?:that|it)"
    r"|sounds good|go ahead|go for it|that works|works for me|please do|i agree|let'?s do (?:that|it)"
    r"|that's (?:it|fine|good|right))\b(?!.*\b(?:but|no|not|don't|however|instead|except)\b)"
)
REJECT: Final = re.compile(
    r"(?:no|nope|nah|rather not|not (?:that|really|this)|don't)\b(?! (?:problem|worries))"
)
GREETING: Final = re.compile(
    r"(?:hi|hello|hey|thanks|thank you|thx|good (?:morning|evening|night|afternoon)|bye|goodbye|see you"
    r"|ok|okay|great|cool|nice|perfect|awesome|sure|yes|no|yeah|you're welcome|got it|sounds good|will do"
    r"|of course|happy to|glad|lol|haha+|wow|welcome|exactly|right|alright|hm+|have a (?:nice|good|great))\b"
)
FILLER: Final = re.compile(
    r"\b(?:hope (?:this|that) helps|let me know|feel free|here(?:'s| is| are)|is there anything else"
    r"|happy to help|i(?:'ll| will) (?:look|check|see|try|get)|great question|as an ai)\b"
)
OLD_VALUE: Final = re.compile(
    r"\b(?:instead of|rather than|decided against|tired of|quit|forget|renamed?|no longer (?:use |using |need |want |on |in |be )?|not|replac(?:e|ed|ing)"
    r"|drop(?:ped|ping)?|scrap(?:ped)?|cancel(?:l?ed)?|(?:switch|mov|chang|migrat)(?:e|es|ed|ing)? (?:\S+ ){0,5}?from"
    r"|away from) (?:the |our |my |a )?((?:[\w.#/-]+ ?){1,4}?)(?=[,.;:!?]|$| (?:to|but|with|for|by|as|and|any|because|in|on|at)\b)"
)
"""Group 1 is what holds no more: "instead of SQLite", "from 3 to"."""
TOPICS: Final = (
    re.compile(
        r"\b(?:mov|chang|set|switch|mak|push|postpon|reschedul|migrat|renam|rais|lower|increas|reduc|cut|bump|extend)"
        r"(?:e|es|ed|t|ting|ing)? (.+?) (?:to|from|by|until)\b"
    ),
    re.compile(
        r"\b(?:mak|keep|set|paint|call|nam|put|leav|want|like|get)(?:e|ing)? (?:the|my|our|this|that) "
        r"((?:\w+(?= \w)(?! to be| as | in | on | at | of | with| under| above| below)"
        r" ?)*?\w+(?: of the \w+)?)(?: to be\b| as\b| in\b| on\b| at\b| with\b| under\b| above\b| below\b| [\w'-]+\W*$)"
    ),
    re.compile(
        r"\b(?:us(?:e|ing)|take|go(?:ing)? with|pick(?:ed)?|cho(?:ose|ice|se|sen)|switch(?:ed|ing)? to|settled? on"
        r"|stick(?:ing)? (?:with|to)|prefer|preference|favou?rite)\b.*?\b(?:for|as|in|on)\b (.+?)(?= instead| is\b|, |;| because| since|$)"
    ),
    re.compile(
        r"\b(?:about|regarding|concerning|as for|as to) (?:the |my |our )?(.+?)(?=[,:;.]|$)"
    ),
    re.compile(r"^\S+(?: \S+){0,3}? (?:it is )?for (?:the |my |our )?(.+?)(?=[,:;.]|$)"),
    re.compile(
        r"^(?:\W|actually|no|so|ok|sorry|correction|update|and|but|also|then|now|instead|[:,-])*(?!let's|it's|that's)(.+?)"
        r" ?(?:\b(?:is|are|will|should|must|shall|needs?|has|have|costs?|takes?|starts?|ends?|stays?|runs?|lives?|uses?|goes|go|happens?|works?|eats?|was|were|be|becomes?)\b|'re\b|=)"
    ),
)
"""What a sentence is about, most telling first: what is moved, what it is used for, its subject."""
CLAUSE: Final = re.compile(
    r"[,;:]\s+(?:(?:and|so|but|then) )?| so (?=the |we |it |our |my )", re.IGNORECASE
)
VERB: Final = re.compile(
    r"(?:\b(?:is|are|will|should|must|shall|needs?|has|have|costs?|takes?|starts?|ends?|runs?|lives?|uses?|be|becomes?)\b|'re\b|=|:)"
)
"""Where the subject of a simple sentence ends."""
BEING: Final = _words("is", "are", "be", "called")
LABEL: Final = re.compile(
    r"\b(?!(?:the|our|my|all|these|those|about|over|only|just|at|in|on|of|for|to|by|and|with|now) )"
    r"([^\W\d]\w*[^\Ws\d]|\w+[suiy]s) (#?\d[\w.]*)"
)
"""A number that is part of a name: "room 4", "bus 12"; "holds 12" is none."""
LEAD: Final = re.compile(
    rf"^(?:\W*\b(?:in|on|at|for|from|by|the|our|my|and|also|then|so)\b ?)*(?:{LABEL.pattern}"
    r"|(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day)s?\b)(?= [^\W\d])"
)
"""What a sentence begins with, if that is such a name or a time: "Bed 7", "on Monday"."""
ANAPHOR: Final = _words("it", "that", "this", "them", "those", "these", "one")
CODE: Final = re.compile(
    r"^\s*(?:def |class |import |from \S+ import |return\b|const |let \w+ ?=|var |function\b|public |private |#include"
    r"|</?\w+[^>]*>|[$>] ?\w+|select .+ from |@\w+|\}|\{|\[\{)|[{};]\s*$|=>|\w\([^)]*\)\s*[;{:]|[=!]==?"
    r"|^\s*[\"']?\w+[\"']?\s*:\s*[\"'{\[].*,?$"
)
LOG: Final = re.compile(
    r"^\s*(?:\[?\d{4}-\d\d-\d\d[t ]\d\d:\d\d|\[?(?:info|debug|warn|warning|error|trace)\b[\]: ]|at \S+\(|traceback|file \"|\d\d:\d\d:\d\d)"
)
_LONG: Final = 12
"""Words from which on an English sentence holds one that only English has."""


def speaks_english(folded: str) -> bool:
    """Whether these cues may be asked of a casefolded sentence; short ones get the benefit."""
    return is_english(folded) or (folded.isascii() and len(folded.split()) < _LONG)
