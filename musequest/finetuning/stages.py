"""A stage of a pipeline: the part of the model that one process holds, and how it computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    PretrainedConfig,
    PreTrainedModel,
)

from ..files import write_json
from ..settings import Approach, Profile
from .activations import EMBEDDINGS, chain
from .hub import of_base_model
from .models import TUNINGS, freeze_vision, model_config
from .planner import Plan


class Elsewhere(nn.Module):
    """Stands where another process holds the real part, and passes on what it is given."""

    def forward(self, hidden: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        """`hidden` itself."""
        return hidden


class Stage(nn.Module):
    """What one process holds of a model, and how it computes its share of a forward pass."""

    def __init__(self, model: PreTrainedModel, plan: Plan, number: int) -> None:
        super().__init__()
        self.model, self.number, self.count = model, number, len(plan.stages)
        self.own = tuple(f"{part.name}." for part in plan.stages[number])
        self.autocast: torch.dtype | None = None

    @property
    def is_first(self) -> bool:
        """Whether it sees photos and tokens."""
        return self.number == 0

    @property
    def is_last(self) -> bool:
        """Whether it makes logits."""
        return self.number == self.count - 1

    def forward(self, given: torch.Tensor, **context: torch.Tensor) -> torch.Tensor:
        """Hidden states (rows, tokens, width) for the next stage; of the last one logits.

        `given` is input_ids (rows, tokens) in the first stage, hidden states in the others. What is
        passed on has the dtype of the weights, in whatever dtype `autocast` lets it be computed.
        """
        mixed = self.autocast is not None
        with torch.autocast(given.device.type, self.autocast, enabled=mixed):
            made = self._compute(given, context)
        return made.to(self.model.dtype)

    def _compute(self, given: torch.Tensor, context: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.is_first:
            return self.model(input_ids=given, use_cache=False, **context).logits
        text = self.model.model.text_model
        hidden = text(inputs_embeds=given, use_cache=False, **context).last_hidden_state
        return self.model.lm_head(hidden)

    def context(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What of a batch the stage needs besides what it is given."""
        if self.is_first:
            return {name: batch[name] for name in batch if name not in ("input_ids", "labels")}
        return {"attention_mask": batch["attention_mask"]}

    def parameter_counts(self) -> tuple[int, int]:
        """Trainable and all parameters that are its own."""
        named = self.model.named_parameters()
        own = [parameter for name, parameter in named if name.startswith(self.own)]
        return sum(p.numel() for p in own if p.requires_grad), sum(p.numel() for p in own)

    def save(self, folder: Path) -> None:
        """Write the weights as one of the files of an ordinary model; every process has to.

        Together they are what `from_pretrained` loads: model-00001-of-00002.safetensors and so on,
        with configuration and index.
        """
        folder.mkdir(parents=True, exist_ok=True)
        weights = self._weights()
        save_file(weights, folder / self._file(), metadata={"format": "pt"})
        mine = {name: (self._file(), tensor.nbytes) for name, tensor in weights.items()}
        everybody: list[Any] = [None] * self.count
        dist.all_gather_object(everybody, mine)
        if self.number == 0:
            places = {name: place for each in everybody for name, place in each.items()}
            index = {
                "metadata": {"total_size": sum(size for _, size in places.values())},
                "weight_map": {name: file for name, (file, _) in places.items()},
            }
            write_json(folder / "model.safetensors.index.json", index)
            self.model.config.save_pretrained(folder)
            self.model.generation_config.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Read the weights that `save` wrote."""
        self.model.load_state_dict(load_file(folder / self._file()), strict=False)

    def _weights(self) -> dict[str, torch.Tensor]:
        """Own weights by their names in the whole model; a copy of another stage's is not own."""
        return {
            name: tensor.cpu().contiguous()
            for name, tensor in self.model.state_dict().items()
            if name.startswith(self.own) and name not in self.model.all_tied_weights_keys
        }

    def _file(self) -> str:
        return f"model-{self.number + 1:05d}-of-{self.count:05d}.safetensors"


def load_stage(
    profile: Profile, approach: Approach, plan: Plan, number: int, device: str | torch.device
) -> Stage:
    """Read stage `number` of the profile's base model, and nothing of the others, to `device`."""
    config = model_config(profile)
    own = {part.name for part in plan.stages[number]}
    if config.tie_word_embeddings and number == len(plan.stages) - 1:
        own.add(EMBEDDINGS)
    base = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
    options = {"dtype": profile.dtype, "device_map": {"": device}}
    model = of_base_model(_of_own_parts(base, own).from_pretrained, profile, **options)
    freeze_vision(model)
    return Stage(TUNINGS[approach.tuning](model.eval(), approach), plan, number)


def _of_own_parts(base: type[PreTrainedModel], own: set[str]) -> type[PreTrainedModel]:
    """The model's class, its foreign parts left out before there is memory for them."""

    class Part(base):
        def __init__(self, config: PretrainedConfig) -> None:
            super().__init__(config)
            # What a file holds of foreign parts is no surprise.
            self._keys_to_ignore_on_load_unexpected = {".*"}
            if EMBEDDINGS not in own or "lm_head" not in own:
                self.all_tied_weights_keys = {}
            for name, _ in list(chain(self)):
                if name not in own:
                    self.set_submodule(name, Elsewhere())

    Part.__name__ = base.__name__
    return Part
