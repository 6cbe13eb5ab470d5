"""The notebooks: all run on a small cut of the pocket museum, and are kept as they should be."""

import ast
import csv
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
import yaml
from fork_server import warm_up
from forked import in_child, print_to
from kernels import fork_kernels
from papermill.iorw import load_notebook_node
from sweeping import MOUNTS, Disk

from musequest.__main__ import main
from musequest.book import notebooks
from musequest.book.notebooks import LARGEST_KB
from musequest.book.walks import DEMO, LONGER, OTHERS, WALK, approach_notebooks
from musequest.core.home import root
from musequest.evaluation.report_tables import KEY

EXHIBITS, OUTSIDERS, TOKENS = 4, 8, 24  # the last of an answer
COMMITTED = [root() / name for name in WALK]


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def states(path: Path) -> list[str]:
    """What the last cell, which checks the exercises, says of each."""
    told = code_cells(path)[-1].outputs[0].data["text/html"]
    return re.findall(r">(open|not yet|solved)<", told)


def cut_museum(folder: Path) -> Path:
    """The first exhibits of the pocket museum, photos and all."""
    whole = root() / "assets" / "pocket_museum"
    for row in cut_list(whole / "exhibits.csv", folder, EXHIBITS):
        shutil.copytree(whole / "photos" / row["item_name"], folder / "photos" / row["item_name"])
    return folder


def cut_outsiders(folder: Path) -> Path:
    """The first things from outside, photos and all."""
    whole = root() / "assets" / "pocket_outsiders"
    (folder / "photos").mkdir(parents=True)
    for row in cut_list(whole / "outsiders.csv", folder, OUTSIDERS):
        shutil.copy(whole / row["photo"], folder / row["photo"])
    return folder


def cut_list(whole: Path, folder: Path, count: int) -> list[dict[str, str]]:
    """The first rows of a list, which are written to `folder` under its name."""
    with whole.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:count]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / whole.name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def write_profile(folder: Path, **changes: object) -> Path:
    """The pocket profile on the cut museum, with one pass over the training rows."""
    profile = yaml.safe_load((root() / "profiles" / "pocket.yaml").read_text())
    profile |= {"max_new_tokens": TOKENS, **changes}
    profile["training"] |= {"num_train_epochs": 1, "eval_steps": 0.5}
    path = folder / "cut.yaml"
    path.write_text(yaml.safe_dump(profile))
    return path


def solved(path: str) -> nbformat.NotebookNode:
    """A notebook as a reader leaves it who put the solutions into the cell of the exercises."""
    book = load_notebook_node(path)
    for cell in book.cells:
        if "exercise" in cell.metadata.get("tags", []):
            cell.source = (root() / "exercises" / f"{Path(path).stem}.py").read_text()
    return book


