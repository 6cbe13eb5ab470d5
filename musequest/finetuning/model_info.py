"""What a model consists of, part by part: in a table, and in a file that a person can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from peft import PeftModel
from torch import nn
from transformers import ProcessorMixin

from ..files import write_text
from .splitting import Plan

NAME = "model_info.md"
PARTS = ("vision_model", "connector", "text_model", "lm_head")


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Trainable parameters and all."""
    counts = _counts(list(model.parameters()))
    return counts["trainable"], counts["parameters"]


def trainable_table(model: nn.Module) -> pd.DataFrame:
    """A row a part of the model, and one for all: parameters, trainable ones, share, dtypes."""
    rows = []
    for part in PARTS:
        of_part = [p for name, p in model.named_parameters() if part in name.split(".")]
        rows.append({"part": part, **_counts(of_part)})
    rows.append({"part": "all", **_counts(list(model.parameters()))})
    return pd.DataFrame(rows)


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
) -> Path:
    """Write <run>/model_info.md: architecture, devices, processor, a line a parameter."""
    path = folder / NAME
    write_text(path, model_info(model, processor, title, plan))
    return path


def model_info(
    model: nn.Module, processor: ProcessorMixin, title: str, plan: Plan | None = None
) -> str:
    """The file's text, Markdown; with a `plan` the devices are those of its stages."""
    photos, tokenizer = processor.image_processor, processor.tokenizer
    special = ", ".join(f"`{token}`" for token in tokenizer.all_special_tokens)
    shown = {"size": dict(photos.size), "image_splitting": photos.do_image_splitting}
    sections = {
        "Parameters by part": _markdown(_rounded(trainable_table(model))),
        "Devices": _markdown(plan.table().round(3) if plan else device_table(model)),
        "Processor": "\n".join(
            (
                f"- {type(processor).__name__} with {type(photos).__name__}: {json.dumps(shown)}",
                f"- {type(tokenizer).__name__}: {len(tokenizer)} tokens, padded on the "
                f"{tokenizer.padding_side} with `{tokenizer.pad_token}`",
                f"- special tokens: {special}",
            )
        ),
        "Architecture": f"```\n{_inner(model)}\n```",
        "Every parameter": _markdown(parameter_table(model, plan)),
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items())
    return f"# {title}\n\n{body}\n"


def parameter_table(model: nn.Module, plan: Plan | None = None) -> pd.DataFrame:
    """A row a parameter: name, shape, number, dtype, device, whether it is trained.

    The device is a number, that of its stage, where a `plan` splits the model.
    """
    rows = [
        {
            "parameter": name,
            "shape": " x ".join(map(str, parameter.shape)),
            "numbers": parameter.numel(),
            "dtype": str(parameter.dtype).removeprefix("torch."),
            "device": str(plan.stage_of(name) if plan else parameter.device),
            "trainable": "yes" if parameter.requires_grad else "",
        }
        for name, parameter in model.named_parameters()
    ]
    return pd.DataFrame(rows)


def device_table(model: nn.Module) -> pd.DataFrame:
    """A row a device: parameters, trained ones, GiB; and which modules, where they are parted."""
    table = parameter_table(model).assign(bytes=[p.nbytes for p in model.parameters()])
    mapped: dict[str, Any] = getattr(_inner(model), "hf_device_map", None) or {}
    rows = []
    for device, own in table.groupby("device"):
        modules = [name or "all" for name, place in mapped.items() if _same(place, str(device))]
        rows.append(
            {
                "device": device,
                "parameters": int(own["numbers"].sum()),
                "trainable": int(own.loc[own["trainable"] == "yes", "numbers"].sum()),
                "gib": round(int(own["bytes"].sum()) / 2**30, 3),
                "modules": ", ".join(modules) if modules else "all",
            }
        )
    return pd.DataFrame(rows)


def _same(place: Any, device: str) -> bool:
    return str(place) == device or f"cuda:{place}" == device


def _inner(model: nn.Module) -> nn.Module:
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(trainable_percent=table["trainable_percent"].map("{:.3f}".format))


def _markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; pandas' own needs one package more."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counts(parameters: list[nn.Parameter]) -> dict[str, Any]:
    total = sum(map(weights_in, parameters))
    trainable = sum(weights_in(p) for p in parameters if p.requires_grad)
    return {
        "parameters": total,
        "trainable": trainable,
        "trainable_percent": 100 * trainable / total if total else 0.0,
        "dtype": ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in parameters})),
    }
