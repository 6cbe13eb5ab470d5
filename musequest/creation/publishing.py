"""Publishing: the files of a dataset, exactly as they lie on disk, to the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
)

from ..errors import MuseQuestError
from ..files import clear_temporaries, is_temporary, plain_files, read_json
from ..home import check_hub, collection_dir
from ..locks import holds_collection
from .exhibit import CREDIT_COLUMNS
from .exhibit_lists import read_csv
from .split import SPLITS, fingerprint, split_path

MEGABYTE = 1e6
# What a dataset consists of. Whatever else lies in its folder stays there.
FILES = ("README.md", "credits.csv", "provenance.csv", *(
    f"data/{split}-00000-of-00001.parquet" for split in SPLITS
))  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What an upload would do."""

    repository: str  # owner/name
    visibility: str  # that it has, or will have: public or private
    exists: bool | None  # None where the Hub could not be asked
    files: dict[str, int]  # path in the folder -> bytes
    removed: list[str]  # files of the repository that the dataset has not
    left: list[str]  # what else lies in the folder
    licenses: list[str]  # of the photos

    def __str__(self) -> str:
        """Return it as lines for the screen."""
        return self.told()

    def told(self, mood: str = "would") -> str:
        """Return what `would` be done, or `will`, as lines for the screen."""
        doing = {True: "replace what is in", False: "create", None: "write to"}
        unknown = " (whether it exists is not known, since the Hub is out of reach)"
        lines = [
            f"{mood} {doing[self.exists]} the {self.visibility} dataset repository "
            f"{self.repository}{unknown if self.exists is None else ''}",
            *(f"  upload {name}, {size / MEGABYTE:.2f} MB" for name, size in self.files.items()),
            *(f"  remove {name}" for name in self.removed),
            *(f"  leave {name} here, which is no file of a dataset" for name in self.left),
            f"licences of the photos: {', '.join(self.licenses)}",
        ]
        return "\n".join(lines)


@holds_collection
def push_to_hub(
    collection: str,
    repository: str,
    *,
    private: bool = True,
    dry_run: bool = False,
    confirm: Callable[[str], bool] | None = None,
) -> Plan:
    """Upload data/<collection>/dataset/ to the dataset repository `repository`.

    It is named owner/name; a name alone is of the token's owner.

    The repository then holds the files of the dataset (FILES) and no others; what else lies in the
    folder stays here, and a link among them raises MuseQuestError. What is about to happen is
    printed first. A repository that does not exist is created, private
    unless told otherwise; before a public one is created `confirm` is asked, and without `confirm`
    none is. An existing one keeps its visibility. A dry run changes nothing; its plan says what
    would be done. Returns the plan. A dataset whose present state was not audited, an unknown
    repository's owner, a refused token or a Hub out of reach raises MuseQuestError.
    """
    folder = collection_dir(collection) / "dataset"
    _check_audited(collection)
    check_hub()
    api = huggingface_hub.HfApi(library_name="musequest")
    repository = _full_name(api, repository, asked=not dry_run)
    plan = _plan(api, folder, repository, private, asked=not dry_run)
    if dry_run:
        return plan
    print(plan.told("will"))
    if not plan.exists and plan.visibility == "public":
        question = f"Create the public repository {repository}?"
        if confirm is None or not confirm(question):
            raise MuseQuestError(f"Nothing was uploaded: {repository} would have become public.")
    clear_temporaries(folder)
    try:
        if not plan.exists:
            api.create_repo(repository, repo_type="dataset", private=plan.visibility == "private")
        api.create_commit(
            repo_id=repository,
            repo_type="dataset",
            operations=[
                *(CommitOperationAdd(name, str(folder / name)) for name in plan.files),
                *(CommitOperationDelete(name) for name in plan.removed),
            ],
            commit_message=f"MuseQuest dataset {fingerprint(collection)[:12]}",
        )
    except (HTTPError, OSError, ValueError) as error:
        raise _refused(repository, error) from None
    return plan


def _full_name(api: huggingface_hub.HfApi, repository: str, asked: bool) -> str:
    """The name with its owner; in a dry run without the Hub, the name alone."""
    if "/" in repository:
        return repository
    try:
        return f"{api.whoami()['name']}/{repository}"
    except (HTTPError, OSError) as error:
        if asked:
            raise _refused(repository, error) from None
        return repository


def _check_audited(collection: str) -> None:
    """Publishing what was never looked at would be careless."""
    remedy = f"run `python -m musequest dataset --collection {collection}` first."
    for split in SPLITS:
        if not (path := split_path(collection, split)).is_file():
            raise MuseQuestError(f"{path} does not exist; {remedy}")
    path = collection_dir(collection) / "audit.json"
    found = read_json(path) if path.is_file() else {}
    if found.get("fingerprint") != fingerprint(collection):
        raise MuseQuestError(f"The dataset '{collection}' was not audited as it is; {remedy}")
    if found["lineage_leaks"] or found["near_duplicates"]:
        raise MuseQuestError(f"{path} tells of test photos that training learns from; mend that.")


def _plan(
    api: huggingface_hub.HfApi, folder: Path, repository: str, private: bool, asked: bool
) -> Plan:
    there, exists = None, None
    try:
        there = api.repo_info(repository, repo_type="dataset")
        exists = True
    except RepositoryNotFoundError:
        exists = False
    except HFValidationError as error:
        raise MuseQuestError(f"{repository!r} names no repository ({error}).") from None
    except (HTTPError, OSError) as error:
        if asked:
            raise _refused(repository, error) from None
    allowed, rest = plain_files(folder, FILES)
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in allowed}
    left = [path.relative_to(folder).as_posix() for path in rest if not is_temporary(path)]
    kept = {*files, ".gitattributes"}
    return Plan(
        repository=repository,
        visibility="private" if (there.private if there else private) else "public",
        exists=exists,
        files=files,
        removed=[each.rfilename for each in _siblings(there) if each.rfilename not in kept],
        left=left,
        licenses=_licenses(folder),
    )


def _siblings(there: Any) -> list[Any]:
    return (there.siblings if there else None) or []


def _licenses(folder: Path) -> list[str]:
    path = folder / "credits.csv"
    if not path.is_file():
        return ["not stated"]
    rows, _ = read_csv(path, tuple(name for name in CREDIT_COLUMNS if name != "photo"))
    return sorted({row.cells["license"] or "not stated" for row in rows})


def _refused(repository: str, error: Exception) -> MuseQuestError:
    """One sentence for whatever the Hub, or the way to it, says."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    told = " ".join(str(error).split())[:300].rstrip(".")
    if status in (401, 403):
        return MuseQuestError(
            f"The Hub does not let you write to {repository} ({told}); set HF_TOKEN to a token "
            "with the right to write there."
        )
    return MuseQuestError(f"{repository} was not uploaded ({told}); run the same command again.")
