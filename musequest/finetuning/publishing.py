"""A finished run for others: its adapter merged into the weights, and a folder for the Hub.

Merged, the result, runs/<profile>/<approach>/merged/, is one ordinary model with its processor,
which any program that knows the base model can load. Weights kept in 4 bits are dequantised first:
the adapter was learned beside those rounded weights, and merged into 4 bits it would be rounded
away (arXiv:2305.14314 trains it so).

Publishing is a dry run unless `upload` is set: the folder of weights, processor, card and records
is made, and can be read and corrected. The card is written from run.json and the scores;
templates/model_card.md.j2 is what every one says.
"""

from __future__ import annotations

import gc
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id
from transformers import AutoModelForImageTextToText, PreTrainedModel, ProcessorMixin
from transformers.utils import logging as transformers_logging

from ..core.errors import LOGGER, MuseQuestError
from ..core.files import (
    check_digests,
    digests_of,
    file_digest,
    hold,
    plain_files,
    read_json,
    read_remade,
    write_json,
    write_text,
)
from ..core.home import check_hub, results_dir, run_dir
from ..core.hub import fill_card, hub_api
from ..core.settings import Profile, load_approach, load_profile
from ..core.tables import read_table
from ..creation.split import load_split
from .anatomy import MODEL_INFO
from .checkpoints import (
    RunFolder,
    check_room,
    link_or_copy,
    move_into_place,
    on_gpu_or_cpu,
    reference_loss,
)
from .collator import DocentCollator
from .generation import generate, generation_config
from .models import WEIGHTS, load_processor, load_tuned
from .records import finished_record, rows_a_step

MERGED, AGREEMENT = "merged", "agreement.json"
# By how much the mean loss of the reference answers may differ, relatively: rounding of the dtype.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
FOLDER = "published"
RECORDS = ("run.json", "metrics.parquet", MODEL_INFO)
# What weights consist of. Whatever else lies beside them, such as a checkpoint, stays there.
FILES = (
    "adapter_config.json", "adapter_model.safetensors", "config.json", "model.safetensors",
    "model-*-of-*.safetensors", "model.safetensors.index.json",
)  # fmt: skip
TRACKS = ("unseen_photo", "seen_photo", "all")
OUTSIDERS = "outsiders"
HEADINGS = {track: f"Test questions, track `{track}`:" for track in TRACKS} | {
    OUTSIDERS: "Photos of things that are not in the collection; `false_recognition_rate` is the "
    "share of answers that call such a thing by an exhibit's name, 0 is best:"
}


def merge(
    profile: str | Path | Profile, approach_name: str = "lora", *, rows: int = 4
) -> dict[str, Any]:
    """Merge a finished run's adapter into the base model; returns how well the two agree.

    The first `rows` questions of the evaluation split are answered by the tuned model as it was
    trained and by the merged one as it was read back from disk. merged/ is kept only if the loss
    of the reference answers is the same up to rounding; else MuseQuestError says by how much it
    differs. What was merged before, from the same run, is returned at once. Where a GPU is too
    small for it, the processor merges.
    """
    profile = load_profile(profile)
    folder = run_dir(profile.name, load_approach(approach_name).name)
    record = finished_record(folder)
    if record["tuning"] != "lora":
        raise MuseQuestError(
            f"The approach '{approach_name}' trains the model itself, so there is no adapter to "
            f"merge; its weights lie in {folder / 'model'}."
        )
    if (kept := _kept_agreement(folder, record)) is not None:
        return kept
    transformers_logging.disable_progress_bar()
    with hold(folder):
        written = folder / "unfinished" / MERGED
        shutil.rmtree(written, ignore_errors=True)  # what a killed one left is not this one's
        agreement = on_gpu_or_cpu(
            partial(_merge_on, profile, approach_name, written, rows),
            "%s has too little memory to merge; the processor does it, slower.",
        )
        agreement["run_finished_at"] = record["finished_at"]
        agreement["weights_sha256"] = digests_of(written)
        write_json(written / AGREEMENT, agreement)
        move_into_place(written, folder / MERGED)
        RunFolder(folder).clear_unfinished()
    return agreement


