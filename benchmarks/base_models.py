"""The shape of a base model in figures, so that `preflight` needs neither the Hub nor the model.

    python benchmarks/base_models.py HuggingFaceM4/idefics2-8b
    python benchmarks/base_models.py HuggingFaceM4/idefics2-8b=FOLDER

Reads the model's config.json, from the Hub or from a folder that holds it, and writes the sizes by
which memory and speed are counted, and nothing else of it, into musequest/finetuning/shapes.yaml.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import yaml
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig

from musequest.files import write_text
from musequest.finetuning.models import SHAPES
from musequest.keys import read_yaml

SIZES = {
    "text_config": (
        *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"),
        *("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"),
    ),
    "vision_config": (
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("image_size", "patch_size"),
    ),
    "perceiver_config": (
        *("hidden_size", "resampler_depth", "resampler_n_latents", "resampler_n_heads"),
        *("resampler_head_dim", "num_key_value_heads"),
    ),
}


def shape_of(config: PretrainedConfig) -> dict[str, Any]:
    """The figures of a configuration of the Idefics family."""
    values = config.to_dict()
    shape: dict[str, Any] = {"model_type": config.model_type}
    shape["dtype"] = str(config.dtype).removeprefix("torch.")
    for key in ("scale_factor", "tie_word_embeddings"):
        if key in values:
            shape[key] = values[key]
    for part, keys in SIZES.items():
        if part in values:
            found = {key: values[part].get(key) for key in keys}
            shape[part] = {key: value for key, value in found.items() if value is not None}
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    return {"parameters": sum(p.numel() for p in model.parameters()), **shape}


def main(arguments: list[str]) -> None:
    """Add or replace the shapes of the models named."""
    shapes = read_yaml(SHAPES)
    for argument in arguments:
        name, _, folder = argument.partition("=")
        shapes[name] = shape_of(AutoConfig.from_pretrained(folder or name))
    kept = SHAPES.read_text(encoding="utf-8")
    head = "".join(line for line in kept.splitlines(keepends=True) if line.startswith("#"))
    write_text(SHAPES, head + yaml.safe_dump(shapes, sort_keys=False))


if __name__ == "__main__":
    main(sys.argv[1:])
