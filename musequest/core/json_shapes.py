"""The shape of every JSON file that passes between the stages, as tables.py has it of parquet.

A shape lists what some step reads. Keys may be added to any of these files, and those that only
later versions write need not be there, so files made before stay readable.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Values = dict[str, Any]
Digests = dict[str, str]  # file -> SHA-256


class Run(TypedDict):
    """run.json, at any moment of a run."""

    status: str
    reason: NotRequired[str | None]
    started_at: NotRequired[str]
    finished_at: NotRequired[str]
    fitted: NotRequired[Values | None]
    hardware: NotRequired[Values]
    training: NotRequired[Values]
    lora: NotRequired[Values | None]
    parallel: NotRequired[Values | None]
    peak_memory_gib: NotRequired[dict[str, float]]
    held_memory_gib: NotRequired[dict[str, float]]
    dataset_fingerprint: NotRequired[str]
    base_model_fingerprint: NotRequired[str]
    weights_sha256: NotRequired[Digests]
    base_model_sha256: NotRequired[Digests]


class FinishedRun(Run):
    """run.json of a run whose weights are to be read."""

    finished_at: str
    tuning: str
    dataset_fingerprint: str
    base_model_fingerprint: str


class Infer(TypedDict):
    """infer.json, what answers were made with."""

    split: NotRequired[str]
    dataset_fingerprint: NotRequired[str]
    run_finished_at: NotRequired[str | None]
    unanswered: NotRequired[int]
    problems: NotRequired[list[str]]
    cost: NotRequired[Values]
    predictions_sha256: NotRequired[str]


class Audit(TypedDict):
    """audit.json."""

    fingerprint: str
    exhibits: int
    rows: dict[str, int]
    tracks: dict[str, int]
    lineage_leaks: list[Values]
    near_duplicates: list[Values]
    alike_across_splits: list[Values]
    repeated_answers: int
    per_exhibit: list[Values]


class Agreement(TypedDict):
    """merged/agreement.json."""

    rows: int
    equal_answers: int
    run_finished_at: str
    weights_sha256: NotRequired[Digests]


class Calibration(TypedDict):
    """gate.json: the gate's threshold, and what it was learned from."""

    made_for: Values  # digests and settings; those of another gate are never read
    threshold: float  # a likeness; below it a photo is near to no exhibit
    wrong_refusals: float  # the rate that is promised
    validation_photos: int  # it was learned from
    learned_photos: int  # of validation that were left out, for training has copies of them
    strangers: int  # photos of validation that show no exhibit
    strangers_recognised: float | None  # share of them that is taken for an exhibit all the same


class Verdicts(TypedDict):
    """verdicts.json: what the gate says of the photos that are evaluated."""

    made_for: Values
    recognised: dict[str, str | None]  # data_id -> item_name
    confidence: dict[str, float]  # data_id -> likeness of the nearest exhibit


class Similarity(TypedDict):
    """similarity.json, the published score's distances."""

    base_model_fingerprint: str
    dtype: NotRequired[str]  # of the weights
    distances: dict[str, float]


class Kept(TypedDict):
    """Of scoring.json: the tables beside it, and what each system's rows were computed from."""

    files: Digests
    systems: Digests


class Scoring(TypedDict):
    """scoring.json, what scores were computed from."""

    systems: dict[str, Values]
    controls: NotRequired[list[str]]
    outsiders: NotRequired[dict[str, Values]]
    kept: NotRequired[Kept]


class Scored(Scoring):
    """scoring.json of a profile whose figures are to be drawn."""

    controls: list[str]
    outsiders: dict[str, Values]


class Said(TypedDict):
    """error.json, in which torchrun keeps what a rank said last."""

    message: str | Values


class DecisionLine(TypedDict):
    """A line of review.jsonl, what a curator decided."""

    item_name: str
    decision: Literal["approved", "edited", "withheld", "open"]
    by: str
    at: str
    dialog_id: NotRequired[str | None]
    text_sha256: NotRequired[str | None]
    question: NotRequired[str | None]
    answer: NotRequired[str | None]
    note: NotRequired[str]


class Part(TypedDict):
    """A photo's place, or a text, of a message."""

    type: str
    text: NotRequired[str | None]


class Message(TypedDict):
    """What one of the two says."""

    role: str
    content: list[Part]


class Dialog(TypedDict):
    """The column `dialog` of a dataset: the visitor's question and the docent's answer at least."""

    messages: Annotated[list[Message], Field(min_length=2)]


class Answer(TypedDict):
    """A row of predictions.parquet on its way there."""

    data_id: str
    item_name: str
    image_name: str
    question: str
    ground_truth: str
    answer: str
    new_tokens: int
    seconds: float
    ended: bool


SHAPES: dict[str, Any] = {
    "run.json": Run,
    "infer.json": Infer,
    "audit.json": Audit,
    "agreement.json": Agreement,
    "similarity.json": Similarity,
    "gate.json": Calibration,
    "verdicts.json": Verdicts,
    "scoring.json": Scoring,
    "summary.json": dict[str, dict[str, Values]],
    "differences.json": dict[str, list[Values]],
    "digests.json": Digests,
    "error.json": Said,
}
# The command that writes a file; where it is not given, the file's step has no command.
WRITERS = {
    "infer.json": "infer",
    "audit.json": "dataset",
    "agreement.json": "merge",
    "scoring.json": "report",
    "summary.json": "report",
    "differences.json": "report",
}
_adapter = functools.lru_cache(maxsize=64)(TypeAdapter)


def remedy(name: str) -> str:
    """What to do about a file of this name that cannot be used, as the end of a sentence."""
    if name == "run.json":  # without it the run's state would be lost too
        return "keep the folder and run `python -m musequest train` again, which mends it"
    step = f"`python -m musequest {WRITERS[name]}`" if name in WRITERS else "its step"
    return f"delete it and run {step} again"


def misfit(content: Any, shape: Any) -> str | None:
    """Where `content` differs from a shape, in a few words; None where it does not."""
    try:
        _adapter(shape).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        told = first["msg"][:1].lower() + first["msg"][1:]
        return f"{place}: {told}" if place else told
    return None
