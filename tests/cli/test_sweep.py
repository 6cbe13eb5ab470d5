"""Every command under every fault: one sentence or the right result, and the next run is right."""

import json
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import sweeping
from folder_museum import write_museum
from fork_server import warm_up
from sweeping import (
    Disk,
    Ended,
    a_list,
    contents,
    cut,
    emptied,
    import_as,
    in_child,
    of_another_version,
    run,
    state,
)
from tiny import save_tiny_docent
from tiny_dialogs import write_profile

from musequest.finetuning import preflight

EXHIBITS, DATA, RUN = "data/t/exhibits.parquet", "data/t/dataset/data", "runs/tiny/lora"
TRAIN, TEST = (f"{DATA}/{split}-00000-of-00001.parquet" for split in ("train", "test"))
ADAPTER, RECORD = f"{RUN}/adapter/adapter_model.safetensors", f"{RUN}/run.json"
CONFIG, WEIGHTS, PROFILE = "docent/config.json", "docent/model.safetensors", "tiny.yaml"
ORIGINAL, ANSWERS = "data/t/originals/piece-00/00.jpg", f"{RUN}/predictions.parquet"
PHOTO = "museum/photos/piece-00/0.png"


@dataclass(frozen=True)
class Step:
    """A command, and the files it reads; HOME/ stands before each."""

    typed: str
    inputs: tuple[str, ...]

    def arguments(self, home: Path) -> list[str]:
        return [word.replace("HOME", str(home)) for word in self.typed.split()]


OF_TINY = "--profile HOME/tiny.yaml"
STEPS = {
    "collect": Step("collect folder HOME/museum --collection t", ("museum/exhibits.csv", PHOTO)),
    "augment": Step("augment --collection t --processes 1", (EXHIBITS, ORIGINAL)),
    "synthesize": Step("synthesize --collection t", (EXHIBITS,)),
    "dataset": Step(
        "dataset --collection t",
        (
            *("data/t/photos.parquet", "data/t/dialogs.parquet", EXHIBITS, ORIGINAL),
            "data/t/augmented/piece-00/05.jpg",
        ),
    ),
    "push": Step("push --collection t --repository o/n --dry-run", (TRAIN, "data/t/audit.json")),
    "train": Step(f"train {OF_TINY}", (TRAIN, CONFIG, WEIGHTS, PROFILE, "docent/tokenizer.json")),
    "base": Step(f"infer {OF_TINY} --approach base", (TEST, WEIGHTS)),
    "infer": Step(
        f"infer {OF_TINY}", (RECORD, ADAPTER, f"{RUN}/adapter/adapter_config.json", TEST)
    ),
    "merge": Step(f"merge {OF_TINY}", (RECORD, ADAPTER, WEIGHTS, TEST)),
    "ask": Step(f"ask {OF_TINY} --photo HOME/{PHOTO}", (PHOTO, RECORD, ADAPTER, PROFILE)),
    "score": Step(
        f"score lora=HOME/{ANSWERS} base=HOME/runs/tiny/base/predictions.parquet "
        f"--exhibits HOME/{EXHIBITS} --out HOME/scores",
        (ANSWERS, EXHIBITS, "runs/tiny/base/predictions.parquet"),
    ),
    "report": Step(
        f"report {OF_TINY}", (ANSWERS, f"{RUN}/infer.json", RECORD, f"{RUN}/metrics.parquet", TEST)
    ),
    "preflight": Step(f"preflight {OF_TINY} --gpu 24GiB", (CONFIG, PROFILE, TRAIN)),
    "publish": Step(f"publish {OF_TINY} --repo o/n", (RECORD, ADAPTER, f"{RUN}/metrics.parquet")),
}
DAMAGES = (emptied, cut, a_list, of_another_version)
# What is no result: caches, what a run needs to go on, curves with their moments in the name.
UNCOMPARED = ("/.cache/", "/state/", "/unfinished/", "/tensorboard/")


