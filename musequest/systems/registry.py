"""The systems that are compared, where their answers lie, and the tracks they are scored on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import MuseQuestError
from ..files import file_digest, read_json
from ..home import collection_dir, home, plain_name
from ..predictions import vouched
from ..settings import Profile, load_approach


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
PREDICTIONS = "predictions.parquet"  # in a run's folder, with an infer.json that vouches for it


def variant(name: str) -> tuple[str, str]:
    """The system of a name, and which ablation (or outsiders) it is; "" for the system itself."""
    own, _, kind = name.rpartition("__")
    return (own, kind) if own and (kind in ABLATIONS or kind == OUTSIDERS) else (name, "")


def is_system(name: str) -> bool:
    """Whether a name of scores.parquet is a system, not a control or a variant of a system."""
    return name not in CONTROLS and not variant(name)[1]


def system(name: str) -> SystemStyle:
    """A known system, or one of that name with a colour and marker of the known ones."""
    if known_look := SYSTEMS.get(name) or CONTROLS.get(name):
        return known_look
    own, kind = variant(name)
    if kind:
        look = system(own)
        return SystemStyle(
            name, f"{look.label}, {ABLATIONS.get(kind, kind)}", look.colour, look.marker
        )
    known = list(SYSTEMS.values())[1:]
    like = known[sum(name.encode()) % len(known)]
    return SystemStyle(name, name, like.colour, like.marker)


def check_name(name: str) -> None:
    """Raise MuseQuestError at the name of neither an approach nor another system of this package.

    The others are read from their sources: to import them all would load torch first.
    """
    sources = (path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    named = [re.findall(r'^    name = "(\w+)"$', source, re.MULTILINE) for source in sources]
    others = ordered(["base", *(each for own in named for each in own)])
    if name in others:
        return
    try:
        load_approach(name)
    except MuseQuestError as error:
        known = ", ".join(others)
        raise MuseQuestError(f"{error} Systems besides approaches are: {known}.") from None


def ordered(names: Iterable[str]) -> list[str]:
    """Known systems in their order, others by name, controls; behind each its ablations."""
    known = [*SYSTEMS, "", *CONTROLS]
    kinds = ["", *ABLATIONS, OUTSIDERS]

    def place(name: str) -> tuple[int, str, int]:
        own, kind = variant(name)
        return known.index(own) if own in known else len(SYSTEMS), own, kinds.index(kind)

    return sorted(names, key=place)


def find_answers(profile: Profile, fingerprint: str) -> tuple[dict[str, Path], list[str]]:
    """The predictions.parquet of every system of a profile, and one sentence a system left out.

    Left out are also answers to another dataset than the one with `fingerprint`. A profile of which
    no answers are left raises MuseQuestError.
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
    return found, left_out


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
