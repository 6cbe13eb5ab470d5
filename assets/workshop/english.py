"""Plain English for made-up facts: common words and the sentences they are put together in.

The pocket docent needs words before it can learn facts. A tokenizer and a text model that have only
met a few dozen nouns spell every other word letter by letter, and tuning then spends its steps on
spelling. The facts made here are nonsense on purpose ("the baker lent it to 31 quiet sailors").
"""

from __future__ import annotations

import random

from .scenes import words

NOUNS = words(
    "acorn afternoon almond anchor angle animal answer ant apple apron arch arm arrow artist "
    "ash attic autumn axe baby back bag baker ball band bank banner bar bark barn barrel basin "
    "basket bath beach bead beam bean bear beard bed bee beetle bell bellows belt bench berry "
    "bird birth blade blanket blossom board boat body boiler bolt bone book boot border bottle "
    "bottom boundary bow bowl box boy branch bread breakfast breath brick bride bridge bristle "
    "broom brother bucket building bundle butcher butter button cabin cable cage cake candle "
    "canvas cap captain card cargo carpenter carpet carriage cart case cask castle cat cellar "
    "century chain chair chalk chamber channel chapel cheese cherry chest child chimney church "
    "circle city clay clerk cliff cloak clock cloth cloud coal coast coat coin collar colour "
    "comb comet cook cord cork corn corner cottage council country couple court cousin cover "
    "cow cradle craft crane crew crop crown cup curtain cushion custom dancer daughter dawn day "
    "debt deck deer desk dial dinner dish ditch dock doctor dog door drain drawer drawing dream "
    "dress driver drop drum duck dust dye eagle ear earth edge egg elbow end engine entry "
    "envelope evening eye fabric face fair family farm farmer father feast feather fence fern "
    "ferry festival field finger fire fish fisherman flag flame flask fleet flight flint flood "
    "floor flower fly fog foot ford forest fork fountain fox frame friend fringe frog frost "
    "fruit fur furnace garden gate gear giant gift girl glass glaze glove glue goat goose grain "
    "grandmother grape grass grave guard guest guild gull hail hair hall hammer hand handle "
    "harbour hare harvest hat hawk hay head heart hearth heat hedge heel helmet hem hen herb "
    "herd hero hill hinge hive hole home honey hook horn horse hospital host hour house hub "
    "hull hunter husband ice ink inn insect iron island ivy jar jewel joint journey judge jug "
    "kettle key kiln king kitchen kite knee knife knot lace ladder lady lagoon lake lamb lamp "
    "land lane lantern lark lawn leaf leather leg lemon length lens lesson letter lid light "
    "lighthouse lily lime line linen lining lion lip list load loaf lock locust loom lord "
    "machine maid mail man map mark market marsh mast master match meadow meal measure meat "
    "melody member merchant metal midnight mile milk mill miller mine miner minute mirror "
    "moment money monk month moon morning moss moth mother motor mould mountain mouse mouth "
    "music nail name neck needle neighbour nest net nettle night noise noon nose note nun nurse "
    "nut oak oar oath office oil onion orchard order organ ornament oven owl owner ox page "
    "paint palace palm pan pane paper parade parcel parent parlour partner passenger path "
    "patience pattern payment pea peace peach peak pear peat pebble pen pendulum people pepper "
    "petition photograph piano picture pie pier pig pigeon pillow pilot pin pipe pit plank "
    "plant plaster plate player plough plum pocket poem poet point pole pond pony poppy port "
    "portrait post pot potato potter powder prayer present price priest prince print prison "
    "prize promise proof pupil purse puzzle quarrel queen rabbit rail rain rat raven reader "
    "recipe record reed relic rent repair reward rhythm ribbon rice rim ring ripple river road "
    "robe rock rod roof room root rope rose row rudder rug rule ruler sack saddle sail sailor "
    "salt sand sapphire saucer saw scale scar school scissors screw sea seal season seat secret "
    "seed sentence servant shadow shaft shape shawl sheep sheet shelf shell shepherd shift ship "
    "shirt shoe shop shore shoulder shovel shower sign signal silk sink sister skin skirt sky "
    "slate sleeve slope smith smoke snail snake snow soap soil soldier son song soot sound soup "
    "spade spark sparrow speech spider spike spill spine spoke spoon spot spout spring square "
    "stable staff stage stair stake stalk stamp star statue steam steel stem step stick "
    "stocking stone stool store storm stove stranger straw stream street string stripe student "
    "sugar suit summer sun sunset supper swan sword table tail tailor task tea teacher team "
    "tear teeth temple tent thorn thread throne thumb thunder ticket tide tile time tin toe "
    "tongue tooth top torch towel tower town toy track trade trader train tray treasure "
    "treasury treaty tree trial tribe trick trip troop trunk tub tune tunnel turnip turtle twig "
    "twin uncle valley vase vat vessel village vine vinegar violin visit visitor voice voyage "
    "wage wagon waist wall walnut war warehouse wash water wave wax weather weaver wedding week "
    "weight well whale wheat wheel whistle widow wife wind window wine wing winter wire witness "
    "wolf woman wood wool word work world worm wound wreath wreck wrist writer yard year"
)
ADJECTIVES = words(
    "ancient angry bare beautiful bent best big bitter black blind blue bold braided brass "
    "brave bright broad broken brown burnt busy careful cheap clean clear clever clumsy coarse "
    "cold common cool copper correct cracked crooked curved daily dark deaf dear deep dim "
    "double dry dull early eastern electric empty equal even extra faded faint fair false "
    "famous far fast fat favourite final fine firm first flat fond forbidden foreign free fresh "
    "front full gentle gilt glowing golden good great green grey half happy hard heavy hidden "
    "high hollow holy honest hot hungry idle inner iron kind large last late lazy left light "
    "little local lonely long loose lost loud low lucky many married mean merry mixed modern "
    "narrow near neat new newest next noble noisy northern odd old oldest only open orange "
    "ordinary outer painted pale patient perfect pink plain pleasant polished poor pretty "
    "private proud public pure quick quiet rare raw ready red rich right ripe rival rough round "
    "royal rusty sad safe salty same scarlet secret severe shallow sharp short shrunken shy "
    "sick silent silver simple single skilled sleepy slow small smooth soft solid sour southern "
    "spare square steep sticky still stolen stout straight strange strict striped strong "
    "stubborn sudden sweet tall tame tarred thick thin third tight tiny tired torn tough turned "
    "twisted unopened upper upside useful usual violet warm weak wealthy western wet whole wide "
    "wild wise wooden worn worth wrong yellow young"
)
# Past form and past participle.
VERBS: dict[str, str] = dict(
    pair.split("/")
    for pair in words(
        "added/added agreed/agreed asked/asked baked/baked beat/beaten began/begun bent/bent "
        "blew/blown boiled/boiled bored/bored borrowed/borrowed bought/bought bound/bound "
        "broke/broken brought/brought built/built buried/buried burned/burned called/called "
        "carried/carried carved/carved cast/cast caught/caught changed/changed charged/charged "
        "chose/chosen claimed/claimed cleaned/cleaned closed/closed collected/collected "
        "coloured/coloured compared/compared completed/completed cooled/cooled copied/copied "
        "corrected/corrected counted/counted covered/covered cracked/cracked crossed/crossed "
        "cured/cured cut/cut decorated/decorated delivered/delivered described/described "
        "designed/designed dipped/dipped discovered/discovered drained/drained drank/drunk "
        "drew/drawn dried/dried drove/driven dropped/dropped dug/dug dyed/dyed earned/earned "
        "ended/ended enlarged/enlarged exchanged/exchanged explained/explained fed/fed "
        "filled/filled finished/finished fired/fired fitted/fitted fixed/fixed flooded/flooded "
        "folded/folded followed/followed forged/forged forgot/forgotten found/found "
        "founded/founded gathered/gathered gave/given greeted/greeted ground/ground grew/grown "
        "guarded/guarded guided/guided hammered/hammered heard/heard heated/heated held/held "
        "helped/helped hid/hidden hung/hung inherited/inherited inked/inked invented/invented "
        "invited/invited joined/joined kept/kept knew/known laced/laced laid/laid "
        "launched/launched learned/learned left/left lent/lent lifted/lifted lined/lined "
        "listed/listed lit/lit loaded/loaded lost/lost lowered/lowered made/made marked/marked "
        "married/married measured/measured melted/melted mended/mended met/met mixed/mixed "
        "moved/moved named/named needed/needed noticed/noticed opened/opened ordered/ordered "
        "packed/packed paid/paid painted/painted passed/passed photographed/photographed "
        "picked/picked pinned/pinned placed/placed planned/planned planted/planted "
        "played/played polished/polished poured/poured praised/praised pressed/pressed "
        "pricked/pricked promised/promised proved/proved pulled/pulled pushed/pushed "
        "raised/raised read/read received/received recorded/recorded remembered/remembered "
        "removed/removed renewed/renewed repainted/repainted repaired/repaired "
        "replaced/replaced rescued/rescued restored/restored returned/returned "
        "revealed/revealed rode/ridden rolled/rolled rowed/rowed ruined/ruined rubbed/rubbed "
        "sank/sunk saved/saved sawed/sawn scattered/scattered scraped/scraped "
        "scratched/scratched sealed/sealed sent/sent served/served set/set settled/settled "
        "sewed/sewn shaped/shaped shared/shared sharpened/sharpened showed/shown shrank/shrunk "
        "signed/signed smoked/smoked sold/sold spilled/spilled split/split spoiled/spoiled "
        "spun/spun stamped/stamped stole/stolen stopped/stopped stored/stored struck/struck "
        "stuffed/stuffed supplied/supplied surprised/surprised swept/swept took/taken "
        "tarred/tarred taught/taught tested/tested thanked/thanked threaded/threaded "
        "threw/thrown tied/tied timed/timed told/told touched/touched traded/traded "
        "trained/trained trapped/trapped travelled/travelled tried/tried turned/turned "
        "twisted/twisted used/used visited/visited walked/walked warmed/warmed warned/warned "
        "washed/washed watched/watched weighed/weighed wiped/wiped won/won wore/worn wove/woven "
        "wrapped/wrapped wrote/written"
    )
)
PREPOSITIONS = words(
    "above across after against along among around at before behind below beneath beside "
    "between beyond by during for from in inside near of off on onto outside over past since "
    "through throughout toward under underneath until upon with within without"
)
SMALL = words(
    "about again all almost already also always another any as away back both but each either "
    "enough even ever every few here how if instead its itself just later least less many more "
    "most much must neither never no nobody none nor not nothing now often once one only other "
    "others perhaps quite rather several should since so some something soon still such than "
    "that then there therefore these they this those though three together too twice two until "
    "very what when where whether which while who whoever whom whose why yet"
)
ADVERBS = words(
    "badly barely boldly bravely brightly carefully cheaply closely darkly deeply early easily "
    "evenly faintly finely firmly freely gently gladly hardly heavily highly kindly late "
    "lightly loosely loudly merely nearly neatly newly nightly openly partly plainly poorly "
    "proudly quickly quietly rarely roughly safely secretly sharply silently slowly softly "
    "thickly thinly tightly twice warmly weekly widely wildly yearly"
)
TOWNS = words(
    "town village port city island valley harbour market mill river coast hill fishing mining "
    "ferry forest mountain lake border spa"
)


