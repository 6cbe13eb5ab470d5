"""What a model consists of, part by part: in a table, and in a file that a person can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn
from transformers import ProcessorMixin

from ..core.files import write_text
from ..core.settings import PARTS
from .anatomy import anatomy_of, inner
from .processors import SPLITTING
from .splitting import Plan

NAME = "model_info.md"


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Trainable parameters and all."""
    counts = _counts(list(model.parameters()))
    return counts["trainable"], counts["parameters"]


def trainable_table(model: nn.Module) -> pd.DataFrame:
    """A row a part of the model, and one for all: parameters, trainable ones, share, dtypes."""
    parts: dict[str, list[nn.Parameter]] = {part: [] for part in PARTS}
    for name, parameter in inner(model).named_parameters():
        if part := anatomy_of(model).part_of(name):
            parts[part].append(parameter)
    parts["all"] = list(model.parameters())
    return pd.DataFrame([{"part": part, **_counts(own)} for part, own in parts.items()])


def weights_in(parameter: nn.Parameter) -> int:
    """How many weights a parameter holds; of those in 4 bits, two lie in a byte."""
    packed = getattr(parameter, "quant_state", None)
    return packed.shape.numel() if packed is not None else parameter.numel()


def write_model_info(
    folder: Path,
    model: nn.Module,
    processor: ProcessorMixin,
    title: str,
    plan: Plan | None = None,
) -> None:
    """Write <run>/model_info.md: architecture, devices, processor, a line a parameter.

    Where a `plan` splits the model, devices are numbers, those of its stages.
    """
    photos, tokenizer = processor.image_processor, processor.tokenizer
    special = ", ".join(f"`{token}`" for token in tokenizer.all_special_tokens)
    splitting = any(getattr(photos, name, False) for name in SPLITTING)
    shown = {"size": dict(photos.size), "image_splitting": splitting}
    parts = trainable_table(model)
    parts["trainable_percent"] = parts["trainable_percent"].map("{:.3f}".format)
    sections = {
        "Parameters by part": _markdown(parts),
        "Devices": _markdown(plan.table().round(3) if plan else _device_table(model)),
        "Processor": (
            f"- {type(processor).__name__} with {type(photos).__name__}: {json.dumps(shown)}\n"
            f"- {type(tokenizer).__name__}: {len(tokenizer)} tokens, padded on the "
            f"{tokenizer.padding_side} with `{tokenizer.pad_token}`\n"
            f"- special tokens: {special}"
        ),
        "Architecture": f"```\n{inner(model)}\n```",
        "Every parameter": _markdown(_parameter_table(model, plan)),
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items())
    write_text(folder / NAME, f"# {title}\n\n{body}\n")


def _parameter_table(model: nn.Module, plan: Plan | None) -> pd.DataFrame:
    """A row a parameter: name, shape, number, dtype, device, whether it is trained."""
    rows = [
        {
            "parameter": name,
            "shape": " x ".join(map(str, parameter.shape)),
            "numbers": parameter.numel(),
            "dtype": _dtype(parameter),
            "device": str(plan.stage_of(name) if plan else parameter.device),
            "trainable": "yes" if parameter.requires_grad else "",
        }
        for name, parameter in model.named_parameters()
    ]
    return pd.DataFrame(rows)


def _device_table(model: nn.Module) -> pd.DataFrame:
    """A row a device: parameters, trained ones, GiB; and which modules, where they are parted."""
    mapped: dict[str, Any] = getattr(inner(model), "hf_device_map", None) or {}
    rows = []
    for device in sorted({str(parameter.device) for parameter in model.parameters()}):
        own = [parameter for parameter in model.parameters() if str(parameter.device) == device]
        places = [name or "all" for name, it in mapped.items() if device in (str(it), f"cuda:{it}")]
        rows.append(
            {
                "device": device,
                "parameters": sum(parameter.numel() for parameter in own),
                "trainable": sum(each.numel() for each in own if each.requires_grad),
                "gib": round(sum(parameter.nbytes for parameter in own) / 2**30, 3),
                "modules": ", ".join(places) or "all",
            }
        )
    return pd.DataFrame(rows)


def _markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; pandas' own needs one package more."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _dtype(parameter: nn.Parameter) -> str:
    return str(parameter.dtype).removeprefix("torch.")


def _counts(parameters: list[nn.Parameter]) -> dict[str, Any]:
    total = sum(map(weights_in, parameters))
    trainable = sum(weights_in(p) for p in parameters if p.requires_grad)
    return {
        "parameters": total,
        "trainable": trainable,
        "trainable_percent": 100 * trainable / total if total else 0.0,
        "dtype": ", ".join(sorted(set(map(_dtype, parameters)))),
    }
