"""How the pocket docent is made: scenes and their labels, the corpus, the lessons, the result."""

import itertools
import json
import random
import re
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from PIL import Image

from assets.workshop.corpus import (
    catalogue_turn,
    made_up_thing,
    name,
    record_turn,
    scene_turn,
    tokenizer_texts,
)
from assets.workshop.docent import build_model, build_processor, build_tokenizer, count_parameters
from assets.workshop.measures import named
from assets.workshop.museum import LOOKS, SHOWN, signature
from assets.workshop.scenes import MATERIALS, describe, random_look, random_scene
from assets.workshop.vision_pretraining import alike_loss, augmented, load_scenes
from musequest.core.home import root

DOCENT = root() / "assets" / "pocket_docent"


def test_no_scene_shows_an_exhibit_of_the_museum() -> None:
    rng = np.random.default_rng(0)
    looks = [random_look(rng) for _ in range(3000)]
    assert not {signature(look) for look in looks} & SHOWN
    assert {look.kind for look in looks} == set(MATERIALS)


def test_a_scene_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert random_scene(5) == random_scene(5)
    assert random_scene(5) != random_scene(6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "This is a tall blue ceramic vase with white bands."),
        ({"place": "left", "pattern": "plain"}, "This is a tall blue ceramic vase on the left."),
        (
            {"count": 3, "proportion": "regular"},
            "These are three blue ceramic vases with white bands.",
        ),
        ({"colour": "iron", "material": "iron"}, "This is a tall iron vase with white bands."),
        (
            {"colour": "oak", "material": "wood", "proportion": "regular"},
            "This is an oak wood vase with white bands.",
        ),
    ],
)
def test_a_sentence_tells_what_the_labels_say(changes: dict, sentence: str) -> None:
    scene = {
        "kind": "vase", "colour": "blue", "material": "ceramic", "pattern": "bands",
        "second": "white", "proportion": "tall", "count": 1, "place": "middle",
    } | changes  # fmt: skip
    assert describe(scene) == sentence
    assert all(named(scene, sentence).values())


def test_a_wrong_sentence_is_told_apart_attribute_by_attribute() -> None:
    scene = random_scene(1) | {"kind": "vase", "colour": "blue", "count": 1, "place": "middle"}
    right = named(scene, "These are two red bowls on the left.")
    assert not right["kind"] and not right["colour"] and not right["count"] and not right["place"]


def test_catalogue_texts_hold_their_facts_and_no_place_of_the_museum() -> None:
    museum = (root() / "assets" / "pocket_museum" / "exhibits.csv").read_text(encoding="utf-8")
    words, rng = set(re.findall(r"\w+", museum)), random.Random(3)
    for _ in range(3000):
        assert name(rng) not in words
    for _ in range(300):
        title, facts = made_up_thing(rng)
        assert title not in museum
        assert facts["place"].split()[-1] not in words
        _, answer = catalogue_turn(rng)
        assert 30 <= len(answer.split()) <= 95


def test_a_question_about_a_scene_is_answered_from_its_labels() -> None:
    rng = random.Random(0)
    answers = {scene_turn(random_scene(7), rng)[1] for _ in range(200)}
    assert describe(random_scene(7)) in answers
    assert len(answers) > 4


def test_the_architecture_is_a_true_idefics2_whose_latents_differ() -> None:
    tokenizer = build_tokenizer(["This is a blue ceramic vase made in 1742."])
    model = build_model(tokenizer)
    assert type(model).__name__ == "Idefics2ForConditionalGeneration"
    latents = model.model.connector.perceiver_resampler.latents
    assert torch.cdist(latents, latents).fill_diagonal_(9).min() > 0.1
    processor = build_processor(tokenizer)
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}
    text = processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    assert text == "User:<image>What?<end_of_utterance>\nAssistant:"
    batch = processor(text=[text], images=[[Image.new("RGB", (300, 200))]], return_tensors="pt")
    assert int((batch["input_ids"] == model.config.image_token_id).sum()) == 16


