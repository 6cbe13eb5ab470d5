"""Profiles (what to tune, on what) and approaches (how), read from YAML with every key checked."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import MuseQuestError
from .home import plain_name, root
from .keys import (
    ENGLISH,
    check_blocks,
    check_keys,
    check_kinds,
    checked_language,
    keys_in_source,
    keys_of,
    nearest_of,
    read_yaml,
    typed_value,
)
from .training_arguments import ARGUMENTS, RENAMED, check, read

# How several devices share the work, each with its keys; fsdp has those of Accelerate's plugin too.
STRATEGIES = {
    "ddp": {"processes"},
    "sequential": {"micro_batches"},
    "1f1b": {"processes", "micro_batches"},
    "fsdp": {"processes", "square_root_scaling_from"},
}
PARTED = ("sequential", "1f1b", "fsdp")  # no device holds the whole model
# Parts of a model that may have a learning rate of their own.
PARTS = ("vision_model", "connector", "text_model", "lm_head")
# What of a base model a profile may name, where it is not found or found otherwise than wanted.
ANATOMY = {
    "vision_model": "the part that sees photos",
    "connector": "a list of what stands between the vision model and the decoder",
    "decoder": "the part that reads image tokens and words",
    "embeddings": "the words' vectors",
    "head": "what says the next word",
    "projections": "a regular expression of the modules that are learned",
    "closing_token": "the token that ends an answer",
    "template": "values for the chat template, such as {enable_thinking: false}",
}
# What the values of these are, where they are more than a name.
ANATOMY_KINDS = {"connector": (list, "a list of names"), "template": (dict, "'key: value' lines")}
# Blocks of a profile's or an approach's file, each with the keys that it may hold.
BLOCKS: dict[str, Callable[[], Set[str]]] = {
    "approach_training": lambda: set(approach_names()),
    "lora": lambda: (
        keys_in_source("peft.config", "PeftConfig", "PeftConfigMixin")
        | keys_in_source("peft.tuners.lora.config", "LoraConfig")
    ),
    "quantization": lambda: keys_in_source(
        "transformers.utils.quantization_config", "BitsAndBytesConfig"
    ),
    "anatomy": ANATOMY.keys,
    "learning_rates": lambda: set(PARTS),
}
# How a LoRA adapter may begin, keys of `init_lora_weights`: all that leave the base model as it is,
# and those that take from its weights what can be found in them again, unless they are quantised.
STARTS = (True, False, "gaussian", "orthogonal")
TAKING = ("pissa", "olora")


@dataclass(frozen=True)
class Profile:
    """What to tune, on what; one file of profiles/ each, named by the file."""

    name: str
    base_model: str  # folder relative to the repository, or a name on the Hub
    collection: str  # data/<collection>
    image_size: int  # longest edge a photo is given to the model with, px
    # A folder of exhibits.csv and photos, relative to the repository, or smithsonian or artic.
    museum: str | None = None
    catalogue: str | None = None  # of a museum on the internet: the exhibits wanted, a CSV file
    query: str | None = None  # of a museum on the internet: the words exhibits have to match
    limit: int = 50  # exhibits of a query
    writer: str = "offline"  # of the dialogs: offline, hosted, or batch
    writer_model: str = "gpt-4o-mini"  # of a hosted writer
    max_cost_usd: float = 1.0  # of all runs of a hosted writer on the collection together
    image_splitting: bool = False  # whether a photo is also shown in four crops
    dtype: str = "float32"  # of the weights: float32, bfloat16, float16 or auto
    max_new_tokens: int = 160  # longest answer
    generation_batch_size: int | None = None  # photos answered together; None for all that fit
    vision_store_gib: float = 20.0  # disk for what the frozen vision tower saw; 0 for none
    evaluation_split: str = "test"  # the split that is answered and scored
    # Folder of photos from outside the collection, relative to the repository; null for none.
    outsiders: str | None = "assets/pocket_outsiders"
    # Folder of photos of things that are not in the collection, which the docent learns to say it
    # does not know, relative to the repository; null for none.
    strangers: str | None = None
    strangers_share: float = 0.15  # of the rows of training and of validation
    require_review: bool = False  # whether only what a curator approved is learned
    language: str = ENGLISH  # of the museum's texts and the dialogs, a code of ISO 639-1
    seed: int = 0  # of augmentation and dialogs
    training: dict[str, Any] = field(default_factory=dict)  # keys of TrainingArguments
    approach_training: dict[str, Any] = field(default_factory=dict)  # the same, by approach
    lora: dict[str, Any] = field(default_factory=dict)  # keys of LoraConfig, before an approach's
    anatomy: dict[str, Any] = field(default_factory=dict)  # keys of ANATOMY
    learning_rates: dict[str, float] = field(default_factory=dict)  # of PARTS with their own

    @property
    def base_model_source(self) -> str:
        """What `from_pretrained` takes: the folder if it exists here, else the Hub name."""
        folder = root() / self.base_model
        return str(folder) if folder.is_dir() else self.base_model

    @property
    def museum_folder(self) -> Path:
        """The museum's folder; MuseQuestError if the profile names none."""
        if self.museum is None:
            raise MuseQuestError(
                f"The profile '{self.name}' names no museum; add the key 'museum' to its file, or "
                "collect its exhibits with `python -m musequest collect`."
            )
        return root() / self.museum


