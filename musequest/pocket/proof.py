"""Proof that the pocket docent looks, and the folder it is saved in.

Greedy sentences about renderings that were never trained on are compared with the scenes' labels,
attribute by attribute; the same questions about blank photos show whether the photo matters.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .corpus import WHOLE, describe
from .docent import count_parameters

if TYPE_CHECKING:
    from .pretraining import Pretraining


@torch.inference_mode()
def sentences(pretraining: Pretraining, photos: torch.Tensor, question: str) -> list[str]:
    """Greedy answers to one question about photos (n, 3, 128, 128) in -1..1."""
    processor, model = pretraining.processor, pretraining.model.eval()
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    ]
    prompt = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[prompt] * len(photos), return_tensors="pt")
    tokens = model.generate(
        **inputs, pixel_values=photos[:, None], max_new_tokens=40, do_sample=False
    )
    answers = tokens[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.batch_decode(answers, skip_special_tokens=True)]


def named(scene: dict, sentence: str) -> dict[str, bool]:
    """Which attributes of a scene its sentence names right."""
    words = sentence.rstrip(".").split()
    right = {
        "kind": scene["kind"] in words or f"{scene['kind']}s" in words,
        "colour": scene["colour"] in words,
        "count": ("This" in words, "two" in words, "three" in words)[scene["count"] - 1],
        "place": (scene["place"] in words)
        if scene["place"] != "middle"
        else not {"left", "right"} & set(words),
        "pattern": (scene["pattern"] in words)
        if scene["pattern"] != "plain"
        else "with" not in words,
        "whole": sentence == describe(scene),
    }
    if scene["material"] != scene["colour"] and scene["kind"] != "crystal":
        right["material"] = scene["material"] in words
    if scene["proportion"] != "regular":
        right["proportion"] = scene["proportion"] in words
    return right


def prove(pretraining: Pretraining, unseen: int) -> dict:
    """Attributes named right on the last `unseen` renderings, and what a blank photo changes."""
    scenes = pretraining.scenes.labels[-unseen:]
    photos = pretraining.scenes.pixels[-unseen:].float() / 127.5 - 1
    answers = [a for batch in photos.split(50) for a in sentences(pretraining, batch, WHOLE[0])]
    found: dict[str, list[bool]] = {}
    for scene, answer in zip(scenes, answers, strict=True):
        for attribute, right in named(scene, answer).items():
            found.setdefault(attribute, []).append(right)
    blanks = sentences(pretraining, torch.full_like(photos[:20], 0.5), WHOLE[0])
    return {
        "unseen_scenes": unseen,
        "named_right": {k: round(sum(v) / len(v), 4) for k, v in sorted(found.items())},
        "different_sentences": len(set(answers)),
        "answer_to_a_blank_photo": blanks[0],
        "blank_photo_changes_the_answer": sum(b != a for a, b in zip(answers, blanks, strict=False))
        / 20,
        "examples": [
            {"label": describe(s), "answer": a} for s, a in zip(scenes[:10], answers, strict=False)
        ],
    }


def write_docent(pretraining: Pretraining, folder: Path) -> None:
    """Save weights in half precision, processor and record.json into `folder`."""
    from .pretraining import LESSONS, UNSEEN

    torch.manual_seed(0)
    record = {
        "made_by": "python -m musequest.pocket.pretraining",
        "date": datetime.now(UTC).date().isoformat(),
        "parameters": count_parameters(pretraining.model),
        "scenes": len(pretraining.scenes.labels),
        "scenes_for_training": len(pretraining.scenes.labels) - UNSEEN,
        "seed": pretraining.seed,
        "minutes": round(pretraining.minutes, 1),
        "lessons": [
            vars(lesson) | {"last_loss": _mean(pretraining.losses[lesson.name][-50:])}
            for lesson in LESSONS
        ],
        "proof": prove(pretraining, UNSEEN),
    }
    pretraining.model.half().save_pretrained(folder)
    pretraining.processor.save_pretrained(folder)
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record["proof"], indent=2), flush=True)


def _mean(values: list[float]) -> float:
    return round(sum(values) / max(1, len(values)), 4)
