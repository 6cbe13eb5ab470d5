"""Executes the notebooks of the three stages in order and tells what is happening.

    python -m musequest demo --profile pocket   copies under results/<profile>/notebooks/
    python -m musequest demo --longer           and those that take a demo too long
    python -m musequest notebooks               both, in place of the committed ones
    python -m musequest six --profile pocket    every approach's, and one table at the end

Each is executed in its own folder and in a process of its own, as if it were opened by hand. What
is done already is not done again; an approach that fails does not stop the next one.
"""

import asyncio
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets.config import Config

from ..core.errors import MuseQuestError, sentence_of_text
from ..core.files import read_json, write_json, write_whole
from ..core.home import results_dir, root, run_dir
from ..core.settings import Profile, approach_names, load_approach, load_profile
from ..creation import check_reach
from ..creation.dataset import split_path
from ..evaluation.report_tables import score_frame
from .demo_record import DemoRecord, time_to_docent, where_and_when

WALK = (
    "1_synthetic_data_creation/1.1_exhibit_collection/exhibit_collection.ipynb",
    "1_synthetic_data_creation/1.2_image_augmentation/image_augmentation.ipynb",
    "1_synthetic_data_creation/1.3_dialog_generation/dialog_generation.ipynb",
    "1_synthetic_data_creation/1.4_dataset_creation/dataset_creation.ipynb",
    "2_model_finetuning/2.1_lora_finetuning/lora_finetuning.ipynb",
    "2_model_finetuning/2.2_qlora_finetuning/qlora_finetuning.ipynb",
    "2_model_finetuning/2.3_lora_finetuning_with_ddp/lora_finetuning_with_ddp.ipynb",
    "2_model_finetuning/2.4_full_finetuning/full_finetuning.ipynb",
    "2_model_finetuning/2.5_full_finetuning_with_mp/full_finetuning_with_mp.ipynb",
    "2_model_finetuning/2.6_full_finetuning_with_fsdp/full_finetuning_with_fsdp.ipynb",
    "3_model_evaluation/3.1_finetuned_vs_openai/finetuned_vs_openai.ipynb",
    "3_model_evaluation/3.2_finetuned_vs_retrieval/finetuned_vs_retrieval.ipynb",
    "3_model_evaluation/3.3_talking_docent/talking_docent.ipynb",
)
# One approach and its scores, over in minutes. `make six` walks the other approaches.
OTHERS = WALK[5:10]
LONGER = WALK[-2:]  # what the demo leaves out unless asked for
DEMO = tuple(name for name in WALK if name not in (*OTHERS, *LONGER))
LARGEST_KB = 400
WIDGET = "application/vnd.jupyter.widget-view+json"
# What the table of all approaches shows, on photos never seen in training.
TRACK = "unseen_photo"
SCORES = ("embedding_distance", "identity_at_1", "number_recall", "invented_number_rate")


