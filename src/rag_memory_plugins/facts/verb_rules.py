"""The rules by which verbs are read, as data: what verb, in which tense, with what behind it.

The names of groups are those of `patterns`. Every pattern takes a whole phrase, and each group of it
ends at one word or at the end, so that reading is linear in the length of a phrase.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rag_memory_plugins.facts.forms import third_of
from rag_memory_plugins.facts.patterns import NUMBER, Rule

__all__ = ["HELD", "VERBS"]

_LIVES: Final = r"(?:full[- ]time |part[- ]time |nights |days |shifts |remotely |freelance )?"
_JOB: Final = r"(?:a (?:new )?(?:job|role|position) |my new (?:job|role) |the job |working |work )?"
_DURABLE: Final = (
    "house|flat|apartment|condo|car|bike|bicycle|motorbike|motorcycle|boat|narrowboat|van|camper"
    "|piano|guitar|violin|cottage|farm|place|studio|garage|truck|scooter|tesla|e-bike|laptop|phone"
    "|camera|telescope|horse"
)
_NO_THING: Final = (
    r"(?:the |an? |\d+ |my own )?(?:risk|fever|temperature|tests?|bath|quick|few|couple|scripts?|check|scan|build|lot|bit|command|query"
    r"|errands?|blank|marathon|good|great|mistakes?|point|difference|mess|note|plan|list|call|decision|chance|way|look|effort|living|money)\b"
)
_NOT_HAD: Final = (
    r"(?:\w+ ){0,2}(?:question|problem|idea|feeling|lot|bit|look|headache|cold|fever|minute|minutes|moment|second|time|hours?|days?|weeks?|months?|doubt|doubts|plan|plans|chance|issue"
    r"|request|reason|point|favou?r|hunch|suggestion|few|couple|thing|things|good|great|bad|nice|clue|choice|option|options|problems|questions|issues|ideas|word|chat|talk"
    r"|tendency|hard|tough|rough|long|busy|dream|deadline|typo|error|bug|crush|theory|preference|soft|sweet|say|sense|complaints?|objections?|regrets?|left|hangover|need|memory|way|intention)\b"
)
HELD: Final = (
    "kids?|child(?:ren)?|sons?|daughters?|brothers?|sisters?|siblings?|twins|dogs?|cats?|pets?|horses?"
    "|puppy|puppies|kittens?|rabbits?|parrots?|labradors?|cars?|bikes?|house|flat|apartment|garden"
    "|degree|phd|diabetes|asthma|adhd|allergy|allergies|celiac|coeliac|licen[cs]e|passport|grandchildren"
    "|grandkids|nieces?|nephews?|customers?|employees|people|members|users|subscribers|engineers|staff"
    "|bees|chickens|hens|tortoise|goldfish|hamsters?|collie|terrier|poodle|spaniel|beagle|retriever"
)
_EVENT: Final = (
    "meeting|appointment|interview|exam|flight|call|wedding|presentation|surgery|operation|concert"
    "|trip|test|check-?up|viewing|review|training|class|holiday|party|hearing|scan"
)


_TABLE: Final = (
    ("live reside dwell stay", "life", "now doing since",
     r"(?:\w+ly )?in (?!(?:two|three|four|five|six|seven|eight|nine|ten|several|many|various|different|lots|\d+) |fear|hope|denial|poverty|peace|harmony|hell|chaos|strange|interesting|sin\b|a (?:world|bubble|society))(?P<lives_in>.+?)(?: with (?P<lives_with>.+))?"),
    ("live", "life", "now doing since", r"(?:with (?P<lives_with>.+?)(?: (?:in|at|on|near) .+)?|alone)"),
    ("live reside stay", "life", "now since", r"at (?P<lives_at>.*\d.*|.+(?:Street|Road|Lane|Avenue|Drive|Square|Close).*)"),
    ("live", "life", "now doing since", r"(?:just |right )?(?:outside|near|close to|north of|south of|east of|west of)(?: of)? (?P<lives_in>[A-Z].+)"),
    ("live", "life", "now doing since", r"on (?P<lives_on>.+)"),
    ("share", "habit", "now doing", r"(?P<what>an? [\w-]+|the [\w-]+) with (?P<shares>.+)"),
    ("give", "change", "past since doing will", r"up (?P<not_eats>(?:\w+ )?(?:meat|sugar|dairy|gluten|chocolate|carbs|bread|sweets|fish|cheese|pork|beef|eggs|crisps|cake|junk food))(?: for .+)?"),
    ("give", "change", "past since doing will", r"up (?P<not_drinks>(?:\w+ )?(?:coffee|alcohol|beer|wine|tea|soda|caffeine|booze|milk|cola))(?: for .+)?"),
    ("decide agree choose", "decision", "past since", r"not to (?P<not_to>[a-z]+ .+)|against (?P<not_doing>[a-z]+ing .+)"),
    ("listen", "habit", "now", r"to (?P<listens_to>.+)"),
    ("stay", "habit", "doing now will", r"with (?P<stays_with>.+)"),
    ("do", "habit", "now", r"(?P<does>(?!it|that|this|so|not|what|n't|you|have|think|need|want|my best|the same|everything|whatever|more|well|better)(?:roughly |about |around )?(?:yoga|pilates|crossfit|karate|judo|keto|intermittent fasting|ballet|improv|gymnastics|triathlons|marathons|parkrun|freelance work|shift work|night shifts|\d\S* .+|the (?:cooking|cleaning|shopping|ironing|books|accounts|laundry|school run))(?: .+)?)"),
    ("live", "plan", "will", r"in (?P<lives_in>.+)"),
    ("work", "life", "now doing since will",
     _LIVES + r"(?:at|for) (?P<works_at>.+?)(?: as (?P<works_as>.+))?"),
    ("work", "life", "now doing since will",
     _LIVES + r"as (?P<works_as>.+?)(?: (?:at|for) (?P<works_at>.+))?"),
    ("work", "life", "now doing since", r"in (?P<works_in>(?!a |an |my |it\b|progress|[A-Z][\w]+ (?:for|on)).+)"),
    ("work", "life", "now doing since", r"(?:\w+ly )?with (?P<works_with>.+)"),
    ("work", "habit", "now doing", r"on (?P<works_on>(?!(?:mon|tues|wednes|thurs|fri|satur|sun)day|weekend|a boat|it\b|that\b|this\b|holiday).+)"),
    ("work", "life", "now doing since", r"from (?P<works_from>home|[A-Z].+)"),
    ("work", "life", "now doing", r"(?P<works>nights|night shifts?|part[- ]time|full[- ]time|remotely|weekends)"),
    ("move relocate", "change", "past since", r"(?:back |here )?to (?P<lives_in>.+?)(?: from .+)?"),
    ("move relocate", "change", "past since", r"from .+? to (?P<lives_in>.+)"),
    ("move relocate", "plan", "doing will dated", r"(?:back )?to (?P<lives_in>.+?)(?: from .+)?"),
    ("switch migrate change", "change", "past since doing",
     r"(?:over )?from (?P<old>.+?) to (?P<uses>.+?)(?: for .+)?"),
    ("switch migrate", "change", "past since doing", r"(?:over )?to (?P<uses>.+?)(?: from (?P<old>.+))?"),
    ("join", "change", "past since will doing", r"(?P<works_at>[A-Z].+?)(?: as (?P<works_as>.+))?"),
    ("start begin", "change", "past since doing will", _JOB + r"(?:at|with) (?P<works_at>.+?)(?: as (?P<works_as>.+))?"),
    ("start", "change", "past since", r"(?:learning|studying) (?P<is_learning>.+)"),
    ("take", "change", "doing since past", r"(?:the|a) job (?:at|with) (?P<works_at>.+)"),
    ("take", "change", "doing since past will", r"over (?P<looks_after>.+?)(?: from .+)?"),
    ("leave quit", "change", "past since", r"(?:my|the) (?:job|role|position) (?:at|with) (?P<not_works_at>.+)"),
    ("look", "life", "now doing", r"after (?P<looks_after>.+)"),
    ("manage lead oversee maintain handle", "life", "now doing will", r"(?P<{0}>the .+|our .+|all .+|an? .+|[A-Z].+|\d+ .+)"),
    ("drop", "decision", "past since doing will", r"support for (?P<not_supports>.+)"),
    ("quit leave", "change", "past since", r"(?:the |my |our )(?P<not_is_a_member_of>(?:[\w-]+ )?(?:band|choir|club|team|gym|party|board|orchestra|committee|group|union|church|league))"),
    ("get", "change", "past since", r"(?P<is>divorced|engaged|married|promoted|laid off|made redundant|fired|vaccinated)"),
    ("report", "life", "now", r"(?:directly )?to (?P<reports_to>.+)"),
    ("belong", "others", "now", r"to (?P<belongs_to>.+)"),
    ("prefer", "taste", "now", r"(?P<prefers>.+)"),
    ("like love enjoy adore", "taste", "now doing",
     r"(?:(?:that|this|those|these) (?:new |little |old )?(?=\w+ \w)(?!you|he|she|it|they|we|i\b|my|the))?(?P<likes>.+)"),
    ("hate dislike detest loathe despise", "taste", "now", r"(?P<dislikes>.+)"),
    ("go", "taste", "since", r"off (?P<not_likes>.+)"),
    ("eat", "habit", "now", r"(?P<eats>(?!(?:breakfast|lunch|dinner|supper|out|well|healthy|healthily|too|fast|late|early|like|when)\b).+)"),
    ("eat drink smoke", "habit", "doing", r"(?P<{0}>.+)|(?P<any>)"),
    ("drink", "habit", "now", r"(?P<drinks>(?!(?:to|up|from|responsibly|with)\b).+)"),
    ("smoke", "habit", "now", r"(?P<smokes>.+)|(?P<any>)"),
    ("speak", "habit", "now", r"(?P<speaks>(?:(?:fluent|some|a (?:little|bit of)) )?[A-Z].+|(?:two|three|four|five|six|seven|\d+) languages)"),
    ("play", "habit", "now", r"(?P<plays>.+)"),
    ("play", "habit", "since", r"(?P<plays>.+)"),
    ("drive ride", "habit", "now", r"(?P<{0}>(?:an? |the )[\w-].+)"),
    ("wear", "habit", "now", r"(?P<wears>(?:glasses|contact lenses|size .+|contacts|hearing aids?))"),
    ("use", "habit", "now doing since", r"(?P<uses>.+?)(?: (?:for|as|to|in|at|on|when|instead) .+)?"),
    ("collect", "habit", "now", r"(?P<collects>.+)"),
    ("teach", "life", "now since", r"(?P<teaches>.+?)(?: (?:at|in|to) .+)?"),
    ("study", "life", "now doing", r"at (?P<studies_at>.+)"),
    ("study", "life", "now doing", r"(?P<studies>(?!at ).+?)(?: at (?P<studies_at>.+)| in the .+)?"),
    ("do", "life", "now doing",
     r"(?:a |an |my )(?:phd|ph\.d|doctorate|master'?s?(?: degree)?|degree|bachelor'?s?|mba|msc|ma|bsc|ba) (?:in )?(?P<studies>.+?)(?: at (?P<studies_at>.+))?"),
    ("learn", "habit", "doing since", r"(?:to (?:speak|play) )?(?P<is_learning>.+)"),
    ("rent", "habit", "now doing", r"(?P<rents>.+)"),
    ("own", "having", "now", r"(?P<owns>.+)"),
    ("have", "having", "now", rf"(?:got )?(?P<has>(?:\S+ ){{1,5}}?(?:{HELD})(?: (?:called|named|in|and|with|on|at|of) .+)?)"),
    ("have", "having", "now", rf"no (?P<not_has>(?:\S+ ){{0,3}}?(?:{HELD}|middle name))"),
    ("have", "having", "now", r"(?P<has>(?:an? )?(?:\w+ )?(?:allergy|intolerance)) to .+"),
    ("have", "having", "now", r"(?:got )?(?P<has>type [12] diabetes|diabetes|asthma|adhd|epilepsy|celiac disease|coeliac disease|high blood pressure|low blood pressure|migraines|arthritis|dyslexia|eczema|psoriasis|tinnitus|hay fever|(?:a )?bad (?:knee|back|hip|shoulder)|insomnia|vertigo|an? [\w-]+ (?:condition|disorder|syndrome|implant)|a pacemaker|perfect pitch|dual (?:citizenship|nationality))"),
    ("have", "plan", "now doing will dated", rf"(?:got )?(?P<has>(?:\S+ ){{0,4}}?(?:{_EVENT})(?: (?:with|in|at|for) .+)?)"),
    ("have", "having", "now", rf"(?:got )?(?P<has>(?:an? |one |two |three |four |five |six |\d+ |no |dual |both |any )(?!{_NOT_HAD})(?:[\w'-]+ ){{0,4}}?[\w'-]+(?:(?:, (?:and )?| and )(?:an? |one |two |three |no |zero )?(?:[\w'-]+ ){{0,3}}?[\w'-]+)*)"),
    ("pay", "habit", "now", r"(?P<cost>\S*\d\S*(?: (?:euros?|dollars|pounds|bucks))?(?: (?:an?|per) \w+)?) for (?P<of>.+)"),
    ("weigh", "having", "now", r"(?P<weight>\S*\d.*)"),
    ("marry", "plan", "will doing past since", r"(?P<is_married_to>[A-Z].+)"),
    ("get", "change", "past since", r"married to (?P<is_married_to>.+)"),
    ("get", "change", "past since", rf"(?P<has>an? (?:\w+ ){{0,2}}(?:{HELD}))"),
    ("adopt", "change", "past since", r"(?P<has>an? .+)"),
    ("retire", "change", "past since", r"(?:\w+)?(?P<any>)"),
    ("graduate", "life", "past since", r"from (?P<graduated_from>.+)"),
    ("grow", "life", "past", r"up in (?P<grew_up_in>.+)"),
    ("visit", "life", "since past", r"(?P<has_visited>[A-Z].+)"),
    ("be", "life", "since", r"to (?P<has_visited>[A-Z].+)"),
    ("buy", "change", "past since", rf"(?P<owns>(?:an? |the |our |my )(?:[\w-]+ ){{0,4}}?(?:{_DURABLE})(?: (?:in|on|near|at|called) .+)?)"),
    ("sell", "change", "past since", rf"(?P<not_owns>(?:an? |the |our |my )(?:[\w-]+ ){{0,4}}?(?:{_DURABLE})(?: (?:in|on|near|at|called) .+)?)"),
    ("volunteer", "life", "now doing", r"(?:at|for|with) (?P<volunteers_at>.+)"),
    ("support", "taste", "now", r"(?P<supports>[A-Z].+)"),
    ("renew support", "decision", "doing will now", r"(?P<{0}>(?:the|our|my) .+)"),
    ("cost", "others", "now", r"(?P<cost>\S*\d.*)"),
    # What one does for long: a thing with an article, a number or a name behind the verb.
    ("run coach chair head brew host organise organize tutor mentor supervise direct captain co-own co-host co-found found train moderate restore foster",
     "habit", "now since", rf"(?!{_NO_THING})(?P<{{0}}>(?:an? |the |my own |our |two |three |all (?:the )?|\d+ |[A-Z]).+)"),
    ("build paint repair edit write breed grow bake knit make sail row tend", "habit", "now",
     rf"(?!{_NO_THING})(?P<{{0}}>(?:my own |our own )?(?!a |an |the |my |our |it |you |that |this |sure|sense|up |out |to |about |in |on |me |them |for |with |so |do |love |your )(?:\w[\w-]* ){{0,2}}\w+(?:s|bread|beer|wine|fiction|poetry|cheese|furniture|code|pottery)(?: (?:in|at|for|on) .+)?)"),
    ("keep raise breed", "habit", "now", r"(?P<{0}>(?:\w+ ){0,2}(?:bees|chickens|hens|goats|sheep|horses|pigs|ducks|rabbits|koi|snakes|pigeons|alpacas|cattle|cows|geese|quails?|tortoises|donkeys|ferrets)(?: (?:in|on|at) .+)?)"),
    ("keep", "habit", "now", r"(?P<keeps>halal|kosher|(?:the )?sabbath|shabbat)"),
    ("take", "habit", "now often", r"(?P<takes>(?!care|notes|part|place|a (?:look|break|walk|nap|shower|bath)|it|that|my time|turns|time|days?)(?:\w[\w-]* ){0,3}[\w-]+(?: (?:to|for) .+)?)"),
    ("take", "habit", "now", r"(?P<takes>(?:(?:\S+ )?\d+ ?(?:mg|mcg|g|ml|iu) (?:of )?[\w-]+|(?:[\w-]+ )?(?:metformin|insulin|statins?|ibuprofen|antidepressants|antihistamines|vitamin \w+|blood thinners|beta blockers|medication|the pill|iron tablets))(?: for .+)?)"),
    ("go", "habit", "now often", r"to (?!bed|sleep|work|see|the (?:toilet|doctor))(?P<goes_to>.+)"),
    ("go", "habit", "now", r"to (?P<goes_to>the gym(?: on .+)?|church|mosque|mass|therapy|[A-Z][\w' ]+ (?:school|university|college|church|gym))"),
    ("go", "habit", "now", r"to (?P<goes_to>(?:the |an? )?(?:[\w'-]+ ){0,3}(?:school|university|college|church|mosque|synagogue|temple|kindergarten|nursery|gym|daycare|choir|therapy)(?: (?:in|at|on) .+)?)"),
    ("start begin", "plan", "now will doing dated", r"(?P<starts>(?!at |as |with |to |my |on |in |from |[a-z]+ing )(?:school|university|college|kindergarten|nursery|work|uni|high school|secondary school|primary school|an? .+|the .+|[a-z]+(?<!ing)))"),
    ("go", "name", "now", r"by (?P<name>[A-Z][\w'-]+)"),
    ("sing", "habit", "now", r"in (?P<sings_in>.+)|(?P<sings>soprano|alto|tenor|bass|baritone)(?: in .+)?"),
    ("serve sit", "habit", "now", r"on (?P<{0}_on>the .+|[A-Z].+|a .*(?:board|committee|council|panel).*)"),
    ("subscribe", "habit", "now", r"to (?P<{0}_to>.+)"),
    ("suffer", "habit", "now", r"from (?P<{0}_from>.+)"),
    ("commute", "habit", "now", r"by (?P<commutes_by>\w+)(?: .+)?|(?:in )?from (?P<commutes_from>[A-Z].+)|to (?P<commutes_to>[A-Z].+)"),
    ("specialise specialize major", "habit", "now doing", r"in (?P<{0}_in>.+)"),
    ("bank", "habit", "now", r"(?:with|at) (?P<banks_with>[A-Z].+)"),
    ("consult", "life", "now doing", r"for (?P<works_at>.+)"),
    ("freelance", "life", "now doing", r"as (?P<works_as>.+)|for (?P<freelances_for>.+)"),
    ("intern", "life", "now doing", r"(?:at|with) (?P<interns_at>.+)"),
    ("lecture", "life", "now", r"(?:in (?P<lectures_in>.+?))? ?(?:at (?P<lectures_at>.+))?"),
    ("train practise practice", "habit", "now", r"(?:at|with) (?P<{0}_at>(?:the |a )?\w.+)"),
    ("train study", "life", "doing", r"(?:to be|to become|to be an?|as) (?P<{1}_as>.+)"),
    ("depend rely", "others", "now", r"on (?P<{0}_on>(?:the |our |an? )?[\w.-]+(?: .+)?)"),
    ("care", "habit", "now doing", r"for (?P<looks_after>(?:my|our) .+)"),
    ("come hail", "life", "now", r"(?:originally )?from (?P<is_from>[A-Z].+|an? .+)"),
    ("attend", "habit", "now", r"(?P<attends>(?:an? |the )?.+)"),
    ("follow", "habit", "now", r"(?P<follows>(?:an? |the ).+ diet)"),
    ("wake get", "habit", "now", r"up at (?P<{0}_up_at>\d\S*(?: ?[ap]m)?|\w+|half (?:past )?\w+)(?: on .+)?"),
    ("turn", "change", "past since will doing", rf"(?P<age>\d{{1,2}}|{NUMBER})"),
    ("break split", "change", "past since", r"up with (?P<not_partner>[A-Z][\w'-]+|my .+)"),
    ("get", "change", "past since", r"engaged to (?P<is_engaged_to>.+)"),
    ("get", "change", "past since", r"promoted to (?P<works_as>.+)"),
    ("get", "change", "past since", rf"(?P<owns>(?:an? |my own )(?:new |second-hand |used )?(?:[\w-]+ ){{0,2}}?(?:{_DURABLE}))"),
    ("become", "change", "past since", r"(?P<works_as>(?:an? |the )?(?:[\w-]+ )?(?:head|manager|director|lead|chair|captain|engineer|teacher|nurse|partner|editor|treasurer)(?: of .+)?)"),
    ("hire employ", "decision", "past since", r"(?P<of>[A-Z][\w'-]+(?: [A-Z][\w'-]+)?) as (?P<works_as>.+)"),
    ("drop ditch abandon", "decision", "past since doing", r"(?P<not_uses>[A-Z][\w.+-]*(?: [A-Z][\w.+-]*)?)(?: (?:for|in favou?r of|as) .+)?"),
    ("cancel scrap", "decision", "past since doing", r"(?P<of>(?:the|our|my) .+)(?P<cancelled>)"),
    ("stick", "decision", "doing past since will now", r"(?:with|to) (?P<uses>(?!it|that|this|the (?:plan|old|current|same)|my )[\w.-].*?)(?: (?:for|as) (?P<of>.+))?"),
    ("name call rename", "decision", "past since doing will", r"(?P<of>(?:the|our|my) (?:[\w-]+ ){0,3}?[\w-]+) (?:to )?(?P<name>[A-Z]\w*(?: [A-Z0-9]\w*)?)"),
    ("hold", "having", "now", r"(?P<holds>(?:an? |two |dual |both )?.*(?:licen[cs]e|passport|citizenship|degree|phd|certificate|visa|nationality|patents?|record)(?: .+)?)"),
    ("earn make", "habit", "now", r"(?P<earns>(?:about |around |roughly )?[$\u20ac\u00a3]?\d\S*(?: (?:euros?|dollars|pounds|bucks|k))?(?: (?:an?|per) \w+)?(?: (?:before|after) tax| gross| net)?)"),
    ("owe", "having", "now", r"(?P<who>[A-Z][\w'-]+|my \w+|the \w+) (?P<owes>\S*\d\S*(?: [a-z]+)?|.+ (?:euros|dollars|pounds|bucks|quid))(?: for .+)?"),
    ("lend", "having", "past since", r"(?P<who>[A-Z][\w'-]+|my \w+) (?P<lent>.+)"),
    ("favour favor", "taste", "now", r"(?P<prefers>.+)"),
    ("host store keep", "decision", "will now", r"(?P<of>(?:our|the|all(?: our| the)?) .+?) (?:in|on|at) (?P<location>.+)"),
    ("volunteer", "habit", "now", r"as (?P<volunteers_as>.+)"),
    ("compete", "habit", "now", r"in (?P<competes_in>.+)"),
    ("retire graduate", "plan", "now doing will dated", r".*(?P<any>)"),
    ("launch ship release present deploy", "plan", "now dated", r".*(?P<any>)"),
    ("fly travel leave", "plan", "now dated", r".*(?P<any>)"),
    ("start begin", "plan", "now dated", _JOB + r"(?:at|with) (?P<works_at>.+?)(?: as (?P<works_as>.+))?"),
    ("start begin", "plan", "now doing will dated", r"(?:as (?P<works_as>.+))"),
    ("move relocate", "plan", "now dated", r"(?:back )?to (?P<lives_in>.+?)(?: from .+)?"),
    ("take last", "others", "now", r"(?P<{0}>(?:about |around |over )?\d+ .+?)(?: each way)?"),
    ("run expire", "others", "now", r"(?:out )?(?:on )?(?P<any>)"),
    ("go", "decision", "doing will since past", r"with (?P<uses>.+?)(?: (?:for|as) (?P<of>.+))?"),
    ("settle", "change", "past since", r"(?:down )?in (?P<lives_in>[A-Z].+)"),
    ("settle", "decision", "past since", r"(?:on|for) (?P<uses>(?!it\b|that\b|this\b|how\b|what\b|less\b).+?)(?: over .+?)?(?: (?:for|as) (?P<of>.+))?"),
    ("choose pick opt", "decision", "past since", r"(?:on |for )?(?P<uses>.+?)(?: over .+?)?(?: (?:for|as) (?P<of>.+))?"),
    ("use", "decision", "will", r"(?P<uses>.+?)(?: (?:for|as) (?P<of>.+))?"),
    ("decide agree", "decision", "past since", r"to (?P<plans_to>.+)"),
    ("decide agree settle", "decision", "past since", r"on (?P<uses>(?!an? |it\b|that\b|how\b|what\b).+?)(?: (?:for|as) (?P<of>.+))?"),
    ("plan", "plan", "now doing", r"(?:to|on) (?P<plans_to>.+)"),
)  # fmt: skip
"""Verbs, family, tenses and conditions, and the pattern of what stands behind; "{0}" is he or she does."""


def _rules() -> dict[str, tuple[Rule, ...]]:
    found: dict[str, list[Rule]] = {}
    for verbs, family, tenses, pattern in _TABLE:
        for verb in verbs.split():
            named = pattern.replace("{0}", third_of(verb).replace("-", "_"))
            named = named.replace("{1}", "is_training" if verb == "train" else "is_studying")
            expression = re.compile(named, re.IGNORECASE if "[A-Z]" not in named else 0)
            when = frozenset(tenses.split())
            rule = Rule(family, when, expression, "dated" in when, "often" in when)
            found.setdefault(verb, []).append(rule)
    return {verb: tuple(rules) for verb, rules in found.items()}


VERBS: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType(_rules())
"""The rules of each verb, in the order they are tried."""