@dataclass(frozen=True)
class Approach:
    """How to tune; the config.yaml of one folder of 2_model_finetuning/."""

    name: str
    folder: Path
    tuning: str  # "lora" or "full"
    training: dict[str, Any] = field(default_factory=dict)  # keys of TrainingArguments
    lora: dict[str, Any] = field(default_factory=dict)  # keys of LoraConfig
    quantization: dict[str, Any] | None = None  # keys of BitsAndBytesConfig
    parallel: dict[str, Any] | None = None  # "strategy" and its keys

    @property
    def strategy(self) -> str | None:
        """A key of STRATEGIES; None for a single process on a single device."""
        return (self.parallel or {}).get("strategy")

    @property
    def parted(self) -> bool:
        """Whether several devices share weights, gradients and optimizer states."""
        return self.strategy in PARTED

    @property
    def layered(self) -> bool:
        """Whether each device has some of the layers, whole."""
        return self.parted and self.strategy != "fsdp"


def load_profile(
    name_or_path: str | Path | Profile, overrides: dict[str, str] | None = None
) -> Profile:
    """Read profiles/<name>.yaml, or a YAML file given by its path; a Profile is one already.

    `overrides` maps profile keys to values as typed in a shell. An unknown profile, an unknown
    key or a value of the wrong kind raises MuseQuestError.
    """
    if isinstance(name_or_path, Profile):
        return name_or_path
    path = _profile_path(name_or_path)
    values, typed = read_yaml(path), overrides or {}
    check_keys(values, profile_keys(), path)
    check_keys(typed, profile_keys(), "--set")
    values |= {key: typed_value(text) for key, text in typed.items()}
    check_kinds(Profile, values, path)
    if "language" in values:
        values["language"] = checked_language(values["language"], path)
    check_blocks(values, BLOCKS, path)
    for key, value in values.get("anatomy", {}).items():
        kind, meant = ANATOMY_KINDS.get(key, (str, "a name"))
        if not value or not isinstance(value, kind):
            raise MuseQuestError(f"{path}: anatomy.{key} is {value!r}; write {meant}.")
    by_approach = values.get("approach_training", {})
    for name, training in {"training": values.get("training", {}), **by_approach}.items():
        if not isinstance(training, dict):
            raise MuseQuestError(f"{path}: '{name}' is {training!r}; write 'key: value' lines.")
        check(training, path)
    for part, rate in values.get("learning_rates", {}).items():
        check({"learning_rate": rate}, f"{path}, learning_rates, {part}")
    return Profile(name=plain_name(path.stem, "profile"), **values)


def _profile_path(name_or_path: str | Path) -> Path:
    if str(name_or_path).endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if path.is_file():
            return path
        raise MuseQuestError(f"The profile file {path} does not exist; check its path.")
    paths = sorted((root() / "profiles").glob("*.yaml"))
    return _named("profile", str(name_or_path), {path.stem: path for path in paths}, "profiles/")


def _named(noun: str, name: str, known: dict[str, Path], where: str) -> Path:
    if name not in known:
        nearest = f"the nearest is '{nearest_of(name, known)}', and " if known else ""
        raise MuseQuestError(
            f"There is no {noun} '{name}' in {where}; {nearest}the known ones are: "
            f"{', '.join(known) or 'none'}."
        )
    return known[name]


