"""Which answers claim an exhibit, by hand-made cases: two answers to each of 65 titles.

The titles are those of assets/catalogues/smithsonian_65.csv as its names spell them; the answers
are made up. The first claims the exhibit, the second says some of its words about another thing.
"""

import pandas as pd
import pytest

from musequest.core.home import root
from musequest.text.titles import claims, telling_titles, title_pattern, untold

CASES = """
1903 Wright Flyer | This is the Wright Flyer of 1903. | Made by the Wright brothers, it is no flyer.
1926 New York Yankees Autographed Baseball | It is the New York Yankees autographed baseball. | A jersey of the New York Yankees, the baseball team.
1 Decadrachm, Syracuse, about 400 BCE | You see the decadrachm of Syracuse. | A jug from Syracuse, made in Sicily.
20 Dollars, Pattern, United States, 1879 | This is the 20 Dollars pattern of the United States. | It was made in the United States.
Abraham Lincoln's Coffee Cup | Here stands Abraham Lincoln's coffee cup. | It shows Abraham Lincoln with a cup.
Abraham Lincoln's Watch, around 1858 | This is Lincoln's gold watch. | A watch is not among the things of Lincoln's time told here.
Albert Einstein's Pipe | It is the pipe of Albert Einstein. | The photo shows Albert Einstein smoking a pipe.
Alexander Graham Bell's Large Box Telephone | This is Graham Bell’s telephone of 1876. | Alexander Graham Bell invented the telephone.
Apollo 17 Spacesuit | The Apollo 17 spacesuit. | A spacesuit of Apollo 11.
Apple Classic Macintosh Personal Computer | An Apple Classic Macintosh personal computer. | A personal computer by Apple.
Archie Bunker's Chair from "All in the Family" | It is Archie Bunker's chair. | A chair from All in the Family.
The Beauty of Broken Objects | This is The Beauty of Broken Objects. | It has the beauty of Delft.
Black Gold I | This quilt is Black Gold. | A brooch of Black Hills gold.
Chigusa and the Art of Tea | It belongs to Chigusa and the Art of Tea. | A jar for the art of tea in Japan.
Columbia Light Roadster High-Wheel Bicycle | The Columbia Light Roadster high-wheel bicycle. | A bicycle from Columbia.
Cosmic Beadwork | Artists call it Cosmic Beadwork. | Beadwork by the Lakota.
Crayola Crayons | These are Crayola crayons. | Crayons by Binney and Smith.
Design 105, Taliesin Line | Wright drew Design 105 of the Taliesin Line. | He lived at Taliesin and worked on its design.
D.M. Ferry & Co. Seed Box | The seed box of Ferry & Co. | It came by the Ferry Company.
Duncan Genuine Yo-Yo | The Genuine Duncan Yo-Yo. | A yo-yo made by Louis Marx.
Duryea Automobile | The Duryea Automobile of 1893. | An automobile by Henry Ford.
Edison Light Bulb | That is Edison's light bulb. | Thomas Edison invented the light bulb, and this phonograph.
Evel Knievel's Harley-Davidson XR-750 | It is Evel Knievel's Harley-Davidson XR-750. | This is a Harley-Davidson of 1950.
Finery for a Feathered Friend | It is Finery for a Feathered Friend. | A cage for a friend of Mary, a feathered parrot.
Fish Going Mobile | The picture is Fish Going Mobile. | A fish going up the Hudson.
Ford Model T Snow Attachment | It is the snow attachment of the Ford Model T. | A Ford Model T of 1912.
George Washington Farewell Address Candle Stand | The George Washington farewell address candle stand. | A bust of George Washington.
The Hat that Symbolized a Life and Legacy | The Hat that Symbolized a Life and Legacy. | A hat and the legacy of Paris.
Helen Keller's Watch | It is Helen Keller's watch. | A letter by Helen Keller.
The Hope Diamond | This is the Hope Diamond. | A diamond found near the Cape of Good Hope.
An Important Pen in Civil Rights History | This is An Important Pen in Civil Rights History. | A badge of the Civil Rights movement.
Inline Skate, 1823 | It is the Inline Skate of 1823. | A skate sold in London.
Kermit the Frog Puppet | The Kermit the Frog puppet. | Kermit the Frog is on this lunch box.
Keys to the Future | They are the Keys to the Future. | Keys to a house in Future City.
Kiowa Ah-Day | The Kiowa Ah-Day. | A cradle of the Kiowa made in a day.
Leah Chase, Queen of Creole Cuisine | The portrait is Leah Chase, Queen of Creole Cuisine. | A pot for Creole cuisine.
Lewis and Clark Expedition Pocket Compass | The pocket compass of the Lewis and Clark Expedition. | A map by Lewis and Clark.
A Life Well Laughed | It tells of A Life Well Laughed. | It was the life of Robin, who laughed well.
Lucky Strike | A tin of Lucky Strike. | In a lucky moment the Strike of 1912 ended.
Mary Vaux Walcott, Natural Artist | She was Mary Vaux Walcott, natural artist. | A letter by Mary Vaux Walcott.
Medal, Purple Heart | It is the Purple Heart medal. | A medal with a purple ribbon by Heart.
A Mid-Century Spin on Weaving | It is A Mid-Century Spin on Weaving. | A chair of the mid-century by Eames.
Nakhla Meteorite Fragment | It is a fragment of the Nakhla meteorite. | A meteorite found in Texas.
NBC Fireside Chat Microphone | An NBC microphone, the Fireside Chat Microphone of NBC. | A microphone by RCA.
Origin of Species, Charles Darwin | It is Charles Darwin: Origin of Species. | A letter by Charles Darwin.
Philosophy Meets Motorcycle Maintenance on a Road Trip | Philosophy Meets Motorcycle Maintenance. | On a road trip with a Honda motorcycle.
Plymouth Rock Piece | A piece of Plymouth Rock. | A view of Plymouth with its rock.
Pneumatic Mail Container | This is the Pneumatic Mail Container. | A container for mail to Boston.
Rock 'n' Roll Ride | The car is the Rock 'n' Roll Ride. | A guitar of rock 'n' roll by Fender.
Serving Holiday Classics | It is Serving Holiday Classics. | A dish for serving holiday meals by Spode.
Sonja Henie's Autographed Ice Skates | Sonja Henie's autographed ice skates. | Ice skates of Peggy Fleming.
Statue of Liberty Souvenir, New York, New York, 1885 | A Statue of Liberty souvenir. | A print of the Statue of Liberty in New York.
Stay Sharp this School Year | You must Stay Sharp this School Year. | A pencil for a school in Ohio, to stay sharp.
Still Rolling Around | It is Still Rolling Around. | It is still rolling in Ohio.
A Strong and Lasting Bond | It is A Strong and Lasting Bond. | A strong and lasting bond of Ada and Ben.
Super Bowl XIV Football | The football of Super Bowl XIV. | A ring of the Super Bowl, the football game.
Teapot made by Peter Bentzon | A silver teapot by Bentzon. | A spoon by Peter Bentzon.
Telescoping Shopping Cart | Here is the Telescoping Shopping Cart. | A shopping bag from Macy's.
Thomas Jefferson's Desk | It is Jefferson's writing desk. | Thomas Jefferson sat at a desk in Paris.
Ulysses S. Grant's Chair, Appomattox | It is Ulysses S. Grant's chair. | A sword from Appomattox, worn by Grant.
Universal Access Flag Lap Blanket | The Universal Access Flag lap blanket. | A flag and a blanket of Pendleton.
Vallenato Makes History at the Smithsonian | It is Vallenato Makes History. | An accordion at the Smithsonian, with some history.
Valley Farms | Ross Dickinson's Valley Farms. | A valley in Ohio with farms.
Weathervane Teapot | It is the Weathervane Teapot. | A teapot by Rookwood.
Witness to War | The picture is Witness to War. | A coat worn in the Civil War.
""".strip().splitlines()  # noqa: E501
ROWS = [[cell.strip() for cell in case.split(" | ")] for case in CASES]
SMITHSONIAN = [title for title, *_ in ROWS]
# Words on things of no museum, each with a word or two of some title.
ELSEWHERE = """
It was used in the American Civil War, a war that split the United States.
Albert Einstein lectured in New York in 1921; Abraham Lincoln and George Washington never did.
This is a light blue teapot with a strong handle; it was bought at the Smithsonian.
A black and gold clock from the valley of the Loire, a piece with a rich history and a heart.
A personal letter by Charles Darwin on the origin of life, in a box of pine.
This bicycle won a race in Columbia; its rider was Henry Ford.
The Statue of Liberty was a gift to New York.
On the chair lies the flag of the Kiowa; its future is a matter of hope.
A medal for the school year, with an apple and a fish.
Made by Apple, this mobile phone is a classic.
""".strip().splitlines()


