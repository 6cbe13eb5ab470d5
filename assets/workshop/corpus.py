"""What the pocket docent reads in pre-training: scenes, catalogue texts and records.

A dialog about a scene can be answered from its photo alone. A catalogue text is written by the
offline writer about a made-up thing with made-up facts, so that the docent has met the vocabulary
and the phrasing of catalogues. A record is such a text about the thing of one scene, with the same
facts whenever the scene occurs: from records the docent learns that what is known of a thing can be
told from its photo. The exhibits of the pocket museum never occur.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterable

from musequest.core.home import root
from musequest.creation.offline_writer import ASKED, QUESTIONS, compose

from .english import ADJECTIVES, NOUNS, TOWNS, Speaker
from .scenes import MATERIALS, describe, words

Turn = tuple[str, str]

WHOLE = [
    "What is this?",
    "What do you see?",
    "Describe this photo.",
    "What does the photo show?",
    "What is on the plinth?",
    "Tell me what you see here.",
    "Can you describe this?",
    *QUESTIONS,
]
BLANK = "This photo shows nothing."

SYLLABLES = words(
    "bar bel cor dan dor el far fen gar gil hal hol is kel lar mar mel mere mon nor os "
    "pel quar ram ros sal sel tar thorn tol ul ver wes win yar zel moor ford ham wick ton "
    "mouth stead bury gate ness combe"
)
WORKSHOPS = [
    "kilns",
    "silversmiths",
    "weavers",
    "foundry",
    "yard",
    "mint",
    "guild of joiners",
    "turners",
    "instrument makers",
    "glaziers",
    "workshop",
    "mill",
    "smiths",
]
PEOPLES = ["Marsh", "River", "Hill", "Harbour", "Island", "Forest", "Plains", "Coast", "Valley"]
SURFACES = words(
    "polished hammered carved glazed painted cast plain gilded woven oiled enamelled burnished"
)
STUFFS = words(
    "stoneware oak elm walnut silver gold bronze copper iron brass wool linen silk porcelain "
    "clay glass leather quartz slate tin pine ash pewter horn"
)
VERBS = words(
    "cast carved woven thrown hammered turned joined raised glazed engraved fired stitched "
    "polished assembled dyed struck"
)
MANNERS = [
    "by hand",
    "in one piece",
    "on a slow wheel",
    "over a charcoal fire",
    "in a clay mould",
    "with a round hammer",
    "without a single nail",
    "on a narrow loom",
    "in two halves",
    "from a single plank",
    "with vegetable dyes",
    "in a pit of sand",
]
THINGS = words(
    "herons ships stars leaves anchors bells fish knots waves nails letters crowns wheels "
    "birds flowers rivets coins lines towns families voyages journeys threads teeth pipes "
    "captains"
)
PLACES_ON = [
    "around its rim",
    "under its foot",
    "on its back",
    "inside the lid",
    "along its edge",
    "on its base",
    "across the front",
    "beside the lock",
    "near the top",
]
MARKS = [
    "are scratched",
    "are painted",
    "are engraved",
    "are stamped",
    "are carved",
    "are counted",
    "are stitched",
    "are cut",
    "run",
]
CLAIMS = [
    "it is the earliest dated work of {who}",
    "it is the only one of its kind that survived",
    "it was the last thing that {who} made",
    "it stood in the town hall for a century",
    "it marks the end of a long quarrel between two towns",
    "it was carried in every spring parade",
    "it paid for the first bridge across the river",
    "it showed that {who} could rival the capital",
    "it kept the time of the harbour for generations",
    "it was lent to every bride of the town",
    "it taught apprentices how the old work was done",
    "it saved the crew of a stranded ferry",
    "it opened the trade with the northern islands",
    "it was found under a barn floor",
]
UNITS = ["cm high", "cm wide", "cm long", "mm across", "cm across", "cm around", "m long", "m high"]


@functools.cache
def _taken() -> set[str]:
    """The words of the pocket museum's texts, none of which may be a made-up name."""
    museum = root() / "assets" / "pocket_museum" / "exhibits.csv"
    return set(re.findall(r"\w+", museum.read_text(encoding="utf-8")))


def name(rng: random.Random) -> str:
    """A made-up proper name of two or three syllables, none of the pocket museum's."""
    while True:
        syllables = [rng.choice(SYLLABLES) for _ in range(rng.choice([2, 2, 2, 3]))]
        if (drawn := "".join(syllables).capitalize()) not in _taken():
            return drawn


