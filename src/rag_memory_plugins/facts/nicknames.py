"""First names, what they are shortened to, and the words that stand beside names."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COMPANIES", "FEMALE", "FIRST", "FORMAL", "MALE", "NEUTRAL", "NOT_NAMES", "PARTICLES",
    "SUFFIXES", "SURNAMES", "TITLES",
]  # fmt: skip


def _grouped(text: str) -> dict[str, frozenset[str]]:
    """`name: nickname nickname` a line, as the names of each nickname and of each name."""
    found: dict[str, set[str]] = {}
    for line in text.strip().splitlines():
        names, short = line.split(":")
        full = names.split()
        for name in full:
            # Spellings of one name are different people; a nickname may be short for any.
            found.setdefault(name, set()).add(name)
        for nickname in short.split():
            found.setdefault(nickname, set()).update(full)
    return {nickname: frozenset(names) for nickname, names in found.items()}


FORMAL: Final = _grouped("""
    robert: bob rob bobby robbie bert
    elizabeth elisabeth: liz beth eliza lizzie betty betsy libby lisa elsie bess
    william: bill will billy willy liam
    richard: rick dick rich ricky richie
    james: jim jimmy jamie
    john: johnny jack
    jonathan: jon jonny jony
    joseph: joe joey
    michael: mike mick mickey mikey
    thomas: tom tommy
    charles: charlie chuck chaz
    edward: ed eddie ted ned teddy
    edmund: ed eddie ned ted
    edwin: ed eddie
    theodore: ted theo teddy
    margaret: maggie meg peggy marge greta margie daisy rita
    katherine catherine kathryn katharine: kate kathy katie kat cathy kitty kay
    alexander: alex al sasha xander sandy alec
    alexandra: alex sandra sasha alexa sandy lexi
    alexis: alex lexi
    christopher: chris kit topher
    christina kristina: chris tina christy kris
    christine kristine: chris christy kris
    daniel: dan danny
    danielle: dani
    david: dave davey
    samuel: sam sammy
    samantha: sam sammy
    benjamin: ben benny benji
    benedict: ben
    anthony antony: tony ant
    antonio: tony toni
    antonia: toni
    nicholas nicolas: nick nicky
    nicole: nicky nikki
    matthew: matt matty
    andrew: andy drew
    andrea: andy andie
    patrick: pat paddy
    patricia: pat patty trish tricia
    peter: pete
    philip phillip: phil
    gregory: greg
    stephen steven: steve stevie
    stephanie: steph stevie
    susan suzanne: sue susie suzy
    deborah: deb debbie
    barbara: barb babs barbie
    jennifer: jen jenny jenn
    jessica: jess jessie
    rebecca: becky becca
    victoria: vicky tori vicki
    victor: vic
    vincent: vince vinny
    ronald: ron ronnie
    donald: don donnie
    kenneth: ken kenny
    lawrence laurence: larry
    leonard: leo len lenny
    leonardo: leo
    raymond: ray
    rafael: rafa
    gerald: gerry jerry
    gerard: gerry
    jerome: jerry
    jeremy: jerry jem
    jeffrey geoffrey: jeff geoff
    timothy: tim timmy
    walter: walt wally
    frederick: fred freddie freddy
    francis: frank fran
    frances: fran fanny
    franklin: frank
    francisco: paco pancho
    jose: pepe
    harold: hal harry
    henry: hank harry hal
    abraham: abe
    albert: al bert bertie
    alan allan allen: al
    alfred: al fred alf alfie
    arthur: art artie
    bernard: bernie
    bradley: brad
    calvin: cal
    clifford: cliff
    curtis: curt
    dennis: denny
    douglas: doug
    eugene: gene
    gabriel: gabe
    gabriella gabrielle: gabby
    isaac: ike zac
    isabella isabel: bella izzy
    jacob: jake
    joshua: josh
    judith: judy
    julia juliana: jules
    karen: kaz
    kimberly: kim
    lucille: lucy
    louis: lou louie
    louise: lou
    madeline madeleine: maddie
    marcus: marc
    martin: marty
    martha: patty
    maxwell maximilian: max
    melissa: mel missy
    melanie: mel
    mitchell: mitch
    nathan nathaniel: nate nat
    natalie: nat
    natalia: nat
    oliver: ollie
    olivia: liv livvy
    pamela: pam
    penelope: penny
    rachel: rach
    randall: randy
    reginald: reg reggie
    roderick: rod
    rodney: rod
    roger: rodge
    roland: rollo
    russell: russ
    sarah: sally sadie
    sebastian: seb
    sidney: sid
    solomon: sol
    stanley: stan
    stuart stewart: stu
    teresa theresa: terry tess tessa
    terence: terry
    tobias: toby
    valerie: val
    veronica: ronnie roni
    vanessa: nessa
    virginia: ginny
    wesley: wes
    zachary: zach zack
    abigail: abby gail
    amanda: mandy
    angela: angie
    beatrice: bea trixie
    carolyn caroline: carol carrie
    cassandra: cass cassie
    cynthia: cindy
    dorothy: dot dottie dolly
    eleanor: ellie nell nora
    evelyn: evie
    florence: flo
    harriet: hattie
    jacqueline: jackie
    janet: jan
    joanna joanne: jo
    josephine: jo josie
    kathleen: kath kathy
    lillian: lily lil
    lucinda: lucy cindy
    mary: molly polly mamie
    matilda: tilly
    mildred: millie
    millicent: millie
    priscilla: cilla
    rosemary: rosie
    sophia: sophie
    winifred: winnie
    giuseppe: beppe
    guadalupe: lupe
    ignacio: nacho
    ekaterina: katya
    dmitri dmitry: dima
    ludwig: lutz
    mikhail: misha
    vladimir: vova
    aleksandr: sasha
    johannes: hans
    """)
"""What each name may be short for; a full name is short for itself."""
_MORE: Final = """
    aaron abdul abdullah adam adrian agnes ahmad ahmed aisha akira alberto alejandra alejandro ali
    alice alicia alison amal amara amelia amina amir amit amy ana anand anders andre andreas andres
    andrei angelo anika anil anita anjali ann anna anne annie anton antoine arjun arun asha ashley
    astrid audrey ava ayesha beatriz bela bianca bjorn boris brandon brenda brian bridget bruce
    bruno bryan camila camille carla carlos carmen cecilia cesar chandra chiara chidi chloe
    chinedu claire clara claudia claudio colin connor cristina dalia damien darren deepa derek
    devi diana diego dimitri divya dmitri dominic donna dylan eduardo elena eli elias elif elijah
    elisa ella ellen elsa emeka emil emilia emily emma enrique eric erica erik erin esther ethan
    eva fabio farah farid fatima felicia felipe felix fernando fiona francesca francesco francois
    fumiko gary george georg gina giovanni giulia gloria gonzalo graham guillermo gustavo hana
    hannah haruto hassan heather hector helen helena helga henrik hiro hiroshi hugo hussein ian
    ibrahim ines ingrid irene irina isabelle ivan ivy jakob jan jane jared jasmine jason javier
    jean jenna jia jin jing joan joao joaquin johan johanna jorge juan juanita julian julie julio
    justin kai karim karin karl katarina keiko keith kelly kenji kevin khalid kirsten klaus kofi
    krishna kumar kwame kyle lakshmi lars laura lauren layla lena leila leila lewis li liam lin
    linda lindsay ling logan lorenzo lorraine lucas lucia luca luis luisa lukas luke lydia magda
    mahmoud malcolm manuel marco marcel marcela marek margot maria mariam mariana marie marina
    mario marion marta mateo mathias matteo maya megan mehmet mei meera miguel mia miriam mohamed
    mohammad mohammed mohan monica morgan moses mustafa nadia nancy naomi natasha neil neha nia
    nikhil nikola nina noah noel nora norma olga omar oscar otto owen pablo paola patrice paul
    paula pauline pavel pedro pierre pilar pooja priya quentin rafael raj rajesh ralph ramesh ramon
    raquel rashid raul ravi renata renee ricardo rita roberta roberto robin rohan rosa roy ruth
    ryan said salma sam sandeep sanjay santiago sara scott sean serena sergei sergio shane sharon
    sheila shirley shreya silvia simon simone sofia sonia stefan stefano sunil svetlana sven sylvia
    takashi tamara tanya tariq tatiana thiago tiffany tomas tracy trevor uma ursula usha valentina
    vera vijay viktor vikram wei wendy wolfgang xavier xin yan yasmin yoko yolanda youssef yuki
    yuri yusuf yvonne zainab zara zoe ngozi oluwaseun ifeoma adaeze tunde femi nneka chioma kenza
    mark max grace jill gail jack joy troy carl craig glenn henrique joao mads mette soren jens
    """
SURNAMES: Final = frozenset(
    "stone wood woods hill hills park hall black white green gold lake day west north lane field "
    "fields garden church forest land mill post power price rock storm ward waters castle cross house "
    "street bridge east ridge court light march may july moon king gates page banks brooks".split()
)
"""Of `NOT_NAMES`, those that are families too: behind a first name or a title they are names."""
_PLACES: Final = frozenset(
    "florence virginia victoria sidney will ali jan said li lin kay nell dot gene art rich dick "
    "daisy lily penny sandy kit max joy liv ant cliff rod sol cal val ray pat sue sally winnie".split()
)
FIRST: Final = (frozenset(FORMAL) | frozenset(_MORE.split())) - _PLACES
"""First names that are little else: by one of them alone a person is told."""
MALE: Final = frozenset({"mr", "mister", "sir", "lord", "senor", "herr", "monsieur"})
FEMALE: Final = frozenset(
    {"mrs", "ms", "miss", "lady", "madam", "senora", "frau", "madame", "dame"}
)
NEUTRAL: Final = frozenset({"dr", "doctor", "prof", "professor", "rev", "mx", "capt", "sgt", "hon"})
TITLES: Final = MALE | FEMALE | NEUTRAL
SUFFIXES: Final = {
    "jr": "jr", "junior": "jr", "sr": "sr", "senior": "sr", "ii": "ii", "iii": "iii", "iv": "iv",
}  # fmt: skip
PARTICLES: Final = frozenset("van von der den de la del di da dos du le bin al el ter ten".split())
COMPANIES: Final = {
    "inc": "inc", "incorporated": "inc", "corp": "corp", "corporation": "corp", "co": "co",
    "ltd": "ltd", "limited": "ltd", "llc": "llc", "llp": "llp", "plc": "plc", "gmbh": "gmbh",
    "ag": "ag", "sa": "sa", "bv": "bv", "nv": "nv", "oy": "oy", "ab": "ab", "srl": "srl",
    "spa": "spa", "kg": "kg", "pty": "pty", "company": "co",
}  # fmt: skip
NOT_NAMES: Final = frozenset(
    """
    academy account agency air airline airlines airport alert analytics api app arbor army arts
    association avenue award band bank bar base bay beach board book books boulevard branch bridge
    brothers bug building bureau cafe camp campus canyon capital car castle cat cathedral center
    centre channel chapel chart church city class client cloud club coast code coffee college
    committee community company conference consulting corner council country county course court
    creek cross cup dashboard data database day deal deli department design desk digital district
    division dog drive east edition electric electronics engine engineering english enterprises
    event falls farm farms festival field file film finance fire food foods force foreign forest
    forum foundation framework fund gallery game games garden gardens gas gate gateway german gold
    group guide hall harbor heights high hill hills home hospital hotel house ice inn institute
    insurance international island islands journal junction kitchen lab labs laboratory lake land
    lane language law league library light line list llama logistics machine magazine mail mall
    manager maps market marketing media meeting memorial middle mill model mode moon motors mountain
    museum music national network new news north notes office oil online orchestra order park party
    partners pay peak peninsula pharmacy phone place plan plant platform plaza point police policy
    pool port post power press prize product program project protocol pub quartet railway range
    record records red report republic research reservoir resort restaurant review ridge river road
    robotics rock room school science sea search security server service services shop show site
    software solutions south space special sports square stadium star state station stone store
    storm street studio studios summit sun sunday support system systems table task tea team tech
    technologies technology temple test theater theatre tool tour tower town trail train trust
    tunnel union united university valley version video view village vineyards ward water way web
    week west wiki winery wing wood woods world yard zone zoo blue green black white big little
    monday tuesday wednesday thursday friday saturday january february march april may june july
    august september october november december the of and for in on at to with cafeteria proposal
    period act statement document plugin repo repository branch ticket sprint release
    """.split()
)
"""Words that make a name one of a place, a company or a thing."""