class Reader(NotebookClient):
    """Executes one notebook in its own folder and says which cell is running.

    It passes on what a cell prints: every redraw of a bar on a terminal, a few in a log.
    """

    seconds_between_bars = 10.0

    def __init__(self, book: nbformat.NotebookNode, folder: Path) -> None:
        super().__init__(
            book,
            timeout=None,
            startup_timeout=300,
            coalesce_streams=True,
            config=Config(KernelManager={"transport_encryption": "auto"}),
            resources={"metadata": {"path": str(folder)}},
            on_notebook_start=self.hand_on_interrupts,
            on_cell_execute=self.announce,
        )
        self.place = ""
        self.last_bar = 0.0

    def hand_on_interrupts(self, notebook: nbformat.NotebookNode) -> None:
        """Let Ctrl-C reach the running cell, which can then save what it has."""

        def interrupt() -> None:
            manager: Any = self.km  # there is one while a cell runs
            asyncio.ensure_future(manager.interrupt_kernel())

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)

    def announce(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Print the cell's number among the code cells and the heading it stands under."""
        code = [c.cell_type == "code" and bool(c.source.strip()) for c in self.nb.cells]
        self.place = f"cell {sum(code[: cell_index + 1])} of {sum(code)}"
        text = "\n".join(c.source for c in self.nb.cells[:cell_index] if c.cell_type == "markdown")
        headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
        first_line = re.search(r"^[^#\s].*$", cell.source, re.MULTILINE)
        print(
            f"    {self.place}  {headings[-1]} | {first_line[0] if first_line else ''}", flush=True
        )

    def output(
        self,
        outs: list[nbformat.NotebookNode],
        msg: dict[str, Any],
        display_id: str | None,
        cell_index: int,
    ) -> nbformat.NotebookNode | None:
        """Keep an output as nbclient does, after passing printed text on."""
        if msg["msg_type"] == "stream":
            self.pass_on(msg["content"]["text"])
        return super().output(outs, msg, display_id, cell_index)

    def pass_on(self, text: str) -> None:
        """Print a piece of a cell's output as it comes."""
        if sys.stdout.isatty():
            print(text, end="", flush=True)
            return
        redraw = "\r" in text and "100%" not in text
        if redraw and time.monotonic() - self.last_bar < self.seconds_between_bars:
            return
        if "\r" in text:
            self.last_bar = time.monotonic()
        for line in re.split(r"[\r\n]+", text):
            if line.strip():
                print(f"        {line.strip()}", flush=True)


def run(source: Path, target: Path, profile: str) -> float:
    """Execute the notebook `source` and write it with its outputs to `target`.

    A cell that sets `profile` is added behind the one tagged `parameters` unless that one says the
    same. Returns seconds. A failing cell raises MuseQuestError with notebook, cell and error, after
    what ran has been written.
    """
    start = time.monotonic()
    book = nbformat.read(source, as_version=4)
    if not any(cell.source == f'profile = "{profile}"' for cell in book.cells):
        book = parameterize_notebook(load_notebook_node(str(source)), {"profile": profile})
    reader = Reader(book, source.parent)
    try:
        reader.execute()
    except (CellExecutionError, DeadKernelError) as error:
        raise MuseQuestError(failure(source, target, reader, error)) from error
    finally:
        save(book, target)
    return time.monotonic() - start


def failure(source: Path, target: Path, reader: Reader, error: Exception) -> str:
    """What went wrong, in which cell of which notebook, and where to look."""
    if isinstance(error, CellExecutionError):
        reason = sentence_of_text(error.ename, error.evalue)
        if reason is None:
            reason = f"{error.ename}: {error.evalue}"
            traceback = error.traceback.split("------------------\n")[-1].strip()
            reason += "\n" + re.sub(r"\x1b\[[0-9;]*m", "", traceback)
    else:
        reason = "the kernel died, most likely because memory ran out"
    where = f"{source.relative_to(root())}, {reader.place or 'before its first cell'}"
    return f"{where} stopped: {reason}\nAs far as it ran it is kept in {target}."


def save(book: nbformat.NotebookNode, target: Path) -> None:
    """Write a notebook whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(target) as temporary:
        nbformat.write(book, temporary)


def demo(profile: str = "pocket", names: Sequence[str] = DEMO) -> Path:
    """Walk the three stages with `profile`; returns the path of report.html.

    The notebooks are executed as copies; what they made before is not made again. A museum or a
    writer that cannot be had raises MuseQuestError before the first of them.
    """
    profile, settings = _loaded(profile)
    check_source(settings)
    results = results_dir(settings.name)
    with DemoRecord(settings) as record:
        for number, name in enumerate(names, start=1):
            source = root() / name
            first = nbformat.read(source, as_version=4).cells[0].source
            heading = first.splitlines()[0].lstrip("# ")
            print(f"\n[{number}/{len(names)}] {heading}  ({name})", flush=True)
            record.seconds[name] = run(source, results / "notebooks" / source.name, profile)
    if tuple(names) == DEMO:
        record.save(results / "demo.json")
    report = results / "report.html"
    summary = read_json(results / "summary.json")
    for track, systems in summary.items():
        print(f"\n{track}\n{score_frame(systems, short=True).to_string()}")
    docent = f"{time_to_docent(record, summary)}\n" if tuple(names) == DEMO else ""
    print(f"\n{record.sentence()}\n{docent}Report: {report}")
    return report


def _loaded(profile: str) -> tuple[str, Profile]:
    """A profile, and its name or file as a notebook in another folder finds it."""
    if profile.endswith((".yaml", ".yml")):
        profile = str(Path(profile).resolve())
    return profile, load_profile(profile)


def check_source(profile: Profile) -> None:
    """Raise MuseQuestError where there is no dataset, and no museum or writer to make it.

    A notebook would go on with the pocket museum; time on a GPU is not paid for that.
    """
    if not split_path(profile.collection, "train").is_file():
        check_reach(profile, dialogs=True)


def refresh() -> None:
    """Walk demo and longer with the profile `pocket`; what was executed replaces the committed.

    One that fails, or takes more than 400 KB, raises MuseQuestError and is not put there. The
    notebooks of the other approaches are refreshed by `musequest six --refresh`.
    """
    walked = (*DEMO, *LONGER)
    executed = demo("pocket", walked).parent / "notebooks"
    for name in walked:
        save_refreshed(executed / Path(name).name, name)


def save_refreshed(executed: Path, name: str) -> None:
    """Put one executed notebook where the committed one, `name`, is."""
    book = without_volatile(nbformat.read(executed, as_version=4))
    kilobytes = len(nbformat.writes(book).encode()) / 1000
    if kilobytes > LARGEST_KB:
        raise MuseQuestError(
            f"{name} takes {kilobytes:.0f} KB with its outputs, at most {LARGEST_KB} are "
            "allowed: show fewer or smaller pictures."
        )
    save(book, root() / name)


def without_volatile(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without timings, random ids and progress bars (all that is on stderr)."""
    book.metadata = {key: book.metadata[key] for key in ("kernelspec",) if key in book.metadata}
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if not _passing(out)]
    return book


