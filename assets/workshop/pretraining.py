"""Pre-train the pocket docent: first to look, then to speak, in four lessons.

`look` trains the vision tower alone to name kind, colour, material, pattern, proportion, count and
place from labels that the renderer gives for free; `carry` trains the connector alone to hand the
same on in its latents; `read` trains the text model on catalogue texts;
`speak` trains connector and text model, photo to sentence, mixed with catalogue texts and records.
Every lesson resumes from the last state in `--work`.
"""

from __future__ import annotations

import math
import os
import random
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .corpus import BLANK, catalogue_turn, record_turn, scene_turn, tokenizer_texts
from .docent import (
    LATENTS,
    build_model,
    build_processor,
    build_tokenizer,
)
from .vision_pretraining import (
    IGNORED,
    Looker,
    Scenes,
    augmented,
    flipped_place,
    initialise,
)

UNSEEN = 300  # the last renderings are never trained on


@dataclass
class Lesson:
    """One lesson: its name, number of steps, rows a step of each sort and peak learning rate."""

    name: str
    steps: int
    images: int
    records: int
    texts: int
    learning_rate: float


LESSONS = (
    Lesson("look", 1300, 64, 0, 0, 4.0e-4),
    Lesson("carry", 400, 64, 0, 0, 6.0e-4),
    Lesson("read", 400, 0, 0, 20, 1.0e-3),
    Lesson("speak", 600, 24, 12, 6, 6.0e-4),
)
SAVED_EVERY = 100  # steps
RECORDED = 100  # every so manieth scene has a record


