"""Executes a notebook and tells what is happening; puts it where the committed one is.

Each is executed in its own folder and in a process of its own, as if it were opened by hand.
"""

import asyncio
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets.config import Config

from ..core.errors import MuseQuestError, sentence_of_text
from ..core.files import write_whole
from ..core.home import root

LARGEST_KB = 400
WIDGET = "application/vnd.jupyter.widget-view+json"


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
    with write_whole(target) as temporary:
        nbformat.write(book, temporary)


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