def _passing(out: nbformat.NotebookNode) -> bool:
    """Whether an output was for the moment: progress on stderr, a bar, a launcher's greeting."""
    greeting = out.get("text", "").startswith("Launching training on")
    return out.get("name") == "stderr" or WIDGET in out.get("data", {}) or greeting


def compare_approaches(profile_name: str = "pocket", *, refresh: bool = False) -> dict[str, Any]:
    """Run every approach's notebook with the profile; returns results/<profile>/six.json.

    `refresh` puts the executed notebooks where the committed ones are. Raises MuseQuestError, after
    the table is written, if an approach failed.
    """
    profile_name, profile = _loaded(profile_name)
    check_source(profile)
    results = results_dir(profile.name)
    seconds, failures = {}, {}
    books = [*approach_notebooks().values()]
    if not split_path(profile.collection, "train").is_file():
        books[:0] = [name for name in WALK if name.startswith("1_")]
    for number, name in enumerate(books, start=1):
        print(f"\n[{number}/{len(books)}] {name}", flush=True)
        start = time.monotonic()
        try:
            run(root() / name, results / "notebooks" / Path(name).name, profile_name)
        except MuseQuestError as error:
            failures[name] = str(error)
            print(f"\n{error}", flush=True)
        seconds[name] = round(time.monotonic() - start, 1)
    record = _record(profile, seconds, failures)
    write_json(results / "six.json", record)
    print(f"\n{comparison_frame(record).to_string(index=False)}")
    print(f"\n{sum(seconds.values()) / 60:.1f} minutes. Record: {results / 'six.json'}")
    if failures:
        raise MuseQuestError(
            f"{len(failures)} of {len(books)} notebooks stopped: {', '.join(failures)}; what they "
            f"said stands above, and as far as they ran they are kept in {results / 'notebooks'}."
        )
    if refresh:
        for name in approach_notebooks().values():
            save_refreshed(results / "notebooks" / Path(name).name, name)
    return record


def approach_notebooks() -> dict[str, str]:
    """The notebook of each approach, relative to the repository, in the order of the folders.

    An approach belongs to them once its folder of 2_model_finetuning/ holds a config.yaml and one.
    """
    found = {}
    for name in approach_names():
        folder = load_approach(name).folder
        books = sorted(folder.glob("*.ipynb"))
        if len(books) != 1:
            raise MuseQuestError(f"{folder} has to hold one notebook, and holds {len(books)}.")
        found[name] = str(books[0].relative_to(root()))
    return found


def comparison_frame(record: dict[str, Any]) -> pd.DataFrame:
    """The record as a table: a row an approach."""
    return pd.DataFrame([_row(name, each) for name, each in record["approaches"].items()])


def _row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    run_record, scores = found["run"], found["scores"]
    row: dict[str, Any] = {"approach": name, "status": run_record.get("status", "not started")}
    if row["status"] != "done":
        return row
    peaks = run_record["peak_memory_gib"]
    gpus = [held for device, held in peaks.items() if device != "cpu"]
    row |= {
        "processes": run_record["world_size"],
        "trainable parameters": f"{run_record['trainable_parameters']:,}",
        "minutes": f"{run_record['minutes']:.1f}",
        "peak memory per process (GiB)": f"{max(gpus) if gpus else peaks['cpu']:.2f}",
        "disk (GiB)": f"{run_record['disk_gib']:.3f}",
        "best validation loss": f"{run_record['best_eval_loss']:.4f}",
    }
    for metric in SCORES:
        mean = scores.get(metric, {}).get("mean")
        row[metric] = "–" if mean is None else f"{mean:.3f}"
    return row


def _record(profile: Profile, seconds: dict[str, float], failures: dict[str, str]) -> Any:
    """What came out, on which machine; the scores are those on photos never seen in training."""
    from ..evaluation.scoring import evaluate

    try:
        summary = evaluate(profile).get(TRACK, {})
    except MuseQuestError as error:
        print(f"\nThere are no scores: {error}", flush=True)
        summary = {}
    approaches = {}
    for name in approach_names():
        path = run_dir(profile.name, name) / "run.json"
        ran = read_json(path) if path.exists() else {}
        approaches[name] = {"run": ran, "scores": summary.get(name, {})}
    return {
        "profile": profile.name,
        "track": TRACK,
        "approaches": approaches,
        "failures": failures,
        "seconds": seconds,
        **where_and_when(),
    }