@dataclass
class Walk:
    """One undisturbed walk: what lay in HOME before and after each command."""

    home: Path
    before: dict[str, Path]
    after: dict[str, dict[str, str]]
    ended: dict[str, Ended]
    bytes: dict[str, int]  # by which HOME grew

    @cached_property
    def untouched(self) -> dict[str, dict[str, str]]:
        """All that lay in HOME before each command, to the byte."""
        return {name: contents(folder) for name, folder in self.before.items()}


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> Walk:
    folder = tmp_path_factory.mktemp("sweep")
    home = folder / "home"
    write_museum(home / "museum", [(2, (2, 1, 1))])
    training = {"learning_rate": 0.01, "num_train_epochs": 1, "seed": 1, "eval_steps": 3}
    training["activation_checkpointing"] = False
    batches = {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4}
    docent = save_tiny_docent(home / "docent")
    write_profile(home, docent, collection="t", training=training | batches)
    warm_up()
    walked = Walk(home, {}, {}, {}, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        for name, step in STEPS.items():
            walked.before[name] = shutil.copytree(home, folder / "before" / name)
            if name == "preflight":  # which takes longest of all the first time in a process
                preflight.preflight(home / "tiny.yaml", "24GiB")
            room = size(home)
            ended = walked.ended[name] = run(home, step.arguments(home), folder / "told")
            assert ended.code == 0, ended.err
            import_as(folder / "told")
            walked.after[name] = state(home, UNCOMPARED)
            walked.bytes[name] = size(home) - room
        yield walked


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def undergo(walk: Walk, name: str, told: Path, inflict, mend, kill_at=0) -> tuple[Ended, dict]:
    """The command under a fault and, the fault removed, once more.

    What left not one byte behind needs no second run: that would be the undisturbed one again.
    """
    arguments = STEPS[name].arguments(walk.home)
    untouched = walk.untouched[name]

    def holder() -> None:
        disk = Disk(walk.home, walk.before[name])
        inflict(disk)
        first = run(walk.home, arguments, told / "first", kill_at)
        mend(disk)
        found = {"first": vars(first), "between": state(walk.home, UNCOMPARED)}
        if contents(walk.home) != untouched:
            found["again"] = vars(run(walk.home, arguments, told / "again"))
            found["after"] = state(walk.home, UNCOMPARED)
        (told / "found.json").write_text(json.dumps(found))

    assert in_child(holder) == 0
    found = json.loads((told / "found.json").read_text())
    if "again" in found:
        assert found["again"]["code"] == 0, found["again"]["err"]
        assert differing(found["after"], walk.after[name]) == []
    return Ended(**found["first"]), found["between"]


def differing(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    both = found.keys() | expected.keys()
    return sorted(name for name in both if found.get(name) != expected.get(name))


def assert_told_or_done(ended: Ended, found: dict[str, str], expected: dict[str, str]) -> None:
    """A sentence, or success and all that an undisturbed command leaves."""
    if ended.code:
        assert_sentence(ended)
    else:
        assert differing(found, expected) == []


def assert_sentence(ended: Ended) -> None:
    assert ended.code == 1, ended.err
    last = ended.err.rstrip("\n").splitlines()[-1]
    assert "Traceback" not in ended.err and "Error" not in last.split()[0], ended.err
    assert last.endswith(".") and len(last) < 900, last
    assert not re.search(r"/\.\w+\.[0-9a-f]{12}\b", last), "a temporary name tells nobody anything"


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("share", [0.5, pytest.param(0, marks=pytest.mark.slow)])
@pytest.mark.skipif(not sweeping.MOUNTS, reason="no disk can be mounted here")
def test_on_a_full_disk(walk, name, share, tmp_path):
    room = int(share * walk.bytes[name])
    ended, between = undergo(walk, name, tmp_path, lambda disk: disk.fill(room), Disk.mend)
    assert_told_or_done(ended, between, walk.after[name])


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.skipif(not sweeping.MOUNTS, reason="no disk can be mounted here")
def test_on_a_read_only_disk(walk, name, tmp_path):
    ended, between = undergo(walk, name, tmp_path, Disk.lock, Disk.mend)
    assert_told_or_done(ended, between, walk.after[name])


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    "share", [0.6, *(pytest.param(n / 8, marks=pytest.mark.slow) for n in range(9))]
)
def test_killed_while_it_writes(walk, name, share, tmp_path):
    writes = walk.ended[name].writes
    kill_at = max(1, round(share * writes))
    ended, _ = undergo(walk, name, tmp_path, lambda disk: None, lambda disk: None, kill_at)
    assert ended.code == -9 if writes else ended.code == 0


def damaged_inputs():
    """Each input with each damage; of every command the four damages at least once by default."""
    for name, step in STEPS.items():
        for place, path in enumerate(step.inputs):
            for number, damage in enumerate(DAMAGES):
                chosen = number % len(step.inputs) == place or len(step.inputs) == 1
                marks = () if chosen else pytest.mark.slow
                yield pytest.param(
                    name,
                    path,
                    damage,
                    marks=marks,
                    id=f"{name}-{Path(path).name}-{damage.__name__}",
                )


@pytest.mark.parametrize(("name", "path", "damage"), list(damaged_inputs()))
def test_with_a_damaged_input(walk, name, path, damage, tmp_path):
    sound = (walk.before[name] / path).read_bytes()

    def harm(disk: Disk) -> None:
        content = damage(walk.home / path)
        (walk.home / path).unlink()  # which may be a second name of another file
        (walk.home / path).write_bytes(content)

    def restore(disk: Disk) -> None:
        (walk.home / path).write_bytes(sound)

    ended, between = undergo(walk, name, tmp_path, harm, restore)
    if ended.code:
        assert_sentence(ended)
        assert any(part in ended.err for part in Path(path).parts[-2:]), ended.err
        return
    wrong = set(differing(between, walk.after[name])) - {path}
    named = any(Path(path).name in line for line in ended.err.splitlines())
    assert not wrong or named or "left out" in ended.err.lower(), (wrong, ended.err)
