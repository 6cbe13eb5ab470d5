"""Where a run's curves go: TensorBoard beside its record, or Weights & Biases, or trackio.

One setting, `report_to`, chooses; keys come from the environment or .env alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import MuseQuestError
from .distributed import rank

if TYPE_CHECKING:
    from transformers import TrainerCallback

PROJECT = "musequest"
TRACKERS = ("tensorboard", "wandb", "trackio", "none")
# Keys of TrainingArguments that only say where curves go: a run may go on with others.
TRACKER_SETTINGS = (
    *("report_to", "run_name", "project"),
    *("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
)


def tracker_settings(settings: dict[str, Any], run: str) -> dict[str, Any]:
    """Keys of TrainingArguments for the trackers of `run`, TensorBoard's callback left to us.

    Raises MuseQuestError for a tracker that is unknown, not installed or lacks its key.
    """
    chosen = chosen_trackers(settings)
    for tracker in chosen:
        if flaw := _flaw(tracker, settings):
            raise MuseQuestError(flaw)
    others = [tracker for tracker in chosen if tracker not in ("tensorboard", "none")]
    return {"report_to": others or "none", "project": PROJECT, "run_name": run}


def tracker_callbacks(settings: dict[str, Any], folder: Path) -> list[TrainerCallback]:
    """TensorBoard's callback if it is chosen, writing to <run>/tensorboard/."""
    if "tensorboard" not in chosen_trackers(settings):
        return []
    from transformers.integrations import TensorBoardCallback

    callback = TensorBoardCallback()
    callback.logging_dir = str(folder / "tensorboard")
    return [callback]


@contextmanager
def wandb_run(settings: dict[str, Any], folder: Path) -> Iterator[None]:
    """Give the run in the block a page of its own in Weights & Biases, its files in <run>/wandb/.

    The library's callback never closes one: the next run of the same process would draw its curves
    on it too.
    """
    if "wandb" not in chosen_trackers(settings) or rank() != 0:
        yield
        return
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    project, name = os.environ.get("WANDB_PROJECT", PROJECT), "-".join(folder.parts[-2:])
    opened = wandb.init(project=project, name=name, dir=folder, reinit="finish_previous")
    failed = True
    try:
        yield
        failed = False
    finally:
        opened.finish(exit_code=int(failed))


def chosen_trackers(settings: dict[str, Any]) -> list[str]:
    """The names under `report_to`, one or a list."""
    chosen = settings.get("report_to") or "none"
    return [chosen] if isinstance(chosen, str) else list(chosen)


def _flaw(tracker: str, settings: dict[str, Any]) -> str | None:
    """Why a tracker cannot be used, in a sentence."""
    if tracker not in TRACKERS:
        return (
            f"There is no tracker '{tracker}' (report_to); the known ones are "
            f"{', '.join(TRACKERS)}."
        )
    if tracker != "none" and find_spec(tracker) is None:
        return (
            f"The tracker '{tracker}' (report_to) is not installed; run `pip install {tracker}`, "
            "or choose tensorboard or none."
        )
    local = os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun")
    if tracker == "wandb" and not (local or os.environ.get("WANDB_API_KEY")):
        return (
            "The tracker 'wandb' (report_to) needs the key WANDB_API_KEY in the environment or in "
            ".env; or set WANDB_MODE=offline, or choose tensorboard."
        )
    if tracker == "trackio" and settings.get("trackio_space_id") and not os.environ.get("HF_TOKEN"):
        return (
            "The tracker 'trackio' (report_to) needs HF_TOKEN in the environment or in .env to "
            "write to a Space; or remove trackio_space_id, and it keeps its curves here."
        )
    return None
