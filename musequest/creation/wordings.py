"""What visitors ask and how facts are worded: the tables of the offline writer's grammar.

In a wording, {S} is the exhibit at the start of a sentence (its title, or "It"), {s} the same
inside a sentence, and each fact's own name its value; {Maker} is the maker with a capital letter
and {when} a date with its preposition ("in 1742", "about 1618"). A fact with another name than
these tables know has {name} and {value}. The plainest wordings come first: low temperatures use
these alone.
"""

from __future__ import annotations

# The fact a question asks for, which the answer then tells first; "" asks for all of it.
ASKED: dict[str, tuple[str, ...]] = {
    "": (
        "What am I looking at?",
        "What is this?",
        "Can you tell me about this piece?",
        "What is the story of this exhibit?",
        "What should I know about this object?",
        "Could you introduce this exhibit to me?",
        "What do you see here?",
        "What can you tell me about the thing in front of me?",
        "Please tell me about this work.",
        "I have never seen anything like this. What is it?",
        "What is the history of this piece?",
        "What does the museum know about this?",
        "Could you explain what is shown here?",
        "What would a guide say about this?",
        "What are the most important facts about this piece?",
        "My daughter wants to know what this is. What do I tell her?",
        "How would you describe this to a friend?",
        "What is behind this object?",
        "Which exhibit is this?",
        "Tell me more about what I see here.",
    ),
    "maker": ("Who made this?", "Whose work is this?"),
    "culture": ("Which people does this come from?",),
    "place": ("Where does this come from?", "Where was this made?"),
    "date": ("How old is this?", "When was this made?", "What is the date of this piece?"),
    "material": ("What is this made of?", "Which material was used here?"),
    "technique": ("How was this made?", "How did they make something like this?"),
    "measures": ("How large is this?", "What size is this object?"),
    "weight": ("How heavy is this?",),
    "detail": ("Which detail should I look for?", "Is there anything here that I might miss?"),
    "significance": (
        "Why is this in the museum?",
        "Why does this piece matter?",
        "What makes this special?",
    ),
}
QUESTIONS: tuple[str, ...] = tuple(question for group in ASKED.values() for question in group)

# Facts told in one sentence -> its wordings.
WORDINGS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("maker",): (
        "{S} was made by {maker}.",
        "{S} is the work of {maker}.",
        "{Maker} made {s}.",
        "{S} comes from the hands of {maker}.",
    ),
    ("maker", "date"): (
        "{S} was made by {maker} {when}.",
        "{S} is the work of {maker} and dates from {date}.",
        "{Maker} made {s} {when}.",
        "{S} was finished by {maker} {when}.",
    ),
    ("maker", "place"): (
        "{S} was made by {maker} in {place}.",
        "{S} is the work of {maker} and comes from {place}.",
        "In {place}, {maker} made {s}.",
    ),
    ("culture",): (
        "{S} was made by {culture}.",
        "{S} is the work of {culture}.",
        "{Culture} made {s}.",
        "{S} comes from the hands of {culture}.",
    ),
    ("culture", "date"): (
        "{S} was made by {culture} {when}.",
        "{S} is the work of {culture} and dates from {date}.",
        "{Culture} made {s} {when}.",
    ),
    ("culture", "place"): (
        "{S} was made by {culture} in {place}.",
        "{S} is the work of {culture} and comes from {place}.",
        "In {place}, {culture} made {s}.",
    ),
    ("place",): (
        "{S} comes from {place}.",
        "{S} was made in {place}.",
        "The place of its making is {place}.",
        "{S} began its life in {place}.",
    ),
    ("place", "date"): (
        "{S} was made in {place} {when}.",
        "{S} comes from {place} and dates from {date}.",
        "{S} comes from {place} and was made {when}.",
        "{S} was finished in {place} {when}.",
    ),
    ("date",): (
        "{S} dates from {date}.",
        "{S} was made {when}.",
        "Its date is {date}.",
        "{S} was finished {when}.",
    ),
    ("material",): (
        "{S} is made of {material}.",
        "The material is {material}.",
        "What you see is {material}.",
        "Look at the material: {material}.",
    ),
    ("material", "technique"): (
        "{S} is made of {material} and was {technique}.",
        "{S} is made of {material}, {technique}.",
        "The material is {material}, {technique}.",
    ),
    ("technique",): (
        "{S} was {technique}.",
        "We know that {s} was {technique}.",
        "In the workshop {s} was {technique}.",
    ),
    ("measures",): (
        "{S} is {measures}.",
        "In size {s} is {measures}.",
        "Note the size: {s} is {measures}.",
    ),
    ("measures", "weight"): (
        "{S} is {measures} and weighs {weight}.",
        "{S} is {measures}, with a weight of {weight}.",
        "{S} weighs {weight} and is {measures}.",
    ),
    ("weight",): (
        "{S} weighs {weight}.",
        "Its weight is {weight}.",
        "{S} has a weight of {weight}.",
        "On the scales {s} weighs {weight}.",
    ),
    ("detail",): (
        "Look closely: {detail}.",
        "Notice that {detail}.",
        "Do not miss this detail: {detail}.",
        "Visitors like to hear that {detail}.",
        "{S} has a detail to remember: {detail}.",
    ),
    ("significance",): (
        "{S} matters because {significance}.",
        "{S} is important because {significance}.",
        "We show {s} because {significance}.",
        "Above all, {significance}.",
        "{S} is remembered for one reason: {significance}.",
    ),
}

# Wordings for values of another form than the above expect.
CULTURE_AS_LABEL = (
    "Its culture is given as {culture}.",
    "The label gives its culture as {culture}.",
)
CULTURE_BESIDE_MAKER = (
    "{S} belongs to the tradition of {culture}.",
    "{S} comes from the world of {culture}.",
)
TECHNIQUE_AS_NOUN = ("The technique is {technique}.", "The technique used here is {technique}.")
MEASURES_AS_NUMBERS = ("{S} measures {measures}.", "Its size is {measures}.")
MEASURES_AND_WEIGHT = ("{S} measures {measures} and weighs {weight}.",)
ANY_SEVERAL = ("Its {name} are {value}.", "The label gives its {name} as {value}.")
ANY_TEXT = ("Of its {name} the label says: {value}.", "The label says of its {name}: {value}.")
ANY_OTHER = ("Its {name} is {value}.", "The label gives its {name} as {value}.")

OPENINGS = (
    "This is {title}.",
    "You are looking at {title}.",
    "In front of you is {title}.",
    "Here you see {title}.",
    "Our museum calls this piece {title}.",
)
SUBJECTS = ("It", "It", "It", "The piece", "The object")
REMARKS = (
    "Take a moment to look at it from every side.",
    "Many visitors come back to see it again.",
    "Please look, but do not touch.",
    "It rewards a second and a third look.",
    "Notice how the light falls on its surface.",
    "Step a little closer and take your time.",
    "Ask me if you want to know more.",
    "It is one of the pieces our guides like best.",
    "Compare it with its neighbours in the room.",
    "Not every question about it has an answer yet.",
)
