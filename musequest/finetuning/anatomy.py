"""What a vision-language model consists of, found from the model itself.

    anatomy = anatomy_of(model)
    anatomy.decoder, anatomy.projections

A photo passes the vision model and the connector, which makes image tokens of it; the decoder reads
them among the words, layer by layer, and the head says the next word. transformers knows the vision
model, the decoder, the embeddings and the head of each of its models, and the rest follows from
where they stand. So no line here, nor elsewhere in the package, names a family of models. What is
found otherwise than wanted a profile says in its block `anatomy`, whose keys are KEYS. A table
counts each part's parameters, and model_info.md tells a person all of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin

from ..core.errors import MuseQuestError
from ..core.files import write_text
from ..core.settings import ANATOMY, PARTS
from .processors import SPLITTING

MODEL_INFO = "model_info.md"


@dataclass(frozen=True)
class Anatomy:
    """Names of a model's parts, as `named_modules` has them."""

    vision_model: str
    vision_layers: str  # the list of its layers
    connector: tuple[str, ...]  # modules, or single weights, between vision model and decoder
    decoder: str
    layers: str  # the list of its layers
    embeddings: str
    head: str
    # Regular expression of what is learned: the matrices of the decoder's layers and the connector.
    projections: str

    @property
    def connector_in_vision(self) -> bool:
        """Whether the connector is a part of the vision model, and not behind it."""
        return any(name.startswith(f"{self.vision_model}.") for name in self.connector)

    @property
    def kept_whole(self) -> list[str]:
        """What is left as it is where weights are kept in few bits."""
        return [self.vision_model, self.head]

    @cached_property
    def _prefixes(self) -> tuple[tuple[str, str], ...]:
        """Beginnings of parameters' names, each with its part of PARTS; the first counts."""
        connector = ((name, "connector") for name in self.connector)
        own = (self.vision_model, PARTS[0]), (self.decoder, PARTS[2]), (self.head, PARTS[3])
        return (*connector, *own)

    def part_of(self, name: str) -> str | None:
        """Which of PARTS a parameter belongs to, by its name; None if to none of them."""
        for prefix, part in self._prefixes:
            if name == prefix or name.startswith(f"{prefix}."):
                return part
        return None

    def chain(self, model: nn.Module) -> Iterator[tuple[str, str, Any]]:
        """The parts that hold all parameters, in the order in which data passes them.

        Yields for each its kind (of PARTS, or embeddings or layer), its name, and the module; or
        a weight where the connector has one of its own.
        """
        model = inner(model)
        decoder, layers = model.get_submodule(self.decoder), model.get_submodule(self.layers)
        named = [(PARTS[0], self.vision_model)]
        named += [(PARTS[1], name) for name in self.connector if not self.connector_in_vision]
        named += [("embeddings", self.embeddings)]
        named += [("layer", f"{self.layers}.{number}") for number in range(len(layers))]
        rest = {f"{self.decoder}.{name}": module for name, module in decoder.named_children()}
        for name in (self.layers, self.embeddings):
            rest.pop(name, None)
        named += [(PARTS[2], name) for name, module in rest.items() if _holds(module)]
        for kind, name in (*named, (PARTS[3], self.head)):
            yield kind, name, _found(model, name)


def anatomy_of(model: nn.Module, chosen: Mapping[str, Any] | None = None) -> Anatomy:
    """The anatomy of a model, tuned or not; found once, and kept with the model from then on.

    `chosen` is a profile's block `anatomy`. What is neither said there nor found raises
    MuseQuestError, which names the key to set.
    """
    model = inner(model)
    kept: Anatomy | None = model.__dict__.get("anatomy")
    if kept is None:
        kept = model.__dict__["anatomy"] = _anatomy(model, chosen or {})
    return kept


