"""The systems that are compared, where their answers lie, and the tracks they are scored on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from colorsys import hls_to_rgb
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import MuseQuestError
from ..core.files import file_digest, read_json
from ..core.home import collection_dir, home, plain_name
from ..core.predictions import System, vouched
from ..core.settings import Profile, load_approach, seed_profile


@dataclass(frozen=True)
class SystemStyle:
    """How a system is called and drawn; `name` is its folder under runs/<profile>/."""

    name: str
    label: str
    colour: str
    marker: str


def _styles(*rows: tuple[str, str, str, str]) -> dict[str, SystemStyle]:
    return {row[0]: SystemStyle(*row) for row in rows}


# In the order of tables and figures. Colours after Okabe and Ito (2008), told apart by readers of
# any colour vision; each has its own marker besides.
SYSTEMS = _styles(
    ("base", "Base (untuned)", "#8a8f98", "o"),
    ("lora", "LoRA", "#0072b2", "D"),
    ("qlora", "QLoRA", "#56b4e9", "s"),
    ("lora_ddp", "LoRA (DDP)", "#009e73", "^"),
    ("full", "Full", "#d55e00", "P"),
    ("full_mp", "Full (MP)", "#e69f00", "v"),
    ("full_fsdp", "Full (FSDP)", "#cc79a7", "<"),
    ("gpt4o", "GPT-4o", "#1a1a1a", "X"),
    ("retrieval", "Retrieval", "#7a6f00", ">"),
    ("rag", "RAG", "#5d3a9b", "p"),
)
TUNED = ("lora", "qlora", "lora_ddp", "full", "full_mp", "full_fsdp")  # the six approaches
UNKNOWN_MARKERS = ("h", "d", "*", "8", "H", "$+$")  # of systems of other names
# What stands beside the systems in every table: answers of which one knows what they deserve.
CONTROLS = _styles(
    ("control_other_exhibit", "Control: other exhibit", "#b9bdc4", "1"),
    ("control_changed_numbers", "Control: changed numbers", "#c9b38c", "2"),
    ("control_empty", "Control: empty", "#dfe2e6", "3"),
)
# Answers of a system without the exhibit's photo: runs/<profile>/<system>__<ablation>/.
ABLATIONS = {
    "blank_photo": "blank photo",
    "wrong_photo": "another exhibit's photo",
    "no_photo": "no photo",
}
# Answers about things from outside the collection: runs/<profile>/<system>__outsiders/.
OUTSIDERS = "outsiders"
# The same approach trained with another seed, answering the same: runs/<profile>__seed<n>/.
SEED = re.compile(r"seed(\d+)")
# Keys of run.json that runs with several seeds share, but for the seed within `training`.
ALIKE = (
    *("base_model_fingerprint", "image_size", "image_splitting", "dtype", "anatomy", "tuning"),
    *("training", "lora", "learning_rates", "quantization", "parallel", "world_size"),
)
PREDICTIONS = "predictions.parquet"  # in a run's folder, with an infer.json that vouches for it


def variant(name: str) -> tuple[str, str]:
    """The system of a name, and which ablation, seed or outsiders it is; "" for the system itself.

    "lora__no_photo" -> "lora", "no_photo"; "lora__seed2" -> "lora", "seed2"
    """
    own, _, kind = name.rpartition("__")
    known = kind in ABLATIONS or kind == OUTSIDERS or SEED.fullmatch(kind)
    return (own, kind) if own and known else (name, "")


def seedless(name: str) -> str:
    """The system whose seed a name is; any other name as it is."""
    own, kind = variant(name)
    return own if SEED.fullmatch(kind) else name


def is_system(name: str) -> bool:
    """Whether a name of scores.parquet is a system, not a control or a variant of a system."""
    return name not in CONTROLS and not variant(name)[1]


def system(name: str, beside: Iterable[str] = ()) -> SystemStyle:
    """How a system looks; an unknown one has a look that none of those drawn beside it has."""
    if known_look := SYSTEMS.get(name) or CONTROLS.get(name):
        return known_look
    own, kind = variant(name)
    if kind:
        look = system(own, beside)
        return SystemStyle(
            name, f"{look.label}, {ABLATIONS.get(kind, kind)}", look.colour, look.marker
        )
    places: dict[str, int] = {}
    for other in sorted({name, *beside} - {*SYSTEMS, *CONTROLS}):
        place = sum(other.encode()) % 90
        while place in places.values():
            place += 1
        places[other] = place
    # Hues a golden angle apart, in three lightnesses: no two are alike.
    hue, light = places[name] * 0.618 % 1, (0.32, 0.45, 0.6)[places[name] % 3]
    colour = "".join(f"{round(255 * part):02x}" for part in hls_to_rgb(hue, light, 0.55))
    return SystemStyle(name, name, f"#{colour}", UNKNOWN_MARKERS[places[name] % 6])


def check_name(name: str) -> None:
    """Raise MuseQuestError at the name of neither an approach nor another system.

    Those of this package are read from their sources: to import them all would load torch first.
    """
    sources = (path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    named = [re.findall(r'^    name = "(\w+)"$', source, re.MULTILINE) for source in sources]
    imported = [each.name for each in System.__subclasses__() if "name" in vars(each)]
    others = ordered({"base", *imported, *(each for own in named for each in own)})
    if name in others:
        return
    try:
        load_approach(name)
    except MuseQuestError as error:
        known = ", ".join(others)
        raise MuseQuestError(f"{error} Systems besides approaches are: {known}.") from None


def ordered(names: Iterable[str]) -> list[str]:
    """Known systems in their order, others by name, controls; behind each its variants."""
    known = [*SYSTEMS, "", *CONTROLS]
    kinds = ["", *ABLATIONS, OUTSIDERS]

    def place(name: str) -> tuple[int, str, int]:
        own, kind = variant(name)
        seed = SEED.fullmatch(kind)
        behind = len(kinds) + int(seed[1]) if seed else kinds.index(kind)
        return known.index(own) if own in known else len(SYSTEMS), own, behind

    return sorted(names, key=place)


def find_answers(
    profile: Profile, fingerprint: str, seeds: int | None = None
) -> tuple[dict[str, Path], list[str]]:
    """The predictions.parquet of every system of a profile, and one sentence a system left out.

    Left out are also answers to another dataset than the one with `fingerprint`. A profile of which
    no answers are left raises MuseQuestError. A system that was trained with further seeds is there
    with all that have answered; with `seeds`, each trained system has so many, its first counted,
    and one that lacks raises MuseQuestError.
    """
    folder = runs_dir(profile)
    paths = {path.parent.name: path for path in folder.glob(f"*/{PREDICTIONS}")}
    left_out = [
        f"{name} is left out: it is trained but has not answered, so run infer for it."
        for name in finished_runs(profile)
        if name not in paths
    ]
    found: dict[str, Path] = {}
    for name in ordered(paths):
        if reason := why_unusable(paths[name], profile, fingerprint):
            left_out.append(f"{name} is left out: {reason}.")
        else:
            found[name] = paths[name]
    for name in [name for name in found if variant(name)[0] not in found]:
        left_out.append(f"{name} is left out: there are no answers of {variant(name)[0]}.")
        del found[name]
    if not found:
        reasons = "".join(f" {sentence}" for sentence in left_out)
        raise MuseQuestError(
            f"{folder} holds no answers of a finished system; run `python -m musequest infer "
            f"--profile {profile.name} --approach base` first.{reasons}"
        )
    more, without = _find_seeds(profile, [*found], fingerprint, seeds)
    return found | more, left_out + without


def seed_profiles(profile: Profile, approach: str, count: int) -> list[Profile]:
    """The profile itself, and behind it those of further seeds, `count` in all.

    An approach without a run whose seed is known raises MuseQuestError.
    """
    path = runs_dir(profile) / approach / "run.json"
    first = read_json(path).get("seed") if path.is_file() else None
    if first is None:
        raise MuseQuestError(
            f"--seeds is for approaches that were trained, and {path} tells of no seed; run train "
            "first, or leave it out."
        )
    return [profile, *(seed_profile(profile, first + more) for more in range(1, count))]


def _find_seeds(
    profile: Profile, systems: Iterable[str], fingerprint: str, count: int | None
) -> tuple[dict[str, Path], list[str]]:
    """The answers of further seeds, such as "lora__seed1" -> path, and one sentence each left out.

    With `count` so many seeds a trained system, its first counted; MuseQuestError where one lacks.
    """
    folder = runs_dir(profile)
    trained = [name for name in systems if count and (folder / name / "run.json").is_file()]
    paths = [
        runs_dir(other) / name / PREDICTIONS
        for name in trained
        for other in seed_profiles(profile, name, count or 1)[1:]
    ]
    if count is None:
        paths = sorted(folder.parent.glob(f"{folder.name}__seed*/*/{PREDICTIONS}"))
    found, left_out = {}, []
    for path in paths:
        own, seed = path.parent.name, path.parent.parent.name.rpartition("__")[2]
        if own not in systems or not SEED.fullmatch(seed):
            continue
        reason = why_unusable(path, profile, fingerprint) or _trained_otherwise(folder / own, path)
        if reason and count:
            raise MuseQuestError(
                f"{own} has no answers of {count} seeds: of {seed}, {reason}; run train and infer "
                f"with `--profile {profile.name} --approach {own} --seeds {count}` first."
            )
        if reason:
            left_out.append(f"{own}__{seed} is left out: {reason}.")
        else:
            found[f"{own}__{seed}"] = path
    return {name: found[name] for name in ordered(found)}, left_out


def _trained_otherwise(first: Path, predictions: Path) -> str:
    """Why another seed's answers are not of the same training as the first's; "" where they are."""
    from ..finetuning.records import asked_otherwise

    runs = (record_beside(path, "run.json") for path in (predictions, first / PREDICTIONS))
    theirs, ours = ({key: run.get(key) for key in ALIKE} for run in runs)
    for asked in (theirs, ours):
        asked["training"] = (asked["training"] or {}) | {"seed": None}
    changes = "; ".join(asked_otherwise(theirs, ours))
    return f"it was trained with other settings than {first.name} ({changes})" if changes else ""


def exhibits_path(profile: Profile) -> Path | None:
    """The exhibits.parquet of the profile's collection, if it has one."""
    path = collection_dir(profile.collection) / "exhibits.parquet"
    return path if path.is_file() else None


