"""Passing conditions of things ("down", "in review") and the trades of people."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_condition", "trade_of"]

_TRADE: Final = re.compile(
    r"(?:\w[\w-]* ){0,3}(?:nurse|doctor|teacher|engineer|developer|vet|lawyer|chef|cook|pilot|baker|barber"
    r"|plumber|electrician|carpenter|translator|designer|writer|author|artist|musician|journalist"
    r"|accountant|architect|student|paramedic|dentist|pharmacist|surgeon|therapist|psychologist|manager"
    r"|consultant|analyst|scientist|researcher|professor|lecturer|librarian|farmer|gardener|driver"
    r"|firefighter|soldier|sailor|waiter|waitress|bartender|barista|cashier|clerk|secretary|salesman"
    r"|salesperson|programmer|coder|admin|administrator|technician|mechanic|welder|builder|painter"
    r"|photographer|editor|actor|actress|dancer|singer|drummer|guitarist|coach|trainer|judge|solicitor"
    r"|barrister|paralegal|midwife|carer|caretaker|cleaner|banker|trader|broker|economist|biologist"
    r"|chemist|physicist|mathematician|statistician|geologist|historian|linguist|interpreter|tutor"
    r"|founder|ceo|cto|cfo|director|receptionist|butcher|tailor|postman|courier|optician|radiologist"
    r"|cardiologist|anaesthetist|physiotherapist|social worker|civil servant|police officer|officer"
    r"|hygienist|osteopath|chiropractor|podiatrist|orthodontist|paediatrician|pediatrician|dermatologist|neurologist|gynaecologist|psychiatrist|counsellor|counselor|dietitian|nutritionist|ecologist|botanist|zoologist|meteorologist|astronomer|archaeologist|anthropologist|sociologist|philosopher|theologian|priest|vicar|pastor|rabbi|imam|nun|monk|nanny|au pair|babysitter|childminder|dog walker|postwoman|postie|bus conductor|taxi driver|locksmith|glazier|plasterer|tiler|upholsterer|cobbler|jeweller|watchmaker|luthier|piano tuner|sound engineer|producer|director of \w+|stagehand|screenwriter|playwright|poet|novelist|columnist|reporter|publisher|printer|bookseller|bookbinder|bookkeeper|auditor|actuary|underwriter|notary|stockbroker|estate agent|realtor|landlord|caterer|sommelier|brewer|winemaker|cheesemonger|fishmonger|grocer|fisherman|forester|tree surgeon|park ranger|zookeeper|groomer|farrier|shepherd|warehouse worker|machinist|toolmaker|fitter|rigger|miner|crane operator|operator|dispatcher|signalman|stationmaster|flight attendant|air traffic controller|captain|skipper|lifeguard|referee|personal trainer|physio|masseuse|masseur|hairdresser|beautician|tattooist|tattoo artist|model|stylist|seamstress|fashion designer|policeman|policewoman|detective|prison guard|security guard|veteran|diplomat|politician|mayor|lobbyist|head teacher|headmaster|headteacher|principal|dean|teaching assistant|phd candidate|postdoc|lab tech|sysadmin|devops engineer|product owner|scrum master|data scientist|sales rep|account executive|marketer|copyeditor|proofreader|interpreter|piano teacher|intern|apprentice|freelancer|contractor|recruiter|planner|surveyor|curator|archivist|florist"
    r"|beekeeper|brewer|joiner|roofer|bricklayer|tester|lead|specialist|assistant|copywriter|illustrator"
    r"|animator|cabinetmaker|goldsmith|blacksmith|potter|conductor|composer|stonemason|tram driver)s?",
    re.IGNORECASE,
)
_CONDITION: Final = re.compile(
    r"(?:(?:fully|completely|partly|temporarily|officially|finally|almost) )?"
    r"(?:shipped|live|done|finished|completed?|cancell?ed|delayed|blocked|closed|open|opened|approved|rejected"
    r"|ready|deprecated|merged|deployed|released|paused|postponed|archived|offline|online|overdue|broken"
    r"|fixed|resolved|down|up and running|back up|green|red|yellow|stable|unstable|frozen|signed|confirmed|booked"
    r"|sold(?: out)?|full|empty|available|unavailable|active|inactive|pending|working|failing|failed|passing|running"
    r"|stopped|disabled|enabled|out of (?:[a-z]+)|in (?:beta|alpha|progress|review|production|testing|qa|stock|transit|use|draft|development)"
    r"|on (?:hold|track|schedule|ice|(?:\w+ )?leave|holiday|vacation|sale|strike|time|order)|behind schedule|ahead of schedule|over budget"
    r"|under (?:review|construction|budget|way|maintenance)|up to date|outdated|expired|paid|unpaid|unreleased|published|launched"
    r"|retired|scrapped|abandoned|suspended|fully booked|locked|unlocked|lost|stuck|empty|vacant|occupied|migrated|installed"
    r"|submitted|accepted|declined|withdrawn|obsolete|discontinued|shut(?: down)?|dead|healthy|degraded|read-only|off|on|off sick|away|ill|sick"
    r"|back online|final|finali[sz]ed|scheduled|decommissioned|delivered|due|complete|settled|underway|for sale|vacated|renewed|granted|issued|revoked|lifted|denied|received|verified|validated|certified|assembled|updated|flaky|leaking|over|ripe|overbooked|ordered|shut|in force|in effect|in the (?:wash|post|mail|works|repair shop|garage|shop)|at the (?:garage|mechanic's|vet|repair shop|cleaners)|being (?:repaired|renovated|rebuilt|painted|serviced|replaced|upgraded|reviewed|audited)|under repair|under renovation|a mess|half[- ](?:done|finished|empty|full)|nearly (?:done|finished|ready|full|empty)|stolen|nicked|damaged|flooded|cracked|painted|packed|filed|shortlisted|insured|vaccinated|neutered|spayed|house-trained|rescheduled|refunded|reimbursed|returned|replaced|repaired|upgraded|unlisted|out of print|out of season|behind|on backorder|on probation|on standby|in storage|in escrow|on the market|under offer|back to normal|back)"
    r"(?: (?:by|from|for|with|in|at|due|again|to|until|on|last|since|yesterday|today|this)\b.*)?$",
    re.IGNORECASE,
)
_TRIMMED_STATE: Final = re.compile(
    r" (?:again|by|from|for|with|due|because|last|since|yesterday|today|this|on (?:mon|tues|wednes|thurs|fri|satur|sun)day|in [A-Z]|at [A-Z])\b.*$"
)


def trade_of(text: str) -> str:
    """The trade that "a nurse at St. Mary's" begins with, "" if it begins with none.

    >>> trade_of("freelance translator"), trade_of("morning person")
    ('freelance translator', '')
    """
    found = _TRADE.match(text)
    if not found or not re.match(
        r"$|,| (?:at|for|in|by|from|with|who|and|on|here)\b", text[found.end() :]
    ):
        return ""
    return found[0]


def is_condition(text: str) -> str:
    """The passing condition that `text` states ("down", "in review"), "" if none.

    >>> is_condition("blocked by legal"), is_condition("5,000")
    ('blocked', '')
    """
    return _TRIMMED_STATE.sub("", text) if _CONDITION.match(text) else ""