def inner(model: nn.Module) -> Any:
    """The model without the adapter around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def module_of(model: nn.Module, part: str) -> Any:
    """The module of a model, tuned or not, that its anatomy has under this name, as "decoder"."""
    return inner(model).get_submodule(getattr(anatomy_of(model), part))


def _anatomy(model: PreTrainedModel, chosen: Mapping[str, Any]) -> Anatomy:
    modules = dict(model.named_modules(remove_duplicate=False))
    names = {id(module): name for name, module in reversed(modules.items())}

    def place(key: str, found: Any) -> str:
        """Where the profile says that a part lies, else where transformers finds it."""
        name = chosen.get(key, names.get(id(found), ""))
        if name not in modules or modules[name] in (model, model.base_model):
            said = f"has no module '{name}'" if key in chosen else f"has no {key} that can be found"
            raise MuseQuestError(
                f"A {type(model).__name__} {said}; set anatomy.{key} in the profile to the name of "
                f"its module ({ANATOMY[key]}), or choose a model that sees photos and speaks."
            )
        return name

    vision = place("vision_model", model.get_encoder("image"))
    decoder = place("decoder", model.get_decoder())
    head = place("head", model.get_output_embeddings())
    embeddings = place("embeddings", model.get_input_embeddings())
    layers = _longest_list(modules, decoder, "decoder", model)
    vision_layers = _longest_list(modules, vision, "vision_model", model)
    connector = tuple(chosen.get("connector", ())) or _connector(
        model, vision, decoder, head, vision_layers
    )
    for name in connector:
        if _found(model, name) is None:
            raise MuseQuestError(
                f"A {type(model).__name__} has no module '{name}'; set anatomy.connector in the "
                f"profile to names that it has ({ANATOMY['connector']})."
            )
    projections = chosen.get("projections") or _projections(model, layers, connector)
    return Anatomy(vision, vision_layers, connector, decoder, layers, embeddings, head, projections)


def _longest_list(modules: dict[str, nn.Module], of: str, key: str, model: nn.Module) -> str:
    """The longest list of modules in a part, which is that of its layers."""
    lists = [
        (len(module), name)
        for name, module in modules.items()
        if isinstance(module, nn.ModuleList) and name.startswith(f"{of}.")
    ]
    if not lists:
        raise MuseQuestError(
            f"The {key} of a {type(model).__name__} has no list of layers; set anatomy.{key} in "
            f"the profile to the module that has ({ANATOMY[key]})."
        )
    return max(lists, key=lambda each: each[0])[1]


def _connector(
    model: PreTrainedModel, vision: str, decoder: str, head: str, vision_layers: str
) -> tuple[str, ...]:
    """What stands beside vision model and decoder, or else makes the decoder's width in the first.

    Beside them: modules with weights, and single weights.
    """
    container = ".".join(os.path.commonprefix([vision.split("."), decoder.split(".")]))
    holder = model.get_submodule(container)
    beside = [name for name, module in holder.named_children() if _holds(module)]
    beside += [name for name, _ in holder.named_parameters(recurse=False)]
    whole = [f"{container}.{name}".lstrip(".") for name in beside]
    taken = (vision, decoder, head)
    found = [name for name in whole if not any(f"{each}.".startswith(f"{name}.") for each in taken)]
    if found:
        return tuple(found)
    width = model.config.get_text_config().hidden_size
    return tuple(
        f"{vision}.{name}"
        for name, module in model.get_submodule(vision).named_children()
        if not vision_layers.startswith(f"{vision}.{name}")
        and any(
            isinstance(part, nn.Linear) and part.out_features == width for part in module.modules()
        )
    )


def _projections(model: nn.Module, layers: str, connector: Iterable[str]) -> str:
    """All matrices of the layers and of the connector; those of each layer in a list count alike.

    A connector without a module for its matrix has it as a weight of its own.
    """
    names = _linear(model, layers)
    for name in connector:
        if isinstance(part := _found(model, name), nn.Module):
            weights = part.named_parameters()
            names += _linear(model, name) or [f"{name}.{key}" for key, w in weights if w.ndim > 1]
    return "|".join(sorted({_general(model, name) for name in names}))


def _general(model: nn.Module, name: str) -> str:
    """A pattern for the name, and for those that differ by their place in a list of layers."""
    found, pattern = model, []
    for step in name.split("."):
        pattern.append(r"\d+" if isinstance(found, nn.ModuleList) else re.escape(step))
        found = getattr(found, step)
    return r"\.".join(pattern)


def _linear(model: nn.Module, name: str) -> list[str]:
    part = model.get_submodule(name)
    return [
        f"{name}.{key}".rstrip(".")
        for key, module in part.named_modules()
        if isinstance(module, nn.Linear)
    ]


def _found(model: nn.Module, name: str) -> Any:
    """The module or weight of that name; None if there is none."""
    found: Any = model
    for step in name.split("."):
        found = getattr(found, step, None)
    return found


def _holds(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


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
    plan: Any | None = None,
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
        "Every parameter": _markdown(parameter_table(model, plan)),
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items())
    write_text(folder / MODEL_INFO, f"# {title}\n\n{body}\n")


def parameter_table(model: nn.Module, plan: Any | None = None) -> pd.DataFrame:
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