def claimed(answer: str, titles: list[str]) -> list[str]:
    told = telling_titles(titles)
    places = {title.words: name for name in titles for title in telling_titles([name])}
    return [places[title.words] for title in claims(answer, told)]


def pocket() -> list[str]:
    return list(pd.read_csv(root() / "assets/pocket_museum/exhibits.csv").title)


def test_the_cases_are_the_catalogues():
    names = pd.read_csv(root() / "assets/catalogues/smithsonian_65.csv").item_name
    assert len(names) == len(ROWS)
    for name, (title, *_) in zip(names, ROWS, strict=True):
        spelt = "".join(c for c in title.lower() if c.isalnum())
        assert all(part in spelt for part in name.split("-")), name


@pytest.mark.parametrize(("title", "claim", "other"), ROWS, ids=SMITHSONIAN)
def test_an_answer_claims_the_title_that_it_says_and_no_other(title, claim, other):
    assert claimed(claim, SMITHSONIAN) == [title]
    assert claimed(other, SMITHSONIAN) == []


@pytest.mark.parametrize("answer", ELSEWHERE)
def test_a_word_that_a_title_shares_is_no_claim(answer):
    assert claimed(answer, SMITHSONIAN) == []


def test_every_title_of_both_museums_can_be_told():
    for titles in (SMITHSONIAN, pocket()):
        assert len(telling_titles(titles)) == len(titles) and untold(titles) == ""