def load_approach(name: str) -> Approach:
    """Find the folder of 2_model_finetuning/ whose config.yaml says `approach: <name>`.

    An unknown approach, an unknown key or a value of the wrong kind raises MuseQuestError.
    """
    path = _named("approach", name, _approach_paths(), "2_model_finetuning/")
    values = read_yaml(path)
    check_keys(values, {"approach", *keys_of(Approach)} - {"name", "folder"}, path)
    del values["approach"]
    check_kinds(Approach, values, path)
    if values["tuning"] not in ("lora", "full"):
        raise MuseQuestError(f"{path}: 'tuning' is {values['tuning']!r}; write lora or full.")
    check_blocks(values, BLOCKS, path)
    check(values.get("training", {}), path)
    if values.get("parallel"):
        _check_parallel(values["parallel"], path)
        strategy = values["parallel"]["strategy"]
        if values["tuning"] == "lora" and strategy != "ddp":
            raise MuseQuestError(
                f"{path}: adapters do not train under '{strategy}', which parts the model; write "
                "strategy: ddp, or tuning: full."
            )
    return Approach(name=name, folder=path.parent, **values)


def _check_parallel(values: dict[str, Any], path: Path) -> None:
    """Hold the block of a parallel approach against what its strategy knows."""
    strategy = values.get("strategy")
    if strategy not in STRATEGIES:
        raise MuseQuestError(
            f"{path}: 'strategy' is {strategy!r}; write one of {', '.join(STRATEGIES)}."
        )
    known = {"strategy", *STRATEGIES[strategy]}
    if strategy == "fsdp":
        known |= keys_in_source("accelerate.utils.dataclasses", "FullyShardedDataParallelPlugin")
    check_keys(values, known, path)


def seed_profile(profile: Profile, seed: int) -> Profile:
    """The profile whose runs are those of another seed: runs/<profile>__seed<n>/<approach>/."""
    return replace(profile, name=f"{profile.name}__seed{seed}")


def suited(approach: Approach, profile: Profile) -> Approach:
    """The approach with the adapter settings that the profile wants otherwise, checked."""
    approach = replace(approach, lora=approach.lora | profile.lora) if approach.lora else approach
    check_adapter(approach)
    return approach


def check_adapter(approach: Approach) -> None:
    """Raise MuseQuestError if the adapter begins in a way that would be lost when it is kept.

    Several change the base model's weights as they begin, and do so again wherever the adapter is
    read: the same way, if they take their largest singular values (pissa) or first orthogonal
    columns (olora), but otherwise by chance (pissa_niter_N), by data (corda, eva, lora_ga) or in
    weights that are rounded.
    """
    start = approach.lora.get("init_lora_weights", True)
    known = STARTS if approach.quantization else (*STARTS, *TAKING)
    if not any(start is each or start == each and isinstance(start, str) for each in known):
        raise MuseQuestError(
            f"The adapter of '{approach.name}' is to begin with init_lora_weights: {start}, which "
            "needs more than the adapter to be read back as it was learned (another base model, or "
            "data to begin with); use true, false, gaussian or orthogonal in the block `lora`"
            f"{'' if approach.quantization else ', or pissa or olora'}."
        )


def training_settings(
    profile: Profile, approach: Approach, overrides: dict[str, str] | None = None
) -> dict[str, Any]:
    """Keys for TrainingArguments; of two values for one key the later counts.

    The profile's, the approach's, what the profile says for this approach, what was typed. A key
    that is null is left open.
    """
    for_both = profile.approach_training.get(approach.name, {})
    merged = {
        RENAMED.get(key, key): value
        for values in (profile.training, approach.training, for_both, typed_training(overrides))
        for key, value in values.items()
    }
    return {key: value for key, value in merged.items() if value is not None}


def typed_training(overrides: dict[str, str] | None) -> dict[str, Any]:
    """Training settings as typed in a shell, each read as its key wants it, and checked."""
    typed = {key: read(key, value) for key, value in (overrides or {}).items()}
    check(typed, "--set")
    return typed


def parted(typed: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Keys typed in a shell: those of a profile, and those of training; others are refused."""
    check_keys(typed, profile_keys() | ARGUMENTS.keys(), "--set")
    learning = {key: value for key, value in typed.items() if key in ARGUMENTS}
    return {key: value for key, value in typed.items() if key not in ARGUMENTS}, learning


def approach_names() -> list[str]:
    """The known approaches, in the order of their folders."""
    return list(_approach_paths())


def _approach_paths() -> dict[str, Path]:
    paths = sorted((root() / "2_model_finetuning").glob("2.*_*/config.yaml"))
    return {str(read_yaml(path).get("approach")): path for path in paths}


def profile_keys() -> set[str]:
    """The keys a profile file may hold."""
    return keys_of(Profile) - {"name"}
