"""What the pocket docent sees.

Greedy sentences about renderings that were never trained on are compared with the scenes' labels,
attribute by attribute; the same questions about blank photos show whether the photo matters.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, ProcessorMixin

from .corpus import WHOLE, describe
from .vision_pretraining import Scenes


@torch.inference_mode()
def sentences(
    model: PreTrainedModel, processor: ProcessorMixin, photos: torch.Tensor, question: str
) -> list[str]:
    """Greedy answers to one question about photos (n, 3, 128, 128) in -1..1."""
    model.eval()
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


def measure(model: PreTrainedModel, processor: ProcessorMixin, seen: Scenes, unseen: int) -> dict:
    """Attributes named right on the first `unseen` renderings, and what a blank photo changes."""
    scenes = seen.labels[:unseen]
    photos = seen.pixels[:unseen].float() / 127.5 - 1
    batches = photos.split(50)
    answers = [a for batch in batches for a in sentences(model, processor, batch, WHOLE[0])]
    found: dict[str, list[bool]] = {}
    for scene, answer in zip(scenes, answers, strict=True):
        for attribute, right in named(scene, answer).items():
            found.setdefault(attribute, []).append(right)
    blanks = sentences(model, processor, torch.full_like(photos[:20], 0.5), WHOLE[0])
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