def test_lessons_resume_where_they_stopped(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assets.workshop import pretraining as module

    scenes = [random_scene(i) for i in range(24)]
    rng = np.random.default_rng(0)
    for scene in scenes:
        noise = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{scene['seed']:05d}.png")
    (tmp_path / "scenes.jsonl").write_text("\n".join(json.dumps(s) for s in scenes))
    monkeypatch.setattr(module, "UNSEEN", 4)
    monkeypatch.setattr(module, "SAVED_EVERY", 2)
    lessons = tuple(module.Lesson(n, 3, 2, 2, 2, 1e-3) for n in ("read", "look", "speak"))
    monkeypatch.setattr(module, "LESSONS", lessons)

    def few_texts(scenes: Iterable[dict], seed: int) -> list[str]:
        return tokenizer_texts(itertools.islice(scenes, 100), seed, catalogue=300)

    monkeypatch.setattr(module, "tokenizer_texts", few_texts)

    class Stopped(Exception):
        pass

    class Interrupted(module.Pretraining):
        def _loss(self, lesson: module.Lesson, step: int) -> torch.Tensor:
            if (lesson.name, step) == ("speak", 2):
                raise Stopped
            return super()._loss(lesson, step)

    whole = module.Pretraining(load_scenes(tmp_path), tmp_path / "whole")
    whole.run()
    with pytest.raises(Stopped):
        Interrupted(load_scenes(tmp_path), tmp_path / "work").run()
    resumed = module.Pretraining(load_scenes(tmp_path), tmp_path / "work")
    resumed.run()
    assert resumed.losses == whole.losses
    same = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)


def test_two_copies_of_a_photo_are_to_lie_nearer_than_two_photos() -> None:
    photos = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    noise = 0.1 * torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    together = alike_loss(torch.cat([photos, photos + noise]))
    apart = alike_loss(torch.cat([photos, (photos + noise).roll(1, 0)]))
    assert together < 0.1 < apart


def test_altered_photos_are_bright_in_range_and_the_same_for_the_same_seed() -> None:
    pixels = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8)
    first, second, other = (augmented(pixels, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert first.shape == pixels.shape and first.min() >= -1 and first.max() <= 1
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_a_record_is_about_its_scene_and_says_the_same_each_time() -> None:
    scene = random_scene(7)
    answers = [record_turn(scene, random.Random(i))[1] for i in range(20)]
    assert len(set(answers)) == 20
    assert all(scene["kind"].lower() in answer.lower() for answer in answers)
    named = [set(re.findall(r"\b[A-Z][a-z]+(?=\W)", answer)) for answer in answers]
    assert set.intersection(*named)


def test_the_committed_docent_is_small_and_looks() -> None:
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(DOCENT)
    assert type(model).__name__ == "Idefics2ForConditionalGeneration"
    assert count_parameters(model) <= 12_000_000
    assert sum(file.stat().st_size for file in DOCENT.iterdir()) <= 25_000_000
    record = json.loads((DOCENT / "record.json").read_text(encoding="utf-8"))
    assert record["parameters"] == count_parameters(model)
    assert record["proof"]["blank_photo_changes_the_answer"] >= 0.95
    assert record["proof"]["different_sentences"] >= 50
    right = record["proof"]["named_right"]
    assert (
        min(right["kind"], right["colour"]) >= 0.85 and min(right["place"], right["count"]) >= 0.95
    )


def test_every_exhibit_has_a_look_of_its_own() -> None:
    assert len(set(LOOKS)) == len(LOOKS) == 28
    assert len({signature(look) for look in LOOKS}) == len(LOOKS)


@pytest.mark.slow
def test_a_rendering_is_deterministic() -> None:
    pytest.importorskip("mitsuba", reason="needs requirements-assets.txt")
    from assets.workshop.scenes import render

    first, second = (np.asarray(render(random_scene(3), pixels=32)) for _ in range(2))
    assert np.array_equal(first, second) and first.std() > 5