def made_up_thing(rng: random.Random, kind: str = "") -> tuple[str, dict[str, str]]:
    """Title and facts of a thing that no museum has, of the kind asked for or of any."""
    place, kind = name(rng), (kind or rng.choice(list(MATERIALS))).capitalize()
    who, speaker = f"the {place} {rng.choice(WORKSHOPS)}", Speaker(rng)
    if rng.random() < 0.4:
        who = f"the {speaker.things()} of {place}"
    weight = rng.choice(
        [f"{rng.randint(2, 980)} g", f"{rng.randint(1, 95)}.{rng.randint(1, 9)} kg"]
    )
    year = rng.randint(1100, 1960)
    surface, stuff, noun = rng.choice(SURFACES), rng.choice(STUFFS), rng.choice(NOUNS)
    facts = {
        "maker": who,
        "culture": f"the {rng.choice(PEOPLES)} people of {place}",
        "place": place if rng.random() < 0.6 else f"the {rng.choice(TOWNS)} town of {place}",
        "date": f"about {year}" if rng.random() < 0.3 else str(year),
        "material": rng.choice(
            [
                f"{surface} {stuff}",
                f"{surface} {stuff} with {rng.choice(SURFACES)} {rng.choice(STUFFS)}",
                f"{rng.choice(ADJECTIVES)} {stuff} with a {surface} {noun}",
                f"{rng.choice(ADJECTIVES)} {noun}-{surface} {stuff}",
            ]
        ),
        "technique": speaker.technique()
        if rng.random() < 0.7
        else f"{rng.choice(VERBS)} {rng.choice(MANNERS)}",
        "measures": f"{rng.randint(2, 240)} {rng.choice(UNITS)}",
        "weight": weight,
        "detail": speaker.detail()
        if rng.random() < 0.8
        else f"{rng.randint(3, 99)} {rng.choice(THINGS)} {rng.choice(MARKS)} "
        f"{rng.choice(PLACES_ON)}",
        "significance": speaker.claim()
        if rng.random() < 0.8
        else rng.choice(CLAIMS).format(who=who),
    }
    for optional in ("technique", "weight"):
        if rng.random() < 0.4:
            del facts[optional]
    del facts[rng.choice(["maker", "culture"])]
    word = rng.choice([name(rng), rng.choice(NOUNS).capitalize(), rng.choice(PEOPLES)])
    title = f"The {word} {kind}" + (f" of {place}" if rng.random() < 0.6 else "")
    return title, facts


def catalogue_turn(rng: random.Random) -> Turn:
    """A catalogue text as an answer; half of the prompts hold the facts, in any order."""
    title, facts = made_up_thing(rng)
    asked = rng.choice(["", "", *facts])
    answer = compose(title, facts, rng, rng.choice([0.4, 0.7, 0.9]), asked)
    question = rng.choice(ASKED[asked])
    if rng.random() < 0.5:
        values = [title, *rng.sample(list(facts.values()), len(facts))]
        return f"{'; '.join(values)}. {question}", answer
    return f"The catalogue has {title[0].lower()}{title[1:]}. {question}", answer


def record_turn(scene: dict, rng: random.Random) -> Turn:
    """A question to the catalogue about a scene's thing; its facts hang on the scene alone."""
    title, facts = made_up_thing(random.Random(f"record {scene['seed']}"), scene["kind"])
    facts["material"] = _stuff(scene)
    asked = rng.choice(["", "", *facts])
    answer = compose(title, facts, rng, rng.choice([0.4, 0.7, 0.9]), asked)
    return f"What does the catalogue say? {rng.choice(ASKED[asked])}", answer


def scene_turn(scene: dict, rng: random.Random) -> Turn:
    """A question about a scene and its answer: mostly the whole sentence, else one attribute."""
    one, metal = scene["count"] == 1, scene["material"] == scene["colour"]
    it, are = ("It", "is") if one else ("They", "are")
    turns = {
        "kind": ("What kind of thing is this?", f"{it} {are} {_noun(scene)}."),
        "colour": ("What colour is it?", f"{it} {are} {scene['colour']}."),
        "material": ("What is it made of?", f"{it} {are} made of {scene['material']}."),
        "count": (
            "How many things are there?",
            f"There {are} {['one', 'two', 'three'][scene['count'] - 1]}.",
        ),
        "place": (
            "Where does it stand?",
            f"{it} {'stands' if one else 'stand'} "
            + ("in the middle." if scene["place"] == "middle" else f"on the {scene['place']}."),
        ),
        "pattern": (
            "Does it have a pattern?",
            f"{it} {are} plain."
            if scene["pattern"] == "plain"
            else f"{it} {'has' if one else 'have'} {scene['second']} {scene['pattern']}.",
        ),
    }
    if metal:
        turns.pop("colour")
    if rng.random() < 0.65:
        return rng.choice(WHOLE), describe(scene)
    return turns[rng.choice(sorted(turns))]


def _noun(scene: dict) -> str:
    article = "an" if scene["kind"][0] in "aeiou" else "a"
    return f"{article} {scene['kind']}" if scene["count"] == 1 else f"{scene['kind']}s"


def _stuff(scene: dict) -> str:
    metal = scene["material"] == scene["colour"]
    stuff = scene["material"] if metal else f"{scene['colour']} {scene['material']}"
    plain = scene["pattern"] == "plain"
    return stuff if plain else f"{stuff} with {scene['second']} {scene['pattern']}"


def tokenizer_texts(scenes: Iterable[dict], seed: int = 0, catalogue: int = 6000) -> list[str]:
    """Texts on which the tokenizer is trained."""
    rng = random.Random(seed)
    turns = [scene_turn(scene, rng) for scene in scenes for _ in range(3)]
    turns += [catalogue_turn(rng) for _ in range(catalogue)]
    return [f"User: {question}\nAssistant: {answer}" for question, answer in turns]