class Pretraining:
    """The docent, its lessons and the state they can resume from."""

    def __init__(self, scenes: Scenes, work: Path, seed: int = 0) -> None:
        self.scenes, self.work, self.seed = scenes, work, seed
        self.tokenizer = build_tokenizer(tokenizer_texts(scenes.labels, seed))
        self.processor = build_processor(self.tokenizer)
        self.model = build_model(self.tokenizer, seed)
        self.model.set_attn_implementation("eager")  # faster than SDPA for sequences this short
        photos = scenes.pixels[:400].float() / 127.5 - 1
        parts = self.model.model.vision_model, self.model.model.connector
        initialise(*parts, photos)
        self.looker = Looker(*parts, scenes.classes)
        self.losses: dict[str, list[float]] = {lesson.name: [] for lesson in LESSONS}
        self.minutes = 0.0

    def run(self) -> None:
        """Run the lessons that are not yet done."""
        state = self._load()
        for lesson in LESSONS[state["lesson"] :]:
            self._run_lesson(lesson, state)
            state = {"lesson": LESSONS.index(lesson) + 1, "step": 0, "optimizer": None}
            self._save(state)

    def _run_lesson(self, lesson: Lesson, state: dict) -> None:
        parameters = self._trainable(lesson.name)
        optimizer = torch.optim.AdamW(
            parameters, lr=lesson.learning_rate, betas=(0.9, 0.98), weight_decay=0.05
        )
        if state["optimizer"]:
            optimizer.load_state_dict(state["optimizer"])
        started = time.monotonic()
        for step in range(state["step"], lesson.steps):
            rate = lesson.learning_rate * schedule(step, lesson.steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16):
                loss = self._loss(lesson, step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            self.losses[lesson.name].append(round(float(loss.detach()), 4))
            if (step + 1) % 25 == 0:
                recent = float(np.mean(self.losses[lesson.name][-25:]))
                print(
                    f"{lesson.name} step {step + 1}/{lesson.steps} loss {recent:.3f} "
                    f"{(time.monotonic() - started) / 60:.1f} min",
                    flush=True,
                )
            if (step + 1) % SAVED_EVERY == 0:
                self.minutes += (time.monotonic() - started) / 60
                started = time.monotonic()
                self._save(
                    {
                        "lesson": LESSONS.index(lesson),
                        "step": step + 1,
                        "optimizer": optimizer.state_dict(),
                    }
                )
        self.minutes += (time.monotonic() - started) / 60

    def _trainable(self, lesson: str) -> list[torch.nn.Parameter]:
        chosen = {
            "look": [self.looker.tower, self.looker.tower_heads],
            "carry": [self.looker.connector, self.looker.connector_heads],
            "read": [self.model.model.text_model],
            "speak": [self.model.model.text_model, self.model.model.connector],
        }[lesson]
        self.model.requires_grad_(False)
        for module in chosen:
            module.requires_grad_(True)
        return [p for module in chosen for p in module.parameters()]

    def _loss(self, lesson: Lesson, step: int) -> torch.Tensor:
        seed = stable_seed(self.seed, lesson.name, step)
        generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
        if lesson.name in ("look", "carry"):
            return self._label_loss(lesson, generator, rng)
        if lesson.name == "read":
            return self.text_loss([catalogue_turn(rng) for _ in range(lesson.texts)], None)
        texts = self.text_loss([catalogue_turn(rng) for _ in range(lesson.texts)], None)
        return (
            self._scene_loss(lesson.images, generator, rng)
            + self._record_loss(lesson.records, generator, rng)
            + 0.3 * texts
        )

    def _draw(self, n: int, generator: torch.Generator, rng: random.Random, every: int = 1):
        seen = range(0, len(self.scenes.labels) - UNSEEN, every)
        index = np.array([rng.choice(seen) for _ in range(n)])
        photos, flip = augmented(self.scenes.pixels[index], generator)
        return index, photos, flip

    def _label_loss(
        self, lesson: Lesson, generator: torch.Generator, rng: random.Random
    ) -> torch.Tensor:
        index, photos, flip = self._draw(lesson.images, generator, rng)
        targets = self.scenes.targets(index)
        swap = {"left": "right", "right": "left"}
        places = self.scenes.classes["place"]
        swapped = torch.tensor([places.index(swap.get(p, p)) for p in places])
        targets["place"] = torch.where(flip, swapped[targets["place"]], targets["place"])
        weights = {"kind": 2.0}
        loss = torch.zeros(())
        for name, logits in self.looker(photos, lesson.name == "carry").items():
            shown = max(1, int((targets[name] != IGNORED).sum()))
            total = F.cross_entropy(logits, targets[name], ignore_index=IGNORED, reduction="sum")
            loss = loss + weights.get(name, 1.0) * total / shown
        return loss

    def _scene_loss(self, n: int, generator: torch.Generator, rng: random.Random) -> torch.Tensor:
        index, photos, flip = self._draw(n, generator, rng)
        turns = [
            scene_turn(flipped_place(self.scenes.labels[i], bool(f)), rng)
            for i, f in zip(index, flip, strict=True)
        ]
        if rng.random() < 0.7:
            photos[0] = rng.uniform(-1, 1)
            turns[0] = (turns[0][0], BLANK)
        return self.text_loss(turns, photos)

    def _record_loss(self, n: int, generator: torch.Generator, rng: random.Random) -> torch.Tensor:
        index, photos, _ = self._draw(n, generator, rng, RECORDED)
        return self.text_loss([record_turn(self.scenes.labels[i], rng) for i in index], photos)

    def text_loss(self, turns: list[tuple[str, str]], photos: torch.Tensor | None) -> torch.Tensor:
        """Loss on the answers and their <end_of_utterance>; photos (n, 3, h, w) or None."""
        image = (
            ""
            if photos is None
            else "<fake_token_around_image>" + "<image>" * LATENTS + "<fake_token_around_image> "
        )
        sequences, labels = [], []
        for question, answer in turns:
            prompt = f"User:{image or ' '}{question}<end_of_utterance>\nAssistant:"
            start = self.tokenizer(prompt)["input_ids"]
            whole = self.tokenizer(f"{prompt} {answer}<end_of_utterance>")["input_ids"]
            sequences.append(torch.tensor(whole))
            labels.append(torch.tensor([IGNORED] * len(start) + whole[len(start) :]))
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad(sequences, batch_first=True, padding_value=self.tokenizer.pad_token_id)
        targets = pad(labels, batch_first=True, padding_value=IGNORED)
        mask = pad([torch.ones_like(s) for s in sequences], batch_first=True)
        inputs = {} if photos is None else {"pixel_values": photos[:, None]}
        return self.model(input_ids=ids, attention_mask=mask, labels=targets, **inputs).loss

    def _save(self, state: dict) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        partial = self.work / "state.pt.part"
        torch.save(
            state
            | {
                "looker": self.looker.state_dict(),
                "model": self.model.state_dict(),
                "losses": self.losses,
                "minutes": self.minutes,
            },
            partial,
        )
        os.replace(partial, self.work / "state.pt")

    def _load(self) -> dict:
        path = self.work / "state.pt"
        if not path.exists():
            return {"lesson": 0, "step": 0, "optimizer": None}
        state = torch.load(path, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.looker.load_state_dict(state["looker"])
        self.losses, self.minutes = state["losses"], state["minutes"]
        if state["lesson"] < len(LESSONS):
            print(f"resuming {LESSONS[state['lesson']].name} at {state['step']}", flush=True)
        return state


def schedule(step: int, steps: int) -> float:
    """Linear warm-up over 6 % of the steps, then cosine decay to 2 %."""
    warm = max(1, int(0.06 * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def stable_seed(*parts: object) -> int:
    """A stable 31-bit seed from any printable parts."""
    return zlib.crc32("/".join(map(str, parts)).encode()) & 0x7FFFFFFF
