"""A finished run as a folder for the Hugging Face Hub: weights, processor, card, records.

Publishing is a dry run unless `upload` is set: the folder is made, and can be read and corrected.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..errors import MuseQuestError
from ..files import check_digests, plain_files, read_remade, write_text
from ..home import check_hub, run_dir
from ..locks import hold
from ..settings import Profile, load_approach, load_profile
from ..tables import read_table
from .generation import generation_config
from .merging import AGREEMENT, MERGED
from .model_card import model_card
from .model_info import NAME as MODEL_INFO
from .models import WEIGHTS, load_processor
from .records import finished_record

FOLDER = "published"
RECORDS = ("run.json", "metrics.parquet", MODEL_INFO)
# What weights consist of. Whatever else lies beside them, such as a checkpoint, stays there.
FILES = (
    "adapter_config.json", "adapter_model.safetensors", "config.json", "model.safetensors",
    "model-*-of-*.safetensors", "model.safetensors.index.json",
)  # fmt: skip


def publish(
    profile: str | Path | Profile,
    approach_name: str,
    repo_id: str,
    *,
    merged: bool = False,
    license_name: str | None = None,
    upload: bool = False,
    private: bool = True,
) -> Path:
    """Make runs/<profile>/<approach>/published/, and with `upload` put it on the Hub as `repo_id`.

    It holds weights, processor, records and card, and nothing else of the run; before it is
    uploaded its files are printed. A link among them raises MuseQuestError.

    `merged` takes the merged model instead of the adapter. Returns the folder. A run that is not
    finished or merged, a name that the Hub does not allow, an absent HF_TOKEN or a refusal of the
    Hub raises MuseQuestError.
    """
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    check_repository(repo_id)
    if upload and not os.environ.get("HF_TOKEN"):
        raise MuseQuestError(
            "Publishing needs HF_TOKEN, a token that may write, in the environment or in .env."
        )
    if upload:
        check_hub()
    with hold(run_dir(profile.name, approach_name)):
        folder = make_folder(profile, approach_name, repo_id, merged, license_name)
        if upload:
            print(
                f"{'Private' if private else 'Public'} repository {repo_id}, if it is created now:"
            )
            print(told(folder))
            _upload(folder, repo_id, private)
    return folder


def make_folder(
    profile: Profile,
    approach_name: str,
    repo_id: str,
    merged: bool = False,
    license_name: str | None = None,
) -> Path:
    """Write all that would be uploaded; what was there before is replaced."""
    run = run_dir(profile.name, approach_name)
    record = finished_record(run)
    read_table("metrics", run / "metrics.parquet")  # what is damaged is not published
    weights = _weights(run, approach_name, merged)
    if merged:
        told = read_remade(weights / AGREEMENT)
        check_digests(weights, told.get("weights_sha256", {}), "merge again")
    target, unfinished = run / FOLDER, run / f".{FOLDER}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for path in _own_files(weights, FILES):
        _link(str(path), str(unfinished / path.name))
    processor = load_processor(profile)
    processor.save_pretrained(unfinished)
    generation_config(processor, profile.max_new_tokens).save_pretrained(unfinished)
    for path in _own_files(run, RECORDS):
        shutil.copy2(path, unfinished / path.name)
    is_adapter = (weights / "adapter_config.json").exists()
    card = model_card(profile, record, repo_id, is_adapter, license_name)
    write_text(unfinished / "README.md", card)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    return target


def _own_files(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The plain files of these names in the folder itself."""
    return [path for path in plain_files(folder, names)[0] if path.parent == folder]


def contents(folder: Path) -> list[tuple[str, int]]:
    """Name and bytes of every file that would be uploaded."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path.stat().st_size) for path in files]


def told(folder: Path) -> str:
    """Bytes and name of every file that would be uploaded, a line each."""
    return "\n".join(f"{size:>14,} bytes  {name}" for name, size in contents(folder))


def check_repository(repo_id: str) -> None:
    """Raise MuseQuestError unless `repo_id` is a name the Hub allows, owner included."""
    try:
        validate_repo_id(repo_id)
        valid = repo_id.count("/") == 1
    except HFValidationError:
        valid = False
    if not valid:
        raise MuseQuestError(
            f"'{repo_id}' is no name of a repository on the Hub; write it as owner/name."
        )


def _weights(run: Path, approach_name: str, merged: bool) -> Path:
    name = MERGED if merged else WEIGHTS[load_approach(approach_name).tuning]
    if not (run / name).is_dir():
        raise MuseQuestError(
            f"{run} has no {name}/ to publish; "
            + ("merge the adapter into its base model first." if merged else "train it first.")
        )
    return run / name


def _upload(folder: Path, repo_id: str, private: bool) -> None:
    api = HfApi(token=os.environ["HF_TOKEN"])
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Add the model")
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MuseQuestError(
            f"The Hub did not take '{repo_id}' ({reason}); {folder} is whole, so check the name "
            "and what HF_TOKEN may write, and publish again."
        ) from error


def _link(source: str, target: str) -> str:
    """Weights under two names, for they are large and stay as they are; a copy of the rest."""
    if source.endswith(".safetensors"):
        try:
            os.link(source, target)
            return target
        except OSError:
            pass  # a disk without hard links
    return shutil.copy2(source, target)
