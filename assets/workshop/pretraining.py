"""Pre-train the pocket docent: to read, to look, then to speak, in three lessons.

`read` trains the text model on catalogue texts. `look` trains vision tower and connector to name
kind, colour, material, pattern, proportion, count and place from labels that the renderer gives for
free, and to know two altered copies of a photo as one. `speak` trains connector and text model,
photo to sentence, mixed with catalogue texts and records. Every lesson resumes from the last state
in `--work`. Matrices within the layers are moved by Muon, which wants fewer steps than AdamW.
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

from .corpus import BLANK, catalogue_turn, record_turn, scene_turn, tokenizer_texts
from .docent import (
    LATENTS,
    build_model,
    build_processor,
    build_tokenizer,
)
from .scenes import random_scene
from .vision_pretraining import (
    IGNORED,
    Looker,
    Scenes,
    augmented,
    flipped_place,
    initialise,
)

UNSEEN = 300  # the first renderings are never trained on


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
    Lesson("read", 400, 0, 0, 12, 2.0e-3),
    Lesson("look", 4000, 32, 0, 0, 1.0e-3),
    Lesson("speak", 450, 48, 4, 2, 1.0e-3),
)
SAVED_EVERY = 100  # steps
RECORDED = 100  # every so manieth scene has a record


class Pretraining:
    """The docent, its lessons and the state they can resume from."""

    def __init__(self, scenes: Scenes, work: Path, seed: int = 0) -> None:
        self.scenes, self.work, self.seed = scenes, work, seed
        self.tokenizer = build_tokenizer(tokenizer_texts(map(random_scene, range(6000)), seed))
        self.processor = build_processor(self.tokenizer)
        self.model = build_model(self.tokenizer, seed)
        self.model.set_attn_implementation("eager")  # faster than SDPA for sequences this short
        photos = scenes.pixels[UNSEEN : UNSEEN + 400].float() / 127.5 - 1
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
            state = {"lesson": LESSONS.index(lesson) + 1, "step": 0, "optimizers": []}
            self._save(state)

    def _run_lesson(self, lesson: Lesson, state: dict) -> None:
        optimizers = self._optimizers(lesson.name)
        parameters = [p for each in optimizers for p in each.param_groups[0]["params"]]
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=False):
            optimizer.load_state_dict(kept)
        started = time.monotonic()
        for step in range(state["step"], lesson.steps):
            rate = lesson.learning_rate * schedule(step, lesson.steps)
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16):
                loss = self._loss(lesson, step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
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
                        "optimizers": [each.state_dict() for each in optimizers],
                    }
                )
        self.minutes += (time.monotonic() - started) / 60

    def _optimizers(self, lesson: str) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """Muon for the matrices within the layers, AdamW for all else that the lesson teaches."""
        text, connector = self.model.model.text_model, self.model.model.connector
        taught = {
            "read": [text],
            "look": [self.looker],
            "speak": [text, connector],
        }[lesson]
        self.model.requires_grad_(False)
        matrices, others = [], []
        for module in taught:
            module.requires_grad_(True)
            for name, parameter in module.named_parameters():
                if "patch_embedding" in name:  # stays as it starts (Chen et al. 2021, MoCo v3)
                    continue
                inner = parameter.dim() == 2 and name.endswith("proj.weight") or "mlp" in name
                (matrices if inner and parameter.dim() == 2 else others).append(parameter)
        return (
            torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.05, fused=True),
        )

    def _loss(self, lesson: Lesson, step: int) -> torch.Tensor:
        seed = stable_seed(self.seed, lesson.name, step)
        generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
        if lesson.name == "look":
            return self._label_loss(lesson.images, generator, rng)
        texts = self.text_loss([catalogue_turn(rng) for _ in range(lesson.texts)], None)
        if lesson.name == "read":
            return texts
        return (
            self._scene_loss(lesson.images, generator, rng)
            + self._record_loss(lesson.records, generator, rng)
            + 0.3 * texts
        )

    def _draw(self, n: int, generator: torch.Generator, rng: random.Random, every: int = 1):
        """n scenes that may be trained on: their numbers, pixels, and which were flipped."""
        seen = range(UNSEEN, len(self.scenes.labels), every)
        index = np.array([rng.choice(seen) for _ in range(n)])
        flip = torch.rand(n, generator=generator) < 0.5
        pixels = self.scenes.pixels[index]
        return index, torch.where(flip[:, None, None, None], pixels.flip(-1), pixels), flip

    def _label_loss(self, n: int, generator: torch.Generator, rng: random.Random) -> torch.Tensor:
        """Loss on two altered copies of each of n photos."""
        index, pixels, flip = self._draw(n, generator, rng)
        labels = [
            flipped_place(self.scenes.labels[i], bool(f)) for i, f in zip(index, flip, strict=True)
        ]
        return self.looker.loss(
            augmented(torch.cat([pixels, pixels]), generator), self.scenes.targets(labels)
        )

    def _scene_loss(self, n: int, generator: torch.Generator, rng: random.Random) -> torch.Tensor:
        index, pixels, flip = self._draw(n, generator, rng)
        photos = augmented(pixels, generator)
        turns = [
            scene_turn(flipped_place(self.scenes.labels[i], bool(f)), rng)
            for i, f in zip(index, flip, strict=True)
        ]
        if rng.random() < 0.7:
            photos[0] = rng.uniform(-1, 1)
            turns[0] = (turns[0][0], BLANK)
        return self.text_loss(turns, photos)

    def _record_loss(self, n: int, generator: torch.Generator, rng: random.Random) -> torch.Tensor:
        index, pixels, _ = self._draw(n, generator, rng, RECORDED)
        turns = [record_turn(self.scenes.labels[i], rng) for i in index]
        return self.text_loss(turns, augmented(pixels, generator))

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
            return {"lesson": 0, "step": 0, "optimizers": []}
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