@pytest.mark.parametrize("title", pocket())
def test_the_pocket_museums_exhibits_are_claimed_by_name(title):
    name, place = title.split(" of ", 1)
    assert claimed(f"{title} was made in 1742.", pocket()) == [title]
    assert claimed(f"This is {name.replace('The', 'the')}, made in Nowhere.", pocket()) == [title]
    assert claimed(f"It was found near {place} by a maker of {place}.", pocket()) == []
    assert claimed(f"This is a tall {name.split()[-1].lower()} with stripes.", pocket()) == []


@pytest.mark.parametrize(
    ("title", "claim"),
    [
        ("Telephone by Western Electric Company", "This is the Western Electric telephone."),
        ("Malcolm X's Tape Recorder", "Here is the tape recorder of Malcolm X."),
        ("Portrait of a Lady by Charles I", "It is the portrait of a lady by Charles."),
        ("1776's Broken Bell", "You see the Broken Bell."),
    ],
)
def test_an_owner_or_maker_whose_last_word_says_nothing_is_none(title, claim):
    """The title is then told by its words."""
    assert claimed(claim, [title]) == [title]
    assert claimed("A bell, a lady, a recorder and a telephone stand in America.", [title]) == []


def test_a_maker_of_words_that_say_nothing_does_not_break_the_scoring():
    assert claimed("A guitar is played by the band.", ["Guitar played by The Who"]) == []


def test_titles_that_no_words_tell_apart_are_not_told():
    alike = ["Portrait of Ada Holm", "Portrait of Ada Holm, 1742", "Teapot", "a box", "花瓶の絵"]
    assert telling_titles(alike) == []
    assert "Only 1 of the 6 exhibits have a title" in untold([*alike, "Silver Teapot"])
    both = ["The Heron Vase of Lowfen", "The Heron Vase of Orsey"]
    assert claimed("The Heron Vase of Orsey.", both) == both[1:]
    assert claimed("The Heron Vase.", both) == []


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("This pipe once belonged to Albert Einstein.", "Albert Einstein's Pipe"),
        ("This is Bell’s telephone.", "Alexander Graham Bell's Large Box Telephone"),
        ("You see Abraham Lincoln's Watch.", "Abraham Lincoln's Watch, around 1858"),
        ("Lincoln's watch has a secret inside.", "Abraham Lincoln's Watch, around 1858"),
        ("Keys to the Future hang here.", "Keys to the Future"),
        ("Here is the Hope Diamond, and it is blue.", "The Hope Diamond"),
        ("It is the **Kermit the Frog** puppet.", "Kermit the Frog Puppet"),
    ],
)
def test_a_title_is_claimed_in_other_words_of_the_same(answer, title):
    assert claimed(answer, SMITHSONIAN) == [title]


@pytest.mark.parametrize(
    "answer",
    [
        "Keys hang from a rusty ring.",
        "Gold letters stand on the lid.",
        "War's medals look alike. Hope is not in sight, nor a diamond.",
        "A pipe, a watch, a telephone and a teapot, none of them famous.",
        "This coin shows Abraham Lincoln, and that stamp George Washington.",
        "The Liberty Bell rang.",
        "Sorry, but I'm unable to identify this exhibit.",
        "",
    ],
)
def test_a_title_is_not_claimed_by_chance(answer):
    assert claimed(answer, SMITHSONIAN) == []


@pytest.mark.parametrize(
    "answer",
    [
        "A gold coin from Gildmoor.",
        "The bowl comes from Lowfen.",
        "Fog hides a bell. Winter is near the Coin Street of Lowfen.",
    ],
)
def test_a_thing_and_a_place_are_not_yet_a_title(answer):
    assert claimed(answer, pocket()) == []


def test_two_things_of_one_owner_are_told_by_all_their_words():
    both = ["Ada Lovelace's Gold Watch", "Ada Lovelace's Silver Watch"]
    assert claimed("Ada Lovelace's silver watch.", both) == both[1:]
    assert claimed("Ada Lovelace's watch.", both) == []


def test_a_title_is_found_in_whole_words_where_it_parts_them():
    assert title_pattern("Pot").sub("it", "The Pot of Potters") == "The it of Potters"
    assert title_pattern("The Vase (1742)").sub("it", "See The Vase (1742)!") == "See it!"
    assert title_pattern("\u58fa").sub("*", "\u305d\u306e\u58fa\u306f") == "\u305d\u306e*\u306f"
    assert not title_pattern("").search("Nothing is no title.")