def finished_runs(profile: Profile) -> list[str]:
    """The approaches whose run.json says `done`, in the order of tables and figures."""
    records = runs_dir(profile).glob("*/run.json")
    return ordered(path.parent.name for path in records if read_json(path).get("status") == "done")


def runs_dir(profile: Profile) -> Path:
    """runs/<profile>: a folder a system, and a variant of one."""
    return home() / "runs" / plain_name(profile.name, "profile")


def record_beside(predictions: Path, name: str) -> dict[str, Any]:
    """A record such as infer.json from the folder of a predictions.parquet; {} without one."""
    path = predictions.with_name(name)
    return read_json(path) if path.is_file() else {}


def why_unusable(predictions: Path, profile: Profile, fingerprint: str) -> str:
    """Why the answers of a run's folder do not count for a profile; "" where they do.

    The folder's infer.json, and the run.json of the training behind it, must tell of the dataset
    with `fingerprint`, of the profile's split and of a finished run.
    """
    infer = record_beside(predictions, "infer.json")
    trained = predictions.parent.with_name(variant(predictions.parent.name)[0])
    # {} of a system that is not trained.
    run = record_beside(trained / predictions.name, "run.json")
    if not infer:
        return "no infer.json vouches for its answers, so run infer for it again"
    if not vouched(predictions, infer):
        return "its infer.json vouches for other answers, so run infer for it again"
    if there := _differing(run, fingerprint):
        return f"it was trained on another dataset{there}, so train it again"
    if "dataset_fingerprint" not in infer:
        return "its infer.json does not tell which dataset it answered, so run infer for it again"
    if there := _differing(infer, fingerprint):
        return f"it answered another dataset{there}, so run infer for it again"
    if infer.get("split", profile.evaluation_split) != profile.evaluation_split:
        return f"it answered the split '{infer['split']}', not '{profile.evaluation_split}'"
    if run and run.get("status") != "done":
        return f"its training is {run.get('status')}, so resume it with train"
    if run and infer.get("run_finished_at") != run.get("finished_at"):
        return "its answers come from an earlier training, so run infer for it again"
    texts = file_digest(exhibits_path(profile))
    if infer.get("exhibits_sha256", texts) != texts:
        return "the exhibits' texts that it read have changed since, so run infer for it again"
    return ""


def _differing(record: dict[str, Any], fingerprint: str) -> str:
    """The fingerprints of another dataset that a record tells of and of this one; "" if equal."""
    theirs = record.get("dataset_fingerprint", fingerprint)
    if theirs == fingerprint:
        return ""
    return f" (fingerprint {str(theirs)[:12]}… instead of {fingerprint[:12]}…)"


ITEM_TRACKS = ("unseen_photo", "seen_photo")  # of the items; an item may belong to neither
TRACK_LABELS = {
    "all": "All items",
    "unseen_photo": "Photos unseen in training",
    "seen_photo": "Photos seen in training",
    OUTSIDERS: "Things that are not in the collection",
}


def on_track(scores: pd.DataFrame, track: str) -> pd.DataFrame:
    """Those rows of scores.parquet; on "all", the answers about any item, and no outsiders."""
    return scores[scores.track != OUTSIDERS] if track == "all" else scores[scores.track == track]
