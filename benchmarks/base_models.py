"""The shape of a base model in figures, so that `preflight` needs neither the Hub nor the model.

    python benchmarks/base_models.py HuggingFaceM4/idefics2-8b
    python benchmarks/base_models.py HuggingFaceM4/idefics2-8b=FOLDER
    python benchmarks/base_models.py --record

Reads the model's config.json, from the Hub or from a folder that holds it, and writes the sizes by
which memory and speed are counted, and nothing else of it, into musequest/finetuning/shapes.yaml.
With --record it keeps in benchmarks/records/ what the shipped profiles' models take, by what
`preflight` counts: how many rows at a time a card of 16, 24, 48 or 80 GB trains on.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import yaml
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig

from musequest.core.files import write_json, write_text
from musequest.core.home import root
from musequest.core.keys import read_yaml
from musequest.core.settings import load_profile
from musequest.finetuning.gpus import find_gpu
from musequest.finetuning.models import SHAPES
from musequest.finetuning.needs import needs_of
from musequest.finetuning.records import GIB, versions

RECORD = root() / "benchmarks" / "records" / "base_models.json"
CARDS, GB = (16, 24, 48, 80), 10**9
APPROACHES = ("qlora", "lora", "full")
TOP = ("scale_factor", "mm_tokens_per_image", "downsample_ratio", "tie_word_embeddings")
SIZES = {
    "text_config": (
        *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"),
        *("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"),
        *("sliding_window", "linear_conv_kernel_dim", "linear_key_head_dim"),
        *("linear_value_head_dim", "linear_num_key_heads", "linear_num_value_heads"),
    ),
    "vision_config": (
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("image_size", "patch_size", "model_type", "vision_use_head"),
        *("depth", "num_heads", "out_hidden_size", "spatial_merge_size", "temporal_patch_size"),
        *("num_position_embeddings", "deepstack_visual_indexes"),
    ),
    "perceiver_config": (
        *("hidden_size", "resampler_depth", "resampler_n_latents", "resampler_n_heads"),
        *("resampler_head_dim", "num_key_value_heads"),
    ),
}
# Of several kinds of vision model a configuration says which; others have one, which has no name.
NAMED = ("siglip_vision_model",)


def shape_of(config: PretrainedConfig) -> dict[str, Any]:
    """The figures of a configuration."""
    values = config.to_dict()
    shape: dict[str, Any] = {"model_type": config.model_type}
    shape["dtype"] = str(config.dtype).removeprefix("torch.")
    for key in TOP:
        if key in values:
            shape[key] = values[key]
    for part, keys in SIZES.items():
        if part in values:
            found = {key: values[part].get(key) for key in keys}
            shape[part] = {key: value for key, value in found.items() if value is not None}
    if shape["vision_config"].get("model_type") not in NAMED:
        shape["vision_config"].pop("model_type", None)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    return {"parameters": sum(p.numel() for p in model.parameters()), **shape}


def rows_on_cards() -> list[dict[str, Any]]:
    """A row a shipped profile and approach: bytes of a step with one row, and rows a card takes."""
    rows = []
    for path in sorted((root() / "profiles").glob("*.yaml")):
        profile = load_profile(path.stem)
        if profile.base_model not in read_yaml(SHAPES):
            continue
        for need in needs_of(profile, runs=APPROACHES):
            fitting = {
                f"{card}_gb": max(
                    need.fitting(find_gpu(f"{card * GB / GIB}GiB"), again, 1)
                    for again in (False, True)
                )
                for card in CARDS
            }
            least = need.bytes(1, True, 1) / GIB
            row = {"profile": profile.name, "base_model": profile.base_model}
            row |= {"parameters": read_yaml(SHAPES)[profile.base_model]["parameters"]}
            row |= {"approach": need.name, "tokens_a_row": need.memory.row.tokens}
            rows.append(row | {"one_row_gib": round(least, 2)} | fitting)
    return rows


def main(arguments: list[str]) -> None:
    """Add or replace the shapes of the models named, or record what fits where."""
    if arguments == ["--record"]:
        write_json(RECORD, {"versions": versions(), "rows": rows_on_cards()})
        return
    shapes = read_yaml(SHAPES)
    for argument in arguments:
        name, _, folder = argument.partition("=")
        shapes[name] = shape_of(AutoConfig.from_pretrained(folder or name))
    kept = SHAPES.read_text(encoding="utf-8")
    head = "".join(line for line in kept.splitlines(keepends=True) if line.startswith("#"))
    write_text(SHAPES, head + yaml.safe_dump(shapes, sort_keys=False))


if __name__ == "__main__":
    main(sys.argv[1:])
