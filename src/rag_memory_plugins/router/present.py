"""Questions about the present, whose answers do not keep."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

__all__ = ["time_relative"]

_TIME_WORDS: Final = r"""
    today|tonight|tomorrow|yesterday|now|nowadays|currently|current|latest|recent|recently|newest
    |up[- ]to[- ]date|at\ the\ moment|at\ present|right\ away|so\ far|as\ of|these\ days
    |just\ (?:released|announced)|upcoming|weather|forecast|news
    |(?:this|last|next|past|coming|previous)\ (?:second|minute|hour|morning|afternoon|evening|night
        |day|week|weekend|month|quarter|season|year|decade|monday|tuesday|wednesday|thursday|friday
        |saturday|sunday|few)
    |what\ (?:time|day|date)\ is\ it|what\ is\ the\ (?:time|date)|what's\ the\ (?:time|date)
    |(?:stock|share|exchange)\ (?:price|rate)s?
    |heute|gestern|morgen|jetzt|aktuell\w*|derzeit|momentan|gerade|neueste\w*|letzte[rsnm]?
    |nächste[rsnm]?|diese[rsnm]?\ (?:woche|monat|jahr)|wetter|nachrichten
    |aujourd'hui|demain|maintenant|actuellement|récent\w*|derni[eè]re?s?|prochaine?s?|météo
    |hoy|ayer|mañana|ahora|actualmente|reciente\w*|últim[oa]s?|próxim[oa]s?|clima
    |hoje|ontem|amanhã|agora|atualmente|oggi|ieri|domani|adesso|attual\w*|ultim[oaie]|prossim[oaie]
    |vandaag|gisteren|nu|momenteel|huidige|laatste|volgende|idag|igår|imorgon|nyaste|senaste
    |dziś|dzisiaj|wczoraj|jutro|teraz|obecn\w*|bugün|dün|yar\u0131n|şimdi|güncel
    |сегодня|вчера|завтра|сейчас|текущ\w*|последн\w*|сьогодні|вчора|зараз
    |اليوم|أمس|غدا|الآن|حاليا|आज|कल|अभी|अब
"""


def time_relative(text: str) -> bool:
    """Whether the answer depends on when it is asked, as far as a few words in many languages tell.

    >>> time_relative("What is the latest version?"), time_relative("What is a version?")
    (True, False)
    """
    return _pattern().search(text.replace("\u2019", "'")) is not None


@cache
def _pattern() -> re.Pattern[str]:
    """Compiled at first use: it takes milliseconds, and not every router has a cache."""
    return re.compile(
        rf"(?<!\w)(?:{_TIME_WORDS})(?!\w)"
        r"|今天|今日|昨天|昨日|明天|明日|现在|現在|目前|最新|最近|本周|今週|今年|去年|今|"
        r"오늘|어제|내일|지금|현재|최신|최근|วันนี้|เมื่อวาน|ตอนนี้|hôm\ nay|bây\ giờ",
        re.IGNORECASE | re.VERBOSE,
    )