def _kept_agreement(folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """What merged/agreement.json says, if merged/ is whole and of this very run; else None."""
    told = read_remade(folder / MERGED / AGREEMENT)
    if told.get("run_finished_at") != record["finished_at"]:
        return None
    try:
        check_digests(folder / MERGED, told.get("weights_sha256", {}), "it is merged again")
    except MuseQuestError as error:
        LOGGER.warning("%s", error)
        return None
    return told


def merged_model(
    profile: Profile, approach_name: str, device: str | None = None
) -> PreTrainedModel:
    """The tuned model with its adapter merged, in the profile's dtype; not yet on disk."""
    tuned = load_tuned(profile, approach_name, dequantized=True, device=device)
    return tuned.merge_and_unload(safe_merge=True)


def _merge_on(
    profile: Profile, approach_name: str, target: Path, count: int, device: str
) -> dict[str, Any]:
    """Write the merged model to `target`, and compare it with the model as it was trained."""
    split = load_split(profile.collection, profile.evaluation_split)
    questions = [split[index] for index in range(min(count, len(split)))]
    before = _behaviour(load_tuned(profile, approach_name, device=device), profile, questions)
    model = merged_model(profile, approach_name, device)
    folder = run_dir(profile.name, approach_name)
    check_room(folder, sum(each.nbytes for each in model.parameters()), "the merged model")
    model.save_pretrained(target)
    load_processor(profile).save_pretrained(target)
    del model
    gc.collect()
    merged = AutoModelForImageTextToText.from_pretrained(target, dtype=profile.dtype)
    after = _behaviour(merged.eval().to(device), profile, questions)
    apart = abs(after["loss"] - before["loss"]) / before["loss"]
    if apart > TOLERANCES[merged.dtype]:
        raise MuseQuestError(
            f"Merged, the model of {folder} does not answer as it did: the loss of the reference "
            f"answers went from {before['loss']:.4f} to {after['loss']:.4f}; the adapter is "
            "untouched, use it as it is."
        )
    same = [old == new for old, new in zip(before["answers"], after["answers"], strict=True)]
    return {
        "rows": len(questions),
        "equal_answers": sum(same),
        "loss_unmerged": before["loss"],
        "loss_merged": after["loss"],
        "relative_difference": apart,
        "dtype": str(merged.dtype).removeprefix("torch."),
    }


def _behaviour(model: Any, profile: Profile, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Greedy answers to the rows, and the mean loss over the tokens of their reference answers."""
    processor = load_processor(profile)
    answers = [row["answer"] for row in generate(model, processor, rows, profile, progress=False)]
    return {"answers": answers, "loss": reference_loss(model, DocentCollator(processor), rows)}


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
    profile = load_profile(profile)
    _check_repository(repo_id)
    if upload:
        if not os.environ.get("HF_TOKEN"):
            raise MuseQuestError(
                "Publishing needs HF_TOKEN, a token that may write, in the environment or in .env."
            )
        check_hub()
    with hold(run_dir(profile.name, approach_name)):
        folder = _make_folder(profile, approach_name, repo_id, merged, license_name)
        if upload:
            kind = "Private" if private else "Public"
            print(f"{kind} repository {repo_id}, if it is created now:\n{told(folder)}")
            _upload(folder, repo_id, private)
    return folder


def told(folder: Path) -> str:
    """Bytes and name of every file that would be uploaded, a line each."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return "\n".join(f"{p.stat().st_size:>14,} bytes  {p.relative_to(folder)}" for p in files)


def _make_folder(
    profile: Profile, approach_name: str, repo_id: str, merged: bool, license_name: str | None
) -> Path:
    """Write all that would be uploaded; what was there before is replaced."""
    run = run_dir(profile.name, approach_name)
    record = finished_record(run)
    read_table("metrics", run / "metrics.parquet")  # what is damaged is not published
    weights = run / (MERGED if merged else WEIGHTS[load_approach(approach_name).tuning])
    if not weights.is_dir():
        raise MuseQuestError(
            f"{run} has no {weights.name}/ to publish; "
            + ("merge the adapter into its base model first." if merged else "train it first.")
        )
    if merged:
        agreement = read_remade(weights / AGREEMENT)
        check_digests(weights, agreement.get("weights_sha256", {}), "merge again")
    target, unfinished = run / FOLDER, run / f".{FOLDER}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for path in (*plain_files(weights, FILES)[0], *plain_files(run, RECORDS)[0]):
        if path.parent in (weights, run):
            # Weights under two names, for they are large and stay as they are.
            copy = link_or_copy if path.suffix == ".safetensors" else shutil.copy2
            copy(path, unfinished / path.name)
    processor = load_processor(profile)
    processor.save_pretrained(unfinished)
    generation_config(processor, profile.max_new_tokens).save_pretrained(unfinished)
    is_adapter = (weights / "adapter_config.json").exists()
    card = _card(profile, record, repo_id, is_adapter, processor, license_name)
    write_text(unfinished / "README.md", card)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    return target


def _check_repository(repo_id: str) -> None:
    """Raise MuseQuestError unless `repo_id` is a name the Hub allows, owner included."""
    with suppress(HFValidationError):
        validate_repo_id(repo_id)
        if repo_id.count("/") == 1:
            return
    raise MuseQuestError(
        f"'{repo_id}' is no name of a repository on the Hub; write it as owner/name."
    )


def _upload(folder: Path, repo_id: str, private: bool) -> None:
    api = hub_api()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Add the model")
    except (HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MuseQuestError(
            f"The Hub did not take '{repo_id}' ({reason}); {folder} is whole, so check the name "
            "and what HF_TOKEN may write, and publish again."
        ) from error


def _card(
    profile: Profile,
    record: dict[str, Any],
    repo_id: str,
    is_adapter: bool,
    processor: ProcessorMixin,
    license_name: str | None,
) -> str:
    """The card as Markdown with a YAML head the Hub reads; scores only if they are this run's."""
    scores = scores_of(profile, record["approach"])
    is_local = Path(profile.base_model_source).is_dir()
    head = ModelCardData(
        license=license_name,
        base_model=None if is_local else record["base_model"],
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="image-text-to-text",
        language=profile.language,
        tags=["musequest", "museum", "visual-question-answering"],
        model_name=repo_id.split("/")[1] if scores else None,
        eval_results=_results(record, scores) if scores else None,
    )
    return fill_card(
        Path(__file__).parent / "templates/model_card.md.j2",
        head.to_yaml(),
        record=record,
        repo=repo_id,
        is_adapter=is_adapter,
        is_local=is_local,
        takes_videos=hasattr(processor, "video_settings"),
        rows_a_step=rows_a_step(record["training"]),
        scores=scores,
        headings=HEADINGS,
    )


def scores_of(profile: Profile, system: str) -> dict[str, Any] | None:
    """summary.json if it scores the predictions that lie in this system's run now, else None.

    Its outsiders are left out if they are of other answers than those that lie there now.
    """
    folder = results_dir(profile.name)
    if not (folder / "scoring.json").exists():
        return None
    scored, summary = read_json(folder / "scoring.json"), read_json(folder / "summary.json")
    if not _scored(scored["systems"], profile, system):
        return None
    if not _scored(scored.get(OUTSIDERS, {}), profile, f"{system}__{OUTSIDERS}"):
        summary.pop(OUTSIDERS, None)
    return summary


def _scored(files: dict[str, Any], profile: Profile, name: str) -> bool:
    """Whether the answers in the folder `name` are those that were scored."""
    digest = file_digest(run_dir(profile.name, name) / "predictions.parquet")
    return digest is not None and digest == files.get(name, {}).get("sha256")


def _results(record: dict[str, Any], scores: dict[str, Any]) -> list[EvalResult]:
    """The means of every track and metric, as the Hub lists them."""
    return [
        EvalResult(
            task_type="visual-question-answering",
            dataset_type=record["collection"],
            dataset_name=f"{record['collection']} ({track})",
            dataset_split="test",
            metric_type=metric,
            metric_value=value["mean"],
        )
        for track in TRACKS
        for metric, value in scores.get(track, {}).get(record["approach"], {}).items()
        if value["mean"] is not None
    ]
