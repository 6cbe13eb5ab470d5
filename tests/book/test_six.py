"""All approaches on one profile: every notebook runs, one table at the end, no failure hidden."""

import json
import shutil

import nbformat
import pandas as pd
import pytest
from kernels import fork_kernels
from tiny import save_tiny_docent
from tiny_dialogs import write_dataset, write_profile

from benchmarks.tables import blocks, comparison_tables, run_tables
from benchmarks.tables.blocks import read_csv
from musequest.book import walks
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_json
from musequest.core.home import root
from musequest.core.settings import approach_names, load_approach, load_profile
from musequest.core.tables import read_table
from musequest.evaluation.scoring import evaluate

APPROACHES = approach_names()


@pytest.fixture(scope="module")
def done(tmp_path_factory, forks):
    """All notebooks on the tiny docent, executed once: home, and the record of it."""
    home = tmp_path_factory.mktemp("six")
    (home / "docent").mkdir()
    write_dataset(home, "tiny")
    write_profile(home, save_tiny_docent(home / "docent", width=64))
    patch = pytest.MonkeyPatch()
    patch.setenv("MUSEQUEST_HOME", str(home))
    patch.setenv("OMP_NUM_THREADS", "1")
    fork_kernels(patch)
    patch.setenv("PYTHON_EXEC", forks.python)
    record = walks.compare_approaches(str(home / "tiny.yaml"))
    yield home, record
    patch.undo()


def test_every_approach_has_one_notebook_and_a_config():
    books = walks.approach_notebooks()
    assert list(books) == APPROACHES and APPROACHES[:4] == ["lora", "qlora", "lora_ddp", "full"]
    assert all(load_approach(name).folder.name in path for name, path in books.items())


def test_every_approach_is_trained_and_scored(done):
    home, record = done
    assert record["failures"] == {} and list(record["approaches"]) == APPROACHES
    for name, each in record["approaches"].items():
        assert each["run"]["status"] == "done", name
        assert each["scores"]["embedding_distance"]["mean"] is not None, name
    assert record == read_json(home / "results/tiny/six.json")


def test_every_notebook_ran_to_its_end(done):
    for path in walks.approach_notebooks().values():
        book = nbformat.read(done[0] / "results/tiny/notebooks" / path.split("/")[-1], as_version=4)
        cells = [cell for cell in book.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells), path
        assert not any(out.output_type == "error" for cell in cells for out in cell.outputs), path


def test_parallel_approaches_ran_in_several_processes(done):
    frame = walks.comparison_frame(done[1]).set_index("approach")
    assert frame.loc["lora", "processes"] == 1 and frame.loc["lora_ddp", "processes"] == 2


def test_the_table_has_a_row_an_approach_with_what_it_took(done):
    frame = walks.comparison_frame(done[1])
    assert frame.approach.tolist() == APPROACHES and not frame.isna().any().any()
    wanted = {"processes", "trainable parameters", "minutes", "disk (GiB)", "best validation loss"}
    assert wanted | {"peak memory per process (GiB)", "embedding_distance"} <= set(frame.columns)
    frame = frame.set_index("approach")
    same = frame.loc["lora", "trainable parameters"]
    assert frame.loc["qlora", "trainable parameters"] == same
    assert frame.loc["lora_ddp", "trainable parameters"] == same


def test_the_readmes_can_show_it(done, monkeypatch, tmp_path):
    home, record = done
    monkeypatch.setenv("MUSEQUEST_HOME", str(home))
    records = shutil.copytree(root() / blocks.RECORDS, tmp_path / "benchmarks/records")
    for module in (blocks, comparison_tables):
        monkeypatch.setattr(module, "root", lambda: tmp_path)
    comparison_tables.keep_six("tiny")
    kept = json.loads((records / "pocket_six.json").read_text())
    assert {**kept, "differences": None} == {**record, "differences": None}
    assert any(row["system"] == "full" and row["versus"] == "lora" for row in kept["differences"])
    table = comparison_tables.pocket_six()
    assert all(f"| {name} | done |" in table for name in APPROACHES)
    assert f"At least 1 seed an approach: {len(APPROACHES)} trainings" in table
    shown = comparison_tables.results_of("qlora")
    assert f"{record['approaches']['qlora']['run']['trainable_parameters']:,}" in shown
    assert "RTX A4000" in shown and record["date"] in shown