def demo(
    profile: Path, home: Path, *options: str, forked: bool = True, solve: bool = False
) -> subprocess.CompletedProcess[str]:
    """What `make demo` runs, in a process of its own; its kernels are forked or started anew."""
    command = ["demo", "--profile", str(profile), *options]

    def run() -> int:
        os.environ["MUSEQUEST_HOME"] = str(home)
        os.chdir(root())
        print_to(Path(told))
        if forked:
            fork_kernels(pytest.MonkeyPatch())
        if solve:
            pytest.MonkeyPatch().setattr(notebooks, "load_notebook_node", solved)
        return main(command)

    with tempfile.TemporaryDirectory() as told:
        code = in_child(run)
        printed = [Path(told, name).read_text() for name in ("out", "err")]
    return subprocess.CompletedProcess(command, code, *printed)


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What demos and their kernels, forks of this process, need not import again."""
    warm_up()


@dataclass
class Walk:
    """A demo that ran on the cut museum, and the home folder it wrote to."""

    home: Path
    profile: Path
    shown: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    home = tmp_path_factory.mktemp("walk")
    folders = {
        "museum": str(cut_museum(home / "museum")),
        "outsiders": str(cut_outsiders(home / "outsiders")),
    }
    profile = write_profile(home, collection="cut", **folders)
    return Walk(home, profile, demo(profile, home))


def test_demo_runs_every_notebook_to_its_end(walk: Walk):
    assert walk.shown.returncode == 0, walk.shown.stdout + walk.shown.stderr
    for name in DEMO:
        executed = walk.home / "results" / "cut" / "notebooks" / Path(name).name
        cells = code_cells(executed)
        assert all(cell.execution_count for cell in cells if cell.source.strip()), name
        assert not any(out.output_type == "error" for cell in cells for out in cell.outputs), name


def test_demo_tells_where_it_is_and_ends_with_scores_and_report(walk: Walk):
    lines = walk.shown.stdout.splitlines()
    for number, name in enumerate(DEMO, start=1):
        assert any(line.startswith(f"[{number}/{len(DEMO)}] ") and name in line for line in lines)
    total = len(code_cells(COMMITTED[0])) + 1  # the cell with the given profile
    assert any(f"cell {total} of {total}" in line for line in lines)
    own = lines[lines.index("all") :]
    scores = [line.split()[0] for line in own[2 : own.index("", 1)]]
    assert scores == [*KEY], "the six that a reader needs; all others are in the report"
    report = walk.home / "results" / "cut" / "report.html"
    assert lines[-1] == f"Report: {report}" and report.is_file()


def test_demo_streams_how_far_the_training_is(walk: Walk):
    after = walk.shown.stdout.split("[5/6]")[1].split("[6/6]")[0]
    assert "%" in after.split("train(")[1]


def test_demo_records_what_it_took(walk: Walk):
    record = json.loads((walk.home / "results" / "cut" / "demo.json").read_text())
    assert record["from_nothing"] and set(record["seconds"]) == set(DEMO)
    assert record["peak_memory_gib"] > 0.1 and record["disk_gib"] > 0


def test_second_and_longer_demo_makes_nothing_again(walk: Walk):
    kept = [
        *walk.home.rglob("*.jpg"),
        *walk.home.rglob("*.json"),
        *walk.home.rglob("*.safetensors"),
    ]
    before = {path: path.stat().st_mtime_ns for path in kept if "results" not in path.parts}
    tables = {path: path.read_bytes() for path in (walk.home / "data").rglob("*.parquet")}
    record = (walk.home / "results" / "cut" / "demo.json").read_text()
    executed = walk.home / "results" / "cut" / "notebooks"
    for name in DEMO:
        assert states(executed / Path(name).name) == ["open"] * 3
    shown = demo(walk.profile, walk.home, "--longer", solve=True)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for name in (*DEMO, *LONGER):
        assert states(executed / Path(name).name) == ["solved"] * 3, name
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert tables == {path: path.read_bytes() for path in tables}
    assert (walk.home / "results" / "cut" / "demo.json").read_text() == record


def test_failing_notebook_stops_the_demo_with_cell_and_error(tmp_path: Path):
    profile = write_profile(tmp_path, museum=str(tmp_path / "no_museum"), collection="cut")
    shown = demo(profile, tmp_path, forked=False)
    assert shown.returncode == 1
    assert DEMO[0] in shown.stderr and " stopped: " in shown.stderr
    assert "no_museum" in shown.stderr and " of " in shown.stderr
    assert "Traceback" not in shown.stderr
    assert (tmp_path / "results" / "cut" / "notebooks" / Path(DEMO[0]).name).is_file()


@pytest.mark.skipif(not MOUNTS, reason="no disk can be mounted here")
def test_a_disk_that_takes_nothing_stops_the_demo_in_a_sentence(tmp_path: Path):
    home, kept, said = tmp_path / "home", tmp_path / "kept", tmp_path / "said"
    home.mkdir()
    write_profile(kept, museum=str(cut_museum(kept / "museum")), collection="cut")

    def walk() -> None:
        disk = Disk(home, kept)
        disk.fill(100_000)
        said.write_text(demo(home / "cut.yaml", home).stderr)

    assert in_child(walk) == 0
    assert "the disk is full; make room" in said.read_text()
    assert "Traceback" not in said.read_text()


def test_unknown_profile_is_one_sentence(tmp_path: Path):
    shown = demo(tmp_path / "absent.yaml", tmp_path)
    assert shown.returncode == 1 and "absent.yaml" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("path", COMMITTED, ids=WALK)
def test_first_cell_holds_what_a_reader_may_change(path: Path):
    first = code_cells(path)[0]
    assert first.metadata.tags == ["parameters"] and first.source == 'profile = "pocket"'


@pytest.mark.parametrize("path", COMMITTED, ids=WALK)
def test_second_cell_installs_and_does_nothing_where_all_is_there(path: Path, monkeypatch):
    cell = code_cells(path)[1]
    assert cell.metadata.tags == ["install"] and not cell.outputs
    assert cell.source == code_cells(COMMITTED[0])[1].source
    monkeypatch.setattr(subprocess, "check_call", pytest.fail)
    exec(cell.source, {})


@pytest.mark.parametrize("path", COMMITTED, ids=WALK)
def test_cells_are_short_and_define_nothing(path: Path):
    for cell in code_cells(path):
        assert not cell.source.startswith("%"), cell.source
        tree = ast.parse(cell.source)
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        assert not any(isinstance(node, kinds) for node in ast.walk(tree)), cell.source
        statements = [
            node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert sum(node.end_lineno - node.lineno + 1 for node in statements) <= 6, cell.source
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        assert not any("/" in text for text in texts if isinstance(text, str)), cell.source


@pytest.mark.parametrize("path", COMMITTED, ids=WALK)
def test_every_code_cell_follows_a_paragraph(path: Path):
    cells = nbformat.read(path, as_version=4).cells
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code" and before.cell_type == "code":
            assert cell.source.startswith(("from ", "import ", "profile")) or before.outputs


@pytest.mark.parametrize("path", COMMITTED, ids=WALK)
def test_committed_with_outputs_of_a_good_run_and_small(path: Path):
    cells = code_cells(path)
    if str(path.relative_to(root())) in OTHERS and not any(cell.outputs for cell in cells):
        pytest.skip("not walked yet; `musequest six --refresh` gives it outputs")
    executed = [cell for cell in cells if cell.metadata.get("tags") != ["install"]]
    assert all(cell.execution_count for cell in executed) and any(cell.outputs for cell in cells)
    assert not any(out.output_type == "error" for cell in cells for out in cell.outputs)
    assert path.stat().st_size <= LARGEST_KB * 1000
    words = re.sub("[A-Za-z0-9+/]{100,}", "", path.read_text())  # a picture may spell any path
    assert str(Path.home()) not in words and str(root()) not in words


def test_every_committed_notebook_belongs_to_the_walk():
    found = {str(path.relative_to(root())) for path in root().glob("[0-9]_*/**/*.ipynb")}
    assert {name for name in found if ".ipynb_checkpoints" not in name} == set(WALK)


def test_walk_is_in_the_order_of_the_folders_and_holds_every_approach_once():
    assert list(WALK) == sorted(WALK)
    assert {*approach_notebooks().values()} == {name for name in WALK if name.startswith("2_")}
    assert {*DEMO, *LONGER, *OTHERS} == set(WALK) and "2.1_" in DEMO[4]


def test_a_museum_that_cannot_be_had_stops_before_anything_is_paid(tmp_path: Path, forks):
    for command in ("demo", "six"):
        home = tmp_path / command
        shown = subprocess.run(
            [forks.python, "-m", "musequest", command, "--profile", "idefics2-8b"],
            env=os.environ | {"MUSEQUEST_HOME": str(home), "HF_HUB_OFFLINE": "1"},
            cwd=root(), capture_output=True, text=True,
        )  # fmt: skip
        assert shown.returncode == 1 and shown.stderr.count("\n") == 1, shown.stderr
        assert "HF_HUB_OFFLINE" in shown.stderr and not home.exists()


@pytest.mark.parametrize("path", COMMITTED, ids=WALK)
def test_a_notebook_is_a_lesson(path: Path):
    cells = nbformat.read(path, as_version=4).cells
    assert "**You will see**" in cells[0].source and "**It takes**" in cells[0].source
    exercises = [cell for cell in cells if cell.metadata.get("tags") == ["exercise"]]
    assert [cell.source.count(" = None") for cell in exercises] == [3]
    assert code_cells(path)[-1].source == f'display.check("{path.stem}", globals())'
    shown = [out for cell in code_cells(path) for out in cell.outputs]
    assert not any("progress" in str(out) or "Launching" in str(out) for out in shown)
    assert not any("widget-view" in kind for out in shown for kind in out.get("data", {}))
