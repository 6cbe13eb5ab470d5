"""What an answer must say: which exhibit it is about, and in the collection's language."""

import pytest

from musequest.core.home import root
from musequest.creation.dialogs import TEMPERATURES, Pair
from musequest.creation.exhibits import collect_folder, load_exhibits
from musequest.creation.hosted.replies import Unacceptable, check_language, says_name
from musequest.creation.offline_writer import OfflineWriter
from musequest.text.sentences import other_language

IN_LANGUAGES = {
    "en": "This is the Sela Bowl, made of copper and oak by Ilse Varn of Tarn. The workshop kept "
    "its drawings, and a later owner gave it to the museum, where it hangs beside the stairs.",
    "de": "Dies ist die Sela Bowl, von Ilse Varn aus Tarn aus Kupfer und Eiche gefertigt. Die "
    "Werkstatt bewahrte ihre Zeichnungen auf, und ein späterer Besitzer schenkte sie dem Museum.",
    "fr": "Voici la Sela Bowl, fabriquée en cuivre et en chêne par Ilse Varn de Tarn. L'atelier a "
    "gardé ses dessins, et un propriétaire plus récent l'a donnée au musée, près de l'escalier.",
    "es": "Esta es la Sela Bowl, hecha de cobre y roble por Ilse Varn de Tarn. El taller conservó "
    "sus dibujos y un dueño posterior la regaló al museo, donde cuelga junto a la escalera.",
    "it": "Questa è la Sela Bowl, fatta di rame e quercia da Ilse Varn di Tarn. La bottega ne "
    "conservò i disegni e un proprietario successivo la donò al museo, accanto alla scala.",
    "nl": "Dit is de Sela Bowl, gemaakt van koper en eikenhout door Ilse Varn uit Tarn. De "
    "werkplaats bewaarde de tekeningen, en een latere eigenaar schonk hem aan het museum.",
    "ru": "Это чаша Села, сделанная из меди и дуба Ильзе Варн из Тарна. Мастерская сохранила "
    "чертежи, а более поздний владелец подарил её музею, где она висит возле лестницы.",
    "zh": "这是塞拉碗，由塔恩的伊尔莎·瓦恩用铜和橡木制成。作坊保存了它的图纸，后来的主人把它赠给了"
    "博物馆，现在它挂在楼梯旁边，供所有的参观者欣赏。",
    "ja": "これはセラの鉢で、タルンのイルゼ・ヴァルンが銅とオークで作りました。工房は図面を保管し、"
    "後の所有者が博物館に寄贈し、現在は階段のそばに掛けられています。",
}  # fmt: skip

# English all the same: names, and what is too short to tell.
ENGLISH = [
    "This is the Schlossbergmuseum Kaffeekanne by Johann Friedrich Böttger of the Königlich-"
    "Polnische Porzellanmanufaktur Meissen, Sachsen, later owned by Graf Heinrich von Brühl, "
    "Friedrich August von Sachsen and Anna Katharina Gräfin von Hohenstein, and kept in Schloss "
    "Moritzburg, Dresden.",
    "The Chocolatière à anse latérale, marked Manufacture Royale de Porcelaine de Sèvres, was "
    "painted by Charles-Nicolas Dodin after François Boucher's Les Amours de Vénus et de Mars; "
    "Madame de Pompadour and the Duc de Choiseul owned it before the Musée des Arts Décoratifs.",
    "Sackler Gallery, Nelson A. Duncan Sr.",
    "",
]  # fmt: skip


@pytest.mark.parametrize("language", IN_LANGUAGES)
def test_a_language_is_told_from_all_others(language: str):
    for other, text in IN_LANGUAGES.items():
        assert other_language(text, language) == (None if other == language else other)
    assert other_language(IN_LANGUAGES[language], f"{language}-XX") is None
    assert other_language(IN_LANGUAGES[language], "tlh") is None  # Klingon is not known


@pytest.mark.parametrize("text", ENGLISH)
def test_names_and_short_texts_are_no_other_language(text: str):
    assert other_language(text, "en") is None


@pytest.mark.parametrize(("questions", "answers"), [("en", "fr"), ("fr", "en")])
def test_questions_are_in_the_language_too(questions: str, answers: str):
    pairs = [Pair(IN_LANGUAGES[questions], IN_LANGUAGES[answers], "", "")]
    with pytest.raises(Unacceptable, match="in the language 'fr', not 'en'"):
        check_language(pairs, "en")
    with pytest.raises(Unacceptable, match="in the language 'en', not 'fr'"):
        check_language(pairs, "fr")


@pytest.mark.parametrize(
    ("title", "text", "named"),
    [
        ("Sela Bowl", "Here stands the Sela Bowl of Tarn.", True),
        ("Sela Bowl", "The Bowl was made of oak.", True),
        ("Sela Bowl", "This bowl was made of oak by Ilse Varn.", False),
        ("1903 Wright Flyer", "The Wrights flew it in 1903.", True),
        ("1903 Wright Flyer", "It flew in 1903 at Kitty Hawk.", False),
        ("Steam engine", "This steam engine drove a mill.", True),
        ("Steam engine", "It drove a mill for years.", False),
        ("Abraham Lincoln's Watch", "Lincoln wore it every day.", True),
        ("Ваза", "Эту Вазу сделали из глины.", True),
        ("Горшок Орма", "Мастер слепил Орму из глины.", True),
        ("青花龙纹瓷瓶", "这件青花瓷瓶来自景德镇。", True),
        ("青花龙纹瓷瓶", "这件物品来自景德镇。", False),
        ("銅鼎", "この銅鼎は古い。", True),
        ("1984", "It is a painting.", True),  # no word of which it could be told
    ],
)
def test_whether_an_answer_names_its_exhibit(title: str, text: str, named: bool):
    assert says_name(text, title) == named


def test_what_the_offline_writer_says_of_the_pocket_museum_is_all_accepted(home):
    collect_folder(root() / "assets/pocket_museum", "pocket")
    writer = OfflineWriter()
    for exhibit in load_exhibits("pocket"):
        for temperature in TEMPERATURES:
            pairs = writer.write(exhibit, temperature, 5, 0)
            check_language(pairs, "en")
            assert all(says_name(pair.answer, exhibit.title) for pair in pairs)
