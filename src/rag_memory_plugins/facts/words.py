"""The words that values and predicates are compared with: spelling, filler, synonyms, lookalikes."""

from __future__ import annotations

from typing import Final

from rag_memory_plugins.router import guard_words as known

__all__ = [
    "ADJECTIVES",
    "CAPITALS",
    "CONFUSED",
    "EMPHASIS",
    "ENDINGS",
    "FILLER",
    "FILLERS",
    "FLOATING",
    "LETTERED",
    "LOOKALIKES",
    "MOVABLE",
    "NEGATIONS",
    "NO_PLURALS",
    "PLURALS",
    "PREFIXES",
    "PREPOSITIONS",
    "SPELLING",
    "WHOLE",
]


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> dict[str, str]:
    """`british=american` words, each with its common endings."""
    found = {}
    for pair in text.split():
        left, right = pair.split("=")
        for ending in ("", "s", "d", "ed", "r", "ing", "al", "able", "ful", "ite", "ites"):
            found[left + ending] = right + ending
    return found


SPELLING: Final = _pairs("""
    colour=color favour=favor honour=honor labour=labor neighbour=neighbor behaviour=behavior
    flavour=flavor harbour=harbor humour=humor rumour=rumor armour=armor vapour=vapor savour=savor
    endeavour=endeavor parlour=parlor odour=odor tumour=tumor vigour=vigor neighbourhood=neighborhood
    centre=center theatre=theater litre=liter metre=meter fibre=fiber calibre=caliber kilometre=kilometer
    millimetre=millimeter centimetre=centimeter kilogramme=kilogram defence=defense offence=offense
    licence=license practise=practice grey=gray cheque=check programme=program tyre=tire
    jewellery=jewelry aluminium=aluminum catalogue=catalog dialogue=dialog analogue=analog
    cosy=cozy plough=plow pyjama=pajama mum=mom moustache=mustache sceptical=skeptical storey=story
    kerb=curb aeroplane=airplane enrol=enroll fulfil=fulfill skilful=skillful paediatric=pediatric
    paediatrician=pediatrician anaesthetic=anesthetic anaesthetist=anesthetist gynaecologist=gynecologist
    orthopaedic=orthopedic manoeuvre=maneuver encyclopaedia=encyclopedia mould=mold ageing=aging
    judgement=judgment acknowledgement=acknowledgment travelling=traveling traveller=traveler
    travelled=traveled cancelled=canceled cancelling=canceling labelled=labeled labelling=labeling
    modelled=modeled modelling=modeling fuelled=fueled signalling=signaling counsellor=counselor
    levelled=leveled marvellous=marvelous woollen=woolen learnt=learned burnt=burned dreamt=dreamed
    spelt=spelled organise=organize realise=realize
    recognise=recognize specialise=specialize apologise=apologize optimise=optimize
    minimise=minimize maximise=maximize customise=customize prioritise=prioritize
    summarise=summarize finalise=finalize normalise=normalize authorise=authorize
    categorise=categorize organisation=organization realisation=realization
    specialisation=specialization authorisation=authorization optimisation=optimization
    organising=organizing realising=realizing specialising=specializing optimising=optimizing
    customising=customizing analyse=analyze paralyse=paralyze analysing=analyzing
    organiser=organizer optimiser=optimizer unauthorised=unauthorized disorganised=disorganized
    unorganised=unorganized okay=ok
    """)
