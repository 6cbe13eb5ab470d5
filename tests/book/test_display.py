"""What notebook cells show: escaped, small, and true to its data."""

import io

import pandas as pd
from PIL import Image

from musequest import display
from musequest.creation.split import messages
from musequest.evaluation.report_tables import score_frame

SCRIPT = "<script>alert(1)</script>"


def decoded(shown) -> Image.Image:
    return Image.open(io.BytesIO(shown.data))


def test_tables_escape_all_but_photos():
    photo = display.thumbnail(Image.new("RGB", (400, 200), "red"))
    shown = display.table([{"photo": photo, SCRIPT: SCRIPT}]).data
    assert SCRIPT not in shown and "&lt;script&gt;" in shown
    assert '<img alt="" src="data:image/jpeg;base64,' in shown


def test_thumbnails_are_small():
    assert len(display.thumbnail(Image.effect_noise((2000, 1000), 80))) < 8000


def test_strip_puts_photos_in_rows():
    photos = [(Image.new("RGB", (50, 80)), str(number)) for number in range(10)]
    sheet = decoded(display.strip(photos, columns=8))
    assert sheet.width == 8 * display.TILE and sheet.height == 2 * (display.TILE + 16)
    assert sheet.format == "JPEG"


def test_a_long_caption_takes_a_second_line():
    photo = Image.new("RGB", (50, 80))
    one, two = (
        decoded(display.strip([(photo, caption)])).height
        for caption in ("The Silent Chair", "The Reed Necklace of the Marsh People")
    )
    assert one < two


def test_tokens_mark_exactly_what_is_learned():
    coloured = [("<image>", False)] * 64 + [("User", False), ("<b>", True), ("<b>", True)]
    shown = display.tokens(coloured).data
    assert "&lt;image&gt; × 64" in shown and "2 of 67 tokens" in shown
    assert shown.count("<mark") == 2 and "&lt;b&gt;" in shown


def test_temperatures_count_pairs_and_words():
    rows = [
        {"temperature": 0.4, "question": "What?", "answer": "one two three"},
        {"temperature": 0.4, "question": "Who?", "answer": "one"},
        {"temperature": 0.9, "question": "What?", "answer": "four"},
    ]
    shown = display.temperatures(pd.DataFrame(rows))
    assert list(shown.pairs) == [2, 1]
    assert list(shown["words an answer"]) == [2.0, 1.0]
    assert list(shown["different words"]) == [3, 1]
    unknown = pd.DataFrame(rows).assign(temperature=float("nan"), item_name="a", pair_index=0)
    assert list(display.temperatures(unknown).pairs) == [3]
    assert "one two three" in display.dialog_table(unknown, "a").data


def test_answers_show_each_system_beside_the_ground_truth():
    names = {"item_name": "a", "image_name": "a.jpg"}
    rows = [
        {
            **names,
            "data_id": f"a-{n:02d}",
            "image": Image.new("RGB", (20, 20)),
            "dialog": messages("What is it?", f"truth {n}"),
        }
        for n in range(7)
    ]
    frame = pd.DataFrame({"data_id": [row["data_id"] for row in rows]})
    base, tuned = frame.assign(answer=SCRIPT), frame.assign(answer="a bell")
    shown = display.answers(rows, {"base": base, "lora": tuned}, count=3).data
    assert shown.count("a bell") == 3 and SCRIPT not in shown
    assert shown.count("What is it?") == 3
    assert [f"truth {n}" in shown for n in (0, 1, 2, 4)] == [True, False, True, True]
    assert display.answers(rows[:2], {"lora": tuned}).data.count("a bell") == 2
    # A hosted system may leave a tenth of the questions unanswered.
    shown = display.answers(rows, {"gpt4o": tuned[1:], "lora": tuned}, count=3).data
    assert shown.count("a bell") == 5 and shown.count("–") == 1 and "truth 0" in shown


def test_each_way_of_showing_has_its_own_photo_and_question():
    row = {"data_id": "a-00", "image": Image.new("RGB", (20, 20))}
    other = {"data_id": "outsider-00", "image": Image.new("RGB", (20, 20))}
    rows = {"photo": [row], "no_photo": [row | {"image": None}], "outsiders": [other]}
    said = pd.DataFrame({"data_id": ["b-00", "a-00"], "question": "How old?", "answer": SCRIPT})
    outside = pd.DataFrame({"data_id": ["outsider-00"], "question": "What?", "answer": "A bell."})
    tables = {"photo": said, "no_photo": said, "outsiders": outside}
    shown = display.shown_otherwise(rows, tables).data
    assert shown.count("<img") == 2 and shown.count("How old?") == 2 and SCRIPT not in shown
    last = shown.split("<tr>")[-1]
    assert "outsiders" in last and "What?" in last and "A bell." in last and "<img" in last


def test_a_frame_is_shown_whole_and_escaped():
    long = f"no difference [-0.07, +0.04]; could have shown 0.08 {SCRIPT}"
    shown = display.whole(pd.DataFrame({"metric": [long]})).data
    assert "could have shown 0.08" in shown and SCRIPT not in shown


def test_scores_name_their_best_value_and_show_intervals():
    metrics = {
        "embedding_distance": {"mean": 0.1234, "ci_low": 0.1, "ci_high": 0.15, "n": 9},
        "answer_tokens": {"mean": None, "ci_low": None, "ci_high": None, "n": 0},
    }
    shown = score_frame({"base": metrics})
    assert list(shown.index) == ["embedding_distance (0 best)", "answer_tokens"]
    assert list(shown.base) == ["0.123 [0.100, 0.150]", "–"]
    assert "<h4>unseen_photo</h4>" in display.scores({"unseen_photo": {"base": metrics}}).data


def test_an_exercise_is_open_then_wrong_then_solved():
    names = {"run": {"best_step": 9, "steps": 12, "global_batch": {"rows_a_step": 8}}}
    names["run"] |= {"trainable_parameters": 10, "total_parameters": 300}
    names |= {"answer_1": 9, "answer_2": None, "answer_3": 3.4}
    shown = display.check("lora_finetuning", names).data
    assert [shown.count(f">{state}<") for state in ("solved", "open", "not yet")] == [1, 1, 1]
    assert names["answer_2"] is None


def test_an_empty_table_shows_nothing():
    assert display.table([]).data == ""