def test_what_each_approach_left_is_kept_and_shown(done, monkeypatch, tmp_path):
    home = done[0]
    monkeypatch.setenv("MUSEQUEST_HOME", str(home))
    for module in (blocks, run_tables):
        monkeypatch.setattr(module, "root", lambda: tmp_path)
    assert "make six" in run_tables.answers_of("full") + run_tables.model_of("full")
    run_tables.keep_runs(str(home / "tiny.yaml"))
    kept = read_csv(tmp_path / run_tables.ANSWERS)
    curves = pd.read_csv(tmp_path / run_tables.CURVES)
    for name in APPROACHES:
        folder = home / "runs/tiny" / name
        said = read_table("predictions", folder / "predictions.parquet").set_index("data_id")
        assert kept[name].tolist() == said.loc[kept.data_id, "answer"].tolist()
        losses = read_table("metrics", folder / "metrics.parquet").eval_loss
        own = curves[curves.approach == name]
        assert own.eval_loss.tolist() == pytest.approx(losses.tolist(), nan_ok=True)
        whole = read_json(folder / "run.json")["trainable_parameters"]
        assert f" {whole} |" in run_tables.model_of(name)
        assert f"2 of {len(kept)} test questions" in run_tables.answers_of(name)


def test_runs_that_were_not_scored_are_not_kept(done, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(done[0], home)
    monkeypatch.setenv("MUSEQUEST_HOME", str(home))
    shutil.rmtree(home / "runs/tiny/full_mp")
    evaluate(load_profile(str(home / "tiny.yaml")))
    with pytest.raises(MuseQuestError, match="no scores of full_mp; run `make six`"):
        run_tables.keep_runs(str(home / "tiny.yaml"))


def test_each_approach_that_is_trained_gets_so_many_seeds(done, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(
        done[0], home, ignore=lambda at, names: [n for n in names if n in APPROACHES[1:]]
    )
    monkeypatch.setenv("MUSEQUEST_HOME", str(home))
    monkeypatch.setattr(walks, "run", lambda source, target, profile: None)
    record = walks.compare_approaches(str(home / "tiny.yaml"), seeds=2)
    lora = record["approaches"]["lora"]
    assert len(lora["seeds"]) == lora["scores"]["embedding_distance"]["seeds"] == 2
    means = [seed["embedding_distance"] for seed in lora["seeds"].values()]
    assert lora["scores"]["embedding_distance"]["mean"] == pytest.approx(sum(means) / 2, abs=1e-3)
    assert "of 2 seeds" in walks.comparison_frame(record).embedding_distance[0]

    (home / "runs/tiny__seed3/lora/adapter").mkdir(parents=True)
    with pytest.raises(MuseQuestError, match="1 of 6 notebooks stopped: .*lora"):
        walks.compare_approaches(str(home / "tiny.yaml"), seeds=3)
    assert read_json(home / "results/tiny/six.json")["approaches"]["lora"]["scores"]


def test_an_approach_that_fails_stops_no_other(home, tmp_path, monkeypatch, capsys):
    """The first notebook stops; the others run, the table says so, and the command fails."""
    write_dataset(home, "tiny")
    profile = write_profile(home, tmp_path / "no_docent")
    ran = []

    def run(source, target, profile):
        ran.append(source.name)
        if len(ran) == 1:
            raise MuseQuestError("the photo is upside down")

    monkeypatch.setattr(walks, "run", run)
    with pytest.raises(MuseQuestError, match=f"1 of {len(APPROACHES)} notebooks stopped: .*lora"):
        walks.compare_approaches(str(home / f"{profile.name}.yaml"))
    told = capsys.readouterr().out
    assert len(ran) == len(APPROACHES) and "upside down" in told and "not started" in told
    record = read_json(home / "results/tiny/six.json")
    assert list(record["failures"].values()) == ["the photo is upside down"]


def test_a_record_with_failures_is_not_kept(home):
    record = {"failures": {"a.ipynb": "no"}, "approaches": {"full": {"run": {}, "scores": {}}}}
    write_json(home / "results/pocket/six.json", record)
    with pytest.raises(MuseQuestError, match=r"a\.ipynb, full.*run `make six` again"):
        comparison_tables.keep_six("pocket")


def test_without_a_record_the_readmes_say_so(monkeypatch, tmp_path):
    records = shutil.copytree(root() / blocks.RECORDS, tmp_path / "benchmarks/records")
    (records / "pocket_six.json").unlink()
    monkeypatch.setattr(blocks, "root", lambda: tmp_path)
    assert "make six" in comparison_tables.pocket_six()
    assert "make six" in comparison_tables.results_of("full")
