"""A dataset handed on: its card, and its files on the Hugging Face Hub exactly as they lie on disk.

What every card says stands in templates/dataset_card.md.j2, with the places that are filled.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HFValidationError, HTTPError, RepositoryNotFoundError

from ..core.errors import MuseQuestError
from ..core.files import (
    TEMPORARY,
    clear_temporaries,
    holds_collection,
    plain_files,
    read_json,
    read_remade,
    write_text,
)
from ..core.home import check_hub, collection_dir
from ..core.hub import fill_card, hub_api
from ..core.keys import language_name
from ..core.tables import read_table
from .exhibit_lists import read_csv
from .exhibits import CREDIT_COLUMNS, Exhibit, credit_rows, iterate_exhibits
from .hosted.ledger import paid_usd_of
from .hosted.requests import FORMS
from .review import check_learned
from .split import SPLITS, STRANGER, fingerprint, rows_table, split_path
from .strangers import told

# What a dataset consists of. Whatever else lies in its folder stays there.
FILES = ("README.md", "credits.csv", "provenance.csv", *(
    f"data/{split}-00000-of-00001.parquet" for split in SPLITS
))  # fmt: skip
# Licences the Hub knows by these names; anything else is called "other".
KNOWN_LICENSES = {"cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"}
NO_LICENSE = "no licence given"
# Of what the card does not tell the dialogs, and of what it tells their provenance.
UNTOLD = ("question", "answer", "response_id", "support", "source_sha256")
TOLD = ("dialog_id", "review")
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**9, "100K<n<1M"))


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
        return self.told()

    def told(self, mood: str = "would") -> str:
        """Return what `would` be done, or `will`, as lines for the screen."""
        doing = {True: "replace what is in", False: "create", None: "write to"}[self.exists]
        unknown = " (whether it exists is not known, since the Hub is out of reach)"
        lines = [
            f"{mood} {doing} the {self.visibility} dataset repository {self.repository}"
            f"{unknown if self.exists is None else ''}",
            *(f"  upload {name}, {size / 1e6:.2f} MB" for name, size in self.files.items()),
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
    check_learned(collection)
    check_hub()
    plan = _plan(folder, repository, private, needed=not dry_run)
    if dry_run:
        return plan
    print(plan.told("will"))
    if not plan.exists and plan.visibility == "public":
        question = f"Create the public repository {plan.repository}?"
        if confirm is None or not confirm(question):
            raise MuseQuestError(
                f"Nothing was uploaded: {plan.repository} would have become public."
            )
    clear_temporaries(folder)
    api, repository = hub_api(), plan.repository
    message = f"MuseQuest dataset {fingerprint(collection)[:12]}"
    try:
        if not plan.exists:
            api.create_repo(repository, repo_type="dataset", private=plan.visibility == "private")
        operations: list[Any] = [
            *(CommitOperationAdd(name, str(folder / name)) for name in plan.files),
            *(CommitOperationDelete(name) for name in plan.removed),
        ]
        api.create_commit(repository, operations, commit_message=message, repo_type="dataset")
    except (HTTPError, OSError, ValueError) as error:
        raise _refused(repository, error) from None
    return plan


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


def _plan(folder: Path, repository: str, private: bool, needed: bool) -> Plan:
    """What would be done; where the Hub is not `needed`, it may be out of reach."""
    there, exists, api = None, None, hub_api()
    if "/" not in repository:
        try:
            repository = f"{api.whoami()['name']}/{repository}"
        except (HTTPError, OSError) as error:
            if needed:
                raise _refused(repository, error) from None
    try:
        there = api.repo_info(repository, repo_type="dataset")
        exists = True
    except RepositoryNotFoundError:
        exists = False
    except HFValidationError as error:
        raise MuseQuestError(f"{repository!r} names no repository ({error}).") from None
    except (HTTPError, OSError) as error:
        if needed:
            raise _refused(repository, error) from None
    allowed, rest = plain_files(folder, FILES)
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in allowed}
    siblings = [each.rfilename for each in getattr(there, "siblings", None) or []]
    credits, columns = folder / "credits.csv", tuple(n for n in CREDIT_COLUMNS if n != "photo")
    rows = read_csv(credits, columns)[0] if credits.is_file() else []
    return Plan(
        repository=repository,
        visibility="private" if (there.private if there else private) else "public",
        exists=exists,
        files=files,
        removed=[name for name in siblings if name not in {*files, ".gitattributes"}],
        left=[p.relative_to(folder).as_posix() for p in rest if not TEMPORARY.fullmatch(p.name)],
        licenses=sorted({row.cells["license"] or "not stated" for row in rows}) or ["not stated"],
    )


def _refused(repository: str, error: Exception) -> MuseQuestError:
    """One sentence for whatever the Hub, or the way to it, says."""
    response = getattr(error, "response", None)
    told = " ".join(str(error).split())[:300].rstrip(".")
    if response is not None and response.status_code in (401, 403):
        return MuseQuestError(
            f"The Hub does not let you write to {repository} ({told}); set HF_TOKEN to a token "
            "with the right to write there."
        )
    return MuseQuestError(f"{repository} was not uploaded ({told}); run the same command again.")


def write_card(collection: str) -> None:
    """Write dataset/README.md from what lies on disk: exhibits, dialogs, dataset, ledger, audit.

    An imported dataset, without exhibits of its own, keeps the card it came with.
    """
    folder = collection_dir(collection)
    if not all((folder / name).is_file() for name in ("exhibits.parquet", "dialogs.parquet")):
        return
    table = rows_table(collection)
    rows = {split: int((table["split"] == split).sum()) for split in SPLITS}
    names = set(table["item_name"])
    exhibits = [
        replace(each, description="", facts={}, photo_digests=[])  # which the card does not tell
        for each in iterate_exhibits(collection)
        if each.item_name in names
    ]
    credits = list(credit_rows(exhibits))
    dialogs = read_table("dialogs", folder / "dialogs.parquet", without=UNTOLD)
    dialogs, provenance = dialogs[dialogs["item_name"].isin(names)], pd.DataFrame()
    if (path := folder / "dataset/provenance.csv").is_file():
        provenance = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=TOLD.__contains__)
        provenance = provenance[provenance["dialog_id"] != ""]  # no strangers
    words = provenance.get("review", pd.Series(dtype=str))
    reviewed = words.replace("", "not reviewed").value_counts()
    if len(reviewed):
        dialogs = dialogs[dialogs["dialog_id"].isin(provenance["dialog_id"])]
    prompts = sorted(set(dialogs["prompt_sha256"]))
    codes = sorted({exhibit.language for exhibit in exhibits})
    card = fill_card(
        Path(__file__).parent / "templates/dataset_card.md.j2",
        _head(collection, exhibits, rows),
        counted=_counted,
        collection=collection,
        exhibits=len(exhibits),
        photos=len(credits),
        rows=rows,
        text_sites=[_site(exhibit.link or exhibit.record) for exhibit in exhibits],
        photo_sites=[_site(row["source"]) for row in credits],
        owners=[
            f"{each.credit or 'no credit given'} ({each.license or NO_LICENSE})"
            for each in exhibits
        ],
        licenses=[row["license"] for row in credits],
        languages=[language_name(code) for code in codes],
        dialogs=dialogs,
        reviewed=reviewed.to_dict(),
        prompts=prompts,
        prompts_sha256=hashlib.sha256("\n".join(prompts).encode()).hexdigest(),
        paid_usd=paid_usd_of(folder / "ledger.jsonl", FORMS),
        strangers=told(collection, table),
        stranger=STRANGER,
        audit=read_remade(folder / "audit.json"),
        fingerprint=fingerprint(collection),
    )
    write_text(folder / "dataset/README.md", card)


def _head(collection: str, exhibits: list[Exhibit], rows: dict[str, int]) -> str:
    """What the Hub reads, in YAML."""
    named = [
        *(row["license"] for row in credit_rows(exhibits)),
        *(each.license for each in exhibits),
    ]
    licenses = {name.strip().lower().replace(" ", "-") for name in named}
    only = licenses.pop() if len(licenses) == 1 else "other"
    total = sum(rows.values())
    files = [{"split": split, "path": f"data/{split}-*"} for split in rows]
    head = {
        "license": only if only in KNOWN_LICENSES else "other",
        "language": sorted({exhibit.language for exhibit in exhibits}),
        "pretty_name": f"MuseQuest {collection}",
        "task_categories": ["image-text-to-text", "visual-question-answering"],
        "tags": ["museum", "docent"],
        "size_categories": [next(name for limit, name in SIZES if total < limit)],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _site(address: str) -> str:
    return urlsplit(address).hostname or "a folder of the museum's own"


def _counted(texts: Iterable[str]) -> list[tuple[str, int]]:
    """Each text and how often it is there, for Markdown: brackets and line ends are letters."""
    counts = sorted(Counter(text or NO_LICENSE for text in texts).items())
    plain = (json.dumps(" ".join(text.split()), ensure_ascii=False)[1:-1] for text, _ in counts)
    return [(text.replace("<", "&lt;"), n) for text, (_, n) in zip(plain, counts, strict=True)]