"""British spellings and what an American writes."""
WHOLE: Final = {
    "&": "and", "dept": "department", "govt": "government", "approx": "approximately",
    "ceo": "chief executive officer", "cto": "chief technology officer",
    "cfo": "chief financial officer", "coo": "chief operating officer", "vp": "vice president",
    "phd": "phd", "usa": "united states", "mgr": "manager", "asap": "as soon as possible",
    "vs": "versus", "incl": "including", "w/o": "without", "w/": "with", "pct": "percent",
    "dont": "do not", "doesnt": "does not", "didnt": "did not", "isnt": "is not",
    "arent": "are not", "wasnt": "was not", "cannot": "can not", "couldnt": "could not",
    "wouldnt": "would not", "shouldnt": "should not", "hasnt": "has not", "havent": "have not",
    "cant": "can not", "wont": "will not", "can't": "can not", "won't": "will not",
    "shan't": "shall not", "ain't": "is not", "let's": "let us", "it's": "it is", "he's": "he is",
    "she's": "she is", "that's": "that is", "there's": "there is", "what's": "what is",
    "i'm": "i am", "jan": "january", "feb": "february", "apr": "april", "jun": "june",
    "jul": "july", "aug": "august", "sept": "september", "sep": "september", "oct": "october",
    "nov": "november", "dec": "december", "mon": "monday", "tue": "tuesday", "tues": "tuesday",
    "thu": "thursday", "thur": "thursday", "thurs": "thursday", "fri": "friday",
}  # fmt: skip
"""Words that stand for others wherever they are."""
CAPITALS: Final = {
    "US": "united states", "UK": "united kingdom", "EU": "european union", "UN": "united nations",
    "HR": "human resources", "AI": "artificial intelligence", "ML": "machine learning",
    "QA": "quality assurance", "NZ": "new zealand", "UAE": "united arab emirates",
    "Wed": "wednesday", "Sat": "saturday", "Mar": "march",
}  # fmt: skip
"""As `WHOLE`, but only as they are written here: "us" is another word."""
ENDINGS: Final = (("n't", "not"), ("'re", "are"), ("'ve", "have"), ("'ll", "will"), ("'d", "would"))
LETTERED: Final = _listed(
    "team group plan class grade type vitamin hepatitis option section block building gate terminal "
    "unit level phase part area zone series model variant version appendix exhibit schedule tier "
    "room floor line platform ward hall wing column row lane company shift drive disk influenza "
    "omega blood choice answer question figure table chapter volume product project stage track"
)
"""Nouns that a letter may follow: there an "a" is no article."""

FILLER: Final = _listed("currently now presently nowadays")
EMPHASIS: Final = _listed("just actually basically simply really exactly precisely")
"""Filler too, but not in a negated value: what is not just a cat is a cat."""
FILLERS: Final = (
    ("at", "moment"), ("right", "now"), ("these", "days"), ("at", "present"), ("as", "of", "now"),
    ("at", "this", "time"), ("city", "of"), ("town", "of"), ("village", "of"),
)  # fmt: skip
FLOATING: Final = _listed(
    "usually often always sometimes mostly daily weekly monthly yearly annually regularly generally "
    "normally typically frequently occasionally rarely today tomorrow yesterday"
)
"""Words that mean the same before and behind what they belong to."""
ADJECTIVES: Final = _listed(
    "red blue green yellow black white brown pink purple orange gray golden silver big small large "
    "little huge tiny tall short long old new young modern ancient cheap expensive nice beautiful "
    "ugly wooden metal plastic leather round square italian french german spanish portuguese "
    "japanese chinese american british indian mexican electric vintage used quiet noisy warm cold "
    "soft hard heavy clean dirty spicy sweet sour dry wet fluffy shiny"
)
PREPOSITIONS: Final = _listed(
    "in on at since until till from to by for with during of than over under before after between "
    "into onto via without against about as but not then per via like except instead near behind"
)
MOVABLE: Final = _listed("in on at since until till from to by for during near")
"""Phrases that begin with one of these may come in any order."""
NEGATIONS: Final = known.NEGATIONS | _listed("stopped quit former ex anymore neither")

