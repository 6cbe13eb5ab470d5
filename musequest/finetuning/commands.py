"""The commands of stage 2: train, merge, preflight, doctor, publish."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from .. import creation, finetuning
from ..core.command_line import (
    PROFILE,
    approach,
    assignments,
    command,
    option,
    positive,
    profile_of,
    seeds,
    settings,
    show,
)
from ..core.errors import MuseQuestError
from ..core.settings import Profile

# Logger of transformers that says which kernels a step lacks; `preflight` computes none.
SLOWER = "transformers.integrations.hub_kernels"


@command(
    PROFILE,
    approach("how to tune (default: lora)"),
    option(
        "--processes", "of a parallel approach (default: one a GPU)", type=positive, metavar="N"
    ),
    option("--fresh", "discard an earlier run", action="store_true"),
    seeds("train so many times, each with another seed"),
    settings("a key of TrainingArguments or of the profile"),
)
def train(
    profile: str, approach: str, seeds: int | None, settings: list[str], **options: Any
) -> None:
    """Tune the profile's model with one approach."""
    from ..core.settings import load_approach, load_profile, parted, training_settings
    from ..creation.split import check_dataset
    from .distributed import launched, rank

    if seeds and launched():
        raise MuseQuestError("--seeds starts the processes of each training; call it without.")
    chosen, learning = parted(assignments(settings, "--set"))
    own = load_profile(profile, chosen)
    training_settings(own, load_approach(approach), learning)
    check_dataset(own.collection)
    creation.check_learned(own.collection, own)
    records = finetuning.train_seeds(own, approach, seeds or 1, learning, **options)
    if rank() == 0:
        show(records if seeds else records[0])


def _with_run(name: str, approach: str, settings: Sequence[str] = ()) -> Profile:
    """The profile as typed, whose run with the approach is finished."""
    from ..core.home import run_dir
    from ..core.settings import load_approach
    from .records import finished_record

    profile = profile_of(name, settings)
    finished_record(run_dir(profile.name, load_approach(approach).name))
    return profile


@command(
    PROFILE,
    approach("whose adapter (default: lora)"),
    option("--rows", "to compare (default: 4)", type=positive, default=4),
    settings(),
)
def merge(profile: str, approach: str, rows: int, settings: list[str]) -> None:
    """Merge a finished run's adapter into the base model, and check that its answers stay."""
    chosen = _with_run(profile, approach, settings)
    record = finetuning.merge(chosen, approach, rows=rows)
    show(record)


@command(
    PROFILE,
    option("--gpu", "a GPU's name, or its memory, as in 24GiB; all for each kind", metavar="NAME"),
)
def preflight(profile: str, gpu: str | None) -> None:
    """Say what fits on which GPU, how long it takes and costs, and what is missing."""
    chosen = profile_of(profile)
    from .gpus import find_gpu

    if gpu and gpu.strip().lower() != "all":
        find_gpu(gpu)  # before a model library is imported, which takes seconds
    logging.getLogger(SLOWER).setLevel(logging.ERROR)
    from .preflight import preflight, shown

    table, findings = preflight(chosen, gpu)
    print(shown(table).to_string(index=False, na_rep="-"))
    print("\n".join(findings))


@command(PROFILE, settings())
def doctor(profile: str, settings: list[str]) -> None:
    """Check that a profile's base model can be tuned: its tokens, parts, a step, an answer."""
    chosen = profile_of(profile, settings)
    for finding in finetuning.examine(chosen):
        print(f"{finding}\n", flush=True)


@command(
    PROFILE,
    approach("whose weights (default: lora)"),
    option("--repo", "on the Hub", required=True, metavar="OWNER/NAME"),
    option("--merged", "the merged model, not the adapter", action="store_true"),
    option(
        "--license", "of the model, as the Hub names licences", dest="license_name", metavar="L"
    ),
    option("--upload", "upload, not only make the folder", action="store_true"),
    option("--public", "for all to see, not only for you", action="store_true"),
)
def publish(
    profile: str, approach: str, repo: str, public: bool, upload: bool, **options: Any
) -> None:
    """Make the folder for the Hub with its model card; upload it only if asked to."""
    chosen = _with_run(profile, approach)
    from .publishing import told

    folder = finetuning.publish(
        chosen, approach, repo, private=not public, upload=upload, **options
    )
    if not upload:
        print(told(folder))
    done = "is uploaded to" if upload else "would be uploaded (add --upload) to"
    print(f"{folder} {done} {repo}.")