def plural(noun: str) -> str:
    """The plural of a regular noun; a noun that looks like a plural stays."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return noun + "s"


class Speaker:
    """Draws phrases of common words from a random generator."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def thing(self) -> str:
        """A noun, half of the time with an adjective, without its article."""
        noun = self.rng.choice(NOUNS)
        return f"{self.rng.choice(ADJECTIVES)} {noun}" if self.rng.random() < 0.5 else noun

    def a_thing(self) -> str:
        """A thing with its article or another word before it."""
        thing = self.thing()
        article = "an" if thing[0] in "aeiou" else "a"
        return f"{self.rng.choice([article, article, 'the', 'the', 'its', 'every'])} {thing}"

    def things(self) -> str:
        """A plural, half of the time with an adjective."""
        *before, noun = self.thing().split()
        return " ".join([*before, plural(noun)])

    def number(self) -> str:
        """A whole number below 100, small ones more often."""
        return str(self.rng.randint(2, self.rng.choice([9, 30, 99])))

    def past(self) -> str:
        """A verb in its past form."""
        return self.rng.choice(list(VERBS))

    def done(self) -> str:
        """A past participle."""
        return self.rng.choice(list(VERBS.values()))

    def where(self) -> str:
        """A preposition and a thing."""
        return f"{self.rng.choice(PREPOSITIONS)} {self.a_thing()}"

    def detail(self) -> str:
        """A clause with a number, such as a catalogue tells of an object's particular."""
        return self.rng.choice(
            [
                f"{self.number()} {self.things()} are {self.done()} {self.where()}",
                f"a {self.rng.choice(NOUNS)} of {self.number()} {self.things()} is {self.done()} "
                f"{self.where()}",
                f"its {self.thing()} {self.past()} {self.number()} {self.things()}",
                f"the other {self.number()} {self.things()} {self.where()} had {self.done()}",
                f"{self.things()} {self.past()} it {self.where()} with {self.number()} others",
                f"{self.a_thing()} {self.past()} {self.a_thing()} for {self.number()} "
                f"{self.things()} of {self.rng.choice(NOUNS)}",
            ]
        )

    def claim(self) -> str:
        """A clause that says why a thing matters; its subject is `it`."""
        small = self.rng.choice(SMALL)
        return self.rng.choice(
            [
                f"it {self.past()} {self.a_thing()} of {self.thing()} {self.where()}",
                f"it was the {self.thing()} of {self.a_thing()} who was {small} {self.done()}",
                f"it is {small} the {self.thing()} {self.done()} {self.where()}",
                f"it ended the {self.thing()} of {self.things()} {self.where()}",
                f"it was {self.rng.choice(ADVERBS)} {self.done()} {self.where()}",
                f"it showed that {small} {self.things()} could be {self.done()} {self.where()}",
            ]
        )

    def technique(self) -> str:
        """How a thing was made: a participle first."""
        return self.rng.choice(
            [
                f"{self.done()} {self.where()}",
                f"{self.rng.choice(ADVERBS)} {self.done()} and {self.done()} {self.where()}",
                f"{self.done()} from {self.number()} {self.things()}",
            ]
        )
