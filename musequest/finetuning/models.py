"""Base models and tuned models, loaded by profile: any of transformers' for photos and text."""

from __future__ import annotations

import copy
import ctypes
import gc
import hashlib
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import cached_file

from ..core.errors import MuseQuestError
from ..core.files import digests_of, read_json, write_json
from ..core.home import collection_dir, run_dir
from ..core.hub import file_here, of_base_model, of_run
from ..core.keys import read_yaml
from ..core.settings import TAKING, Approach, Profile, check_adapter, load_approach
from .anatomy import anatomy_of, module_of
from .processors import load_processor as load_processor  # a model's, and read with it
from .records import check_base_files, finished_record
from .vision import freeze_vision, learns

HASHED_BYTES = 2**30
# Sizes of the base models of the shipped profiles.
SHAPES = Path(__file__).with_name("shapes.yaml")
# Of which a base model has one if its weights are here.
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
# Configurations by their file, and when that was written.
CONFIGS: dict[Any, PretrainedConfig] = {}
READ = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


def load_model(
    profile: Profile,
    *,
    quantization: dict[str, Any] | None = None,
    device: str | None = None,
) -> PreTrainedModel:
    """The base model in eval mode on `device` (a GPU if there is one), its vision model frozen.

    What is given an adapter later learns all the same (`freeze_vision`).

    `quantization` holds keys of BitsAndBytesConfig, which computes in the profile's dtype unless it
    says otherwise. A base model that is neither a folder nor on the Hub raises MuseQuestError.
    """
    model_config(profile)  # or the reason why it cannot see
    device = device or default_device()
    options: dict[str, Any] = {"dtype": profile.dtype, **_straight_to(device)}
    if quantization:
        options["dtype"] = weights_dtype(profile)
        compute = {
            "bnb_4bit_compute_dtype": options["dtype"],
            "llm_int8_skip_modules": anatomy_of(of_shape(profile)).kept_whole,
        }
        options["quantization_config"] = BitsAndBytesConfig(**{**compute, **quantization})
        options["device_map"] = {"": device}
    read = AutoModelForImageTextToText.from_pretrained
    model = read_whole(partial(of_base_model, read, profile), profile, profile.base_model, options)
    for module in model.modules() if quantization else ():
        # Else bitsandbytes repacks 4-bit weights for one processor's bfloat16 instructions, at the
        # first validation, and from then on no gradient passes through these layers.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model.eval()


def of_shape(profile: Profile) -> PreTrainedModel:
    """The base model without memory for its weights: of their shapes and dtype alone."""
    config, dtype = model_config(profile), weights_dtype(profile)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    anatomy_of(model, profile.anatomy)
    return model


def add_adapter(model: PreTrainedModel, approach: Approach) -> PeftModel:
    """Put a fresh LoRA adapter on the model; everything else is frozen (arXiv:2106.09685).

    Of a quantised model norms, embeddings and head are kept in float32, as QLoRA asks
    (arXiv:2305.14314); the vision model, which is frozen and large, in its own dtype.
    An adapter that would be put nowhere, or that could not be kept, raises MuseQuestError.
    """
    check_adapter(approach)
    if getattr(model, "is_quantized", False):
        dtype = model.dtype
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        module_of(model, "vision_model").to(dtype)
    chosen = {"target_modules": anatomy_of(model).projections, **approach.lora}
    if model.device.type == "meta" and chosen.get("init_lora_weights") in TAKING:
        chosen["init_lora_weights"] = True  # there is nothing to take from
    try:
        config = LoraConfig(**chosen)
        with _peft_calling_old_names():
            return get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        raise MuseQuestError(
            f"peft cannot put the adapter of '{approach.name}' on a {type(model).__name__} "
            f"({str(error).splitlines()[0].rstrip('.')}); correct the block `lora` of the profile "
            "or of the approach's config.yaml."
        ) from error


def free_projections(model: PreTrainedModel, approach: Approach) -> PreTrainedModel:
    """Make the projections of text model and connector trainable and freeze all else.

    Which they are the anatomy says; a model that has none raises MuseQuestError.
    """
    projections = re.compile(anatomy_of(model).projections)
    for name, parameter in model.named_parameters():
        chosen = projections.fullmatch(name.removesuffix(".weight"))
        parameter.requires_grad_(chosen is not None and parameter.is_floating_point())
    if not learns(model):
        raise MuseQuestError(
            f"Full tuning finds nothing to learn in a {type(model).__name__}: no weight is named "
            f"{projections.pattern!r}; set anatomy.projections in the profile to a regular "
            "expression of modules that it has."
        )
    return model


# What an approach's `tuning` makes trainable, and the folder of a run its weights lie in.
TUNINGS = {"lora": add_adapter, "full": free_projections}
WEIGHTS = {"lora": "adapter", "full": "model"}


@of_run
def load_tuned(
    profile: Profile,
    approach_name: str,
    *,
    dequantized: bool = False,
    device: str | None = None,
) -> PreTrainedModel | PeftModel:
    """The best weights of a finished run, in eval mode on `device` (a GPU if there is one).

    Of a model in 4 bits they stay so unless told.

    Raises MuseQuestError if the run is not finished or was made from another base model.
    """
    approach = load_approach(approach_name)
    folder = run_dir(profile.name, approach_name)
    record = finished_record(folder)
    if record["base_model_fingerprint"] != base_fingerprint(profile):
        raise MuseQuestError(
            f"{folder} was made from another base model than {profile.base_model} is now; train "
            "again with fresh=True (--fresh), or bring the old base model back."
        )
    check_base_files(base_folder(profile), record, folder)
    return load_kept(profile, approach, folder, dequantized=dequantized, device=device)