PLURALS: Final = {
    "children": "child", "men": "man", "women": "woman", "people": "person", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "geese": "goose", "knives": "knife", "wives": "wife",
    "wolves": "wolf", "halves": "half", "shelves": "shelf", "loaves": "loaf", "thieves": "thief",
    "tomatoes": "tomato", "potatoes": "potato", "heroes": "hero", "buses": "bus", "movies": "movie",
    "cookies": "cookie", "shoes": "shoe", "quizzes": "quiz", "analyses": "analysis",
    "crises": "crisis", "houses": "house", "horses": "horse", "nurses": "nurse",
    "courses": "course", "pies": "pie", "ties": "tie",
}  # fmt: skip
NO_PLURALS: Final = _listed(
    "news means series species glasses arms goods customs clothes pants spirits headquarters thanks "
    "manners looks savings minutes contents damages papers works airs colors forces grounds letters "
    "lens gas bus yes always sometimes towards besides perhaps this his hers its ours yours theirs "
    "mathematics physics economics politics athletics gymnastics ethics statistics logistics chess "
    "does was has is diabetes measles rabies christmas texas paris london james charles thomas "
    "monday mondays tuesday tuesdays wednesday wednesdays thursday thursdays friday fridays saturday "
    "saturdays sunday sundays weekday weekdays weekend weekends mornings evenings nights afternoons "
    "alas atlas canvas bias pancreas overseas whereas afterwards indoors outdoors upstairs downstairs "
    "data media genetics basics lots stairs scales shorts jeans tights needs brains wages greens "
    "odds ends outskirts belongings surroundings proceedings earnings winnings premises remains arts"
)
"""Words whose s is not that of a plural, or whose plural means something else."""

LOOKALIKES: Final = """
    alteration alternation, alterations alternations, automation automaton, barking braking,
    breading breeding, canvases canvasses, carving craving, casually causally,
    climactically climatically, commanded commended, compiled complied,
    compiles complies, complaint compliant, complement compliment, complementary complimentary,
    complemented complimented, complementing complimenting, complements compliments,
    conservation conversation, conservations conversations, contacted contracted,
    contacting contracting, contactor contractor, convection conviction, dairies diaries,
    deprecate depreciate, deprivation depravation, derivation deprivation, derivations deprivations,
    desolation dissolution, factional fractional, fathering feathering, fictional frictional,
    floundered foundered, floundering foundering, gradation graduation, gradations graduations,
    immanent imminent, immorality immortality, infection inflection, infections inflections,
    installation instillation, installations instillations, installed instilled,
    installing instilling, interment internment, interments internments, lightening lightning,
    marital martial, maritally martially, marketeers marketers, mediating meditating,
    mediation medication, mediation meditation, mediations medications, multiples multiplies,
    ordinances ordnances, peasantry pleasantry,
    personality personalty, planing planning, plantation planation, production reduction,
    radiation radication, reflection refection, retired retried, scaring scarring, scraped scrapped,
    scraping scrapping, signers singers, signing singing, staring starring, stationary stationery,
    striped stripped, striping stripping, thrashed threshed, thrashing threshing, taping tapping,
    complains complaints, constrains constraints, material maternal,
    coordination coronation, prediction predication, medication dedication, sedation sedition,
    vocation vacation, vocational vacational, dependants dependents,
    dependant dependent, confidant confident, confidants confidents, corporation cooperation,
    corporations cooperations,
    cooperate corporate, cooperative corporative, unreserved unreversed,
    competing completing, assembles assemblies,
    summaries summarizes, presentment presentiment, intercession intersession
    """
"""Pairs of words that one slip of a finger tells apart, and that are both words."""
CONFUSED: Final = frozenset(frozenset(pair.split()) for pair in LOOKALIKES.split(","))
PREFIXES: Final = (
    ("hyper", "hypo"), ("inter", "intra"), ("pre", "pro"), ("pre", "per"), ("micro", "macro"),
    ("in", "im"), ("over", "under"), ("anti", "ante"), ("ant", "aunt"), ("im", "em"), ("il", "al"),
    ("mis", "dis"), ("super", "supra"), ("para", "peri"), ("uni", "un"), ("re", "ra"), ("de", "di"),
    ("per", "par"), ("bi", "be"), ("fore", "for"), ("hetero", "homo"), ("ab", "ad"), ("in", "un"),
)  # fmt: skip
"""Beginnings that make another word of the same rest."""