def load_kept(
    profile: Profile,
    approach: Approach,
    folder: Path,
    *,
    dequantized: bool = False,
    device: str | None = None,
) -> PreTrainedModel | PeftModel:
    """The weights that the run in `folder` keeps, in eval mode, whatever its record says."""
    weights = folder / WEIGHTS[approach.tuning]
    if approach.tuning == "full":
        options = {"dtype": profile.dtype, **_straight_to(device or default_device())}
        read = partial(AutoModelForImageTextToText.from_pretrained, weights)
        return read_whole(read, profile, str(weights), options).eval()
    model = load_model(profile, quantization=approach.quantization, device=device)
    if approach.quantization and dequantized:
        model = model.dequantize(getattr(torch, profile.dtype, model.dtype))
    with _peft_calling_old_names():
        return PeftModel.from_pretrained(model, weights).eval()


def name_base_model(run_folder: Path, profile: Profile) -> None:
    """Make the adapter of a run name its base model as the profile does, not by a local path."""
    path = run_folder / WEIGHTS["lora"] / "adapter_config.json"
    if path.exists():
        write_json(path, {**read_json(path), "base_model_name_or_path": profile.base_model})


def model_config(profile: Profile) -> PretrainedConfig:
    """The configuration of the profile's base model, its file read once as long as it is the same.

    That of a shipped profile's model which is not here has the sizes alone, from shapes.yaml. A
    model that is none of transformers' for photos and text raises MuseQuestError.
    """
    if shape := shape_alone(profile):
        return AutoConfig.for_model(**{key: shape[key] for key in shape if key != "parameters"})
    file = file_here(profile, "config.json")
    key = (file, file.stat().st_mtime_ns) if file else None
    if (config := CONFIGS.get(key)) is None:
        config = of_base_model(AutoConfig.from_pretrained, profile, trust_remote_code=False)
        if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            raise MuseQuestError(
                f"The base model '{profile.base_model}' is of the kind {config.model_type}, which "
                "is none that transformers has for photos and text; choose one of the kind "
                "image-text-to-text."
            )
        CONFIGS.update({key: config} if key else {})
    return copy.deepcopy(config)


@cache
def _shapes() -> dict[str, Any]:
    return read_yaml(SHAPES)


def shape_alone(profile: Profile) -> dict[str, Any] | None:
    """The sizes that come with the package of a base model which is not here; None if it is."""
    shape = _shapes().get(profile.base_model)
    return None if shape is None or file_here(profile, "config.json") else shape


def weights_dtype(profile: Profile) -> torch.dtype:
    """The dtype of the profile's weights; for `auto` that in which the base model was saved."""
    named = model_config(profile).dtype if profile.dtype == "auto" else profile.dtype
    return named if isinstance(named, torch.dtype) else getattr(torch, named or "float32")


def default_device() -> str:
    """This process's GPU if there is one, else the processor."""
    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"


def free_memory() -> None:
    """Let go of what nobody uses any more, and of the memory that was kept for it.

    Trainers and frozen vision models refer to themselves, so that they do not go at once.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def give_back() -> None:
    """Give memory of the processor that nobody uses back to the system, where glibc keeps it."""
    if sys.platform == "linux" and hasattr(c := ctypes.CDLL(None), "malloc_trim"):
        c.malloc_trim(0)


def base_fingerprint(profile: Profile) -> str:
    """A text that changes with the base model's weights: SHA-256 of a folder, commit on the Hub.

    Of a folder beyond 1 GiB only names and sizes are hashed.
    """
    folder = base_folder(profile)
    if not Path(profile.base_model_source).is_dir():
        return folder.name
    files = [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.json"))]
    small = sum(file.stat().st_size for file in files) < HASHED_BYTES
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes() if small else b"")
    return digest.hexdigest()


def base_digests(profile: Profile) -> dict[str, str]:
    """The SHA-256 of each file of the base model that is read, tokenizer and templates included."""
    folder = base_folder(profile)
    return digests_of(folder, (path for kind in READ for path in folder.glob(kind)))


def base_folder(profile: Profile) -> Path:
    """Where the base model's files lie: its folder, or its snapshot in the Hub's cache."""
    folder = Path(profile.base_model_source)
    if folder.is_dir():
        return folder
    return Path(of_base_model(cached_file, profile, "config.json")).parent


@contextmanager
def _peft_calling_old_names() -> Iterator[None]:
    """peft asks transformers for `is_gradient_checkpointing`, which warns of its end in v6."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        yield


def read_whole(
    read: Callable[..., Any],
    profile: Profile,
    source: str,
    options: dict[str, Any],
    absent: Collection[str] = (),
) -> PreTrainedModel:
    """The model that `read` makes with `options`, its parts found and its vision model frozen.

    A weight that its `source` has not raises MuseQuestError, for it would be left to chance, but
    for those that are to be `absent`. What the vision model makes of a photo is kept beside the
    profile's collection.
    """
    model, found = read(**options, output_loading_info=True)
    if missing := sorted({*found["missing_keys"]} - {*absent}):
        raise MuseQuestError(
            f"The weights in '{source}' are not those of a {type(model).__name__}: {len(missing)} "
            f"are missing, first {missing[0]}; bring back the files that belong together."
        )
    anatomy_of(model, profile.anatomy)
    freeze_vision(model, collection_dir(profile.collection) / "vision", profile.vision_store_gib)
    return model


def _straight_to(device: str) -> dict[str, Any]:
    """Options under which weights are read to a GPU without lying in main memory first."""
    return {} if device == "cpu" else {"device_map": {"": device}}
