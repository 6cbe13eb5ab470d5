"""What fits where is said before anything is loaded, and what cannot be had, in one sentence."""

import json
import os
import subprocess
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from logging import WARNING, getLogger
from threading import Thread

import pytest
import torch
from tiny_dialogs import write_dataset, write_profile
from transformers import AutoModelForImageTextToText

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.core.keys import read_yaml
from musequest.core.settings import load_approach, load_profile
from musequest.finetuning.activations import RowShape
from musequest.finetuning.commands import SLOWER
from musequest.finetuning.forecast import compared, foreseen_here
from musequest.finetuning.gpus import find_gpu, known_gpus
from musequest.finetuning.memory import memory_of
from musequest.finetuning.models import SHAPES, model_config
from musequest.finetuning.needs import Need, Rows, needs_of, smallest
from musequest.finetuning.preflight import foresee, preflight, shown
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.training import train


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


def test_every_approach_has_a_line_and_findings_are_sentences(
    profile, tmp_path, capsys, monkeypatch
):
    with monkeypatch.context() as full:
        full.setattr("musequest.finetuning.preflight.free_gib", lambda folder: 0.0)
        full.setattr(Need, "seen", 7 * 2**30)
        table, findings = preflight(profile, "T4")
    assert "lora" in set(table.approach) and (table.rows_fit > 8).all()
    assert (table.rows_fit_recomputed >= table.rows_fit).all()
    told = " ".join(findings)
    assert "is the folder" in told and "T4 has no bfloat16: set fp16=true" in told
    assert "float16 for approaches with adapters, dtype: float32 for full tuning" in told
    assert "is not there yet" not in told
    assert "0.0 GiB free" in told and "its checkpoints and what its vision tower sees." in told
    assert table.disk_gib.between(7.03, 8).all() and "needs up to 7.0 GiB" in told
    assert main(["preflight", "--profile", str(tmp_path / "tiny.yaml"), "--gpu", "24 GiB"]) == 0
    told = capsys.readouterr().out
    assert "lora" in told and all(len(line) <= 100 for line in told.splitlines()[:7])
    assert not getLogger(SLOWER).isEnabledFor(WARNING)  # of steps that it does not compute


def test_of_a_gpu_of_the_catalogue_minutes_and_cost_are_said(profile):
    table, findings = preflight(profile, "RTX A5000")
    assert (table.minutes > 0).all() and (table.usd > 0).all() and table.fits.all()
    hours = table.minutes * table.devices / 60
    assert table.usd.to_list() == pytest.approx((0.36 * hours).to_list(), abs=0.01)
    assert table[table.approach == "lora_ddp"].devices.item() == 2
    told = " ".join(findings)
    assert "minutes were within" in told and "by prices of 2025-01 (paid)" in told
    assert "nothing but its memory" not in told


def test_of_a_gpu_given_by_its_memory_nothing_else_is_known_and_that_is_said(profile):
    table, findings = preflight(profile, "24GiB")
    assert table.minutes.isna().all() and table.usd.isna().all()
    assert set(shown(table).bottleneck) == {"-"}
    [told] = [each for each in findings if "nothing but its memory is known" in each]
    assert told.startswith("Of the GPU 24GiB") and "neither minutes nor USD are foreseen" in told


def test_a_gpu_without_a_price_is_one_sentence_with_the_nearest(profile):
    table, findings = preflight(profile, "A10G")
    assert (table.minutes > 0).all() and table.usd.isna().all()
    [told] = [each for each in findings if "no price of the GPU 'A10G'" in each]
    assert "the nearest with one is 'A100 80GB'" in told
    with pytest.raises(MuseQuestError, match="no price of the GPU 'T4'.*nearest with one is 'L4'"):
        find_gpu("T4").usd(60, 1)
    assert find_gpu("L4").usd(90, 2) == pytest.approx(1.32)


def test_of_all_gpus_every_kind_has_a_line_and_the_cheapest_is_among_them(profile):
    everywhere, _ = preflight(profile, " All")
    assert set(everywhere.gpu) == {gpu.name for gpu in known_gpus()}
    best = foresee(profile, "lora")
    lora = everywhere[(everywhere.approach == "lora") & everywhere.usd.notna()]
    assert best["gpus"] in set(lora[lora.usd == lora.usd.min()].gpu)


def test_without_a_gpu_the_smallest_that_will_do_is_named(profile):
    need = needs_of(profile)[0]
    assert smallest(need) == known_gpus()[0].name


def test_a_gpu_too_small_says_what_would_fit(profile):
    with pytest.raises(MuseQuestError, match=r"0.0 GiB usable, and even '\w+'.*would fit on: .*T4"):
        preflight(profile, "0.00001GiB")


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        *(("a100 80gb", 80), ("NVIDIA H200", 140), ("rtx-4090", 24), ("12.5 GB", 12.5)),
        *(("H100", 80), ("NVIDIA A100-SXM4-80GB", 80)),
    ],
)
def test_gpus_are_found_by_name_and_memory(name, gib):
    assert find_gpu(name).gib == gib


def test_an_unknown_gpu_is_one_sentence():
    with pytest.raises(MuseQuestError, match="no GPU 'H2000'.*nearest is 'H200'.*--gpu 24GiB"):
        find_gpu("H2000")


def test_an_empty_name_of_a_gpu_is_refused(profile):
    with pytest.raises(MuseQuestError, match="There is no GPU '' in gpus.yaml"):
        preflight(profile, "")


def test_every_shipped_shape_has_the_numbers_of_its_weights(monkeypatch, tmp_path):
    """Models of the Hub that shipped profiles name are known without it, and counted whole."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    shapes = read_yaml(SHAPES)
    for path in (root() / "profiles").glob("*.yaml"):
        profile = load_profile(path)
        if (root() / profile.base_model).is_dir():
            continue
        config = model_config(profile)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
        counted = sum(p.numel() for p in model.parameters())
        assert counted == shapes[profile.base_model]["parameters"]


@pytest.mark.parametrize(
    ("profile", "row"),
    [
        ("idefics2-8b", RowShape(100 + 66, 1, 70 * 70)),
        ("idefics3-8b", RowShape(100 + 5 * 171, 5, 26 * 26)),
        ("smolvlm-256m", RowShape(100 + 66, 1, 32 * 32)),
        ("smolvlm2-500m", RowShape(100 + 5 * 66, 5, 32 * 32)),
        ("qwen3-vl-2b", RowShape(100 + 24 * 24 + 2, 1, 48 * 48)),
        ("qwen3-vl-4b", RowShape(100 + 24 * 24 + 2, 1, 48 * 48)),
        ("qwen3.5-4b", RowShape(100 + 24 * 24 + 2, 1, 48 * 48)),
        ("gemma-3-4b", RowShape(100 + 258, 1, 64 * 64)),
    ],
)
def test_a_row_is_supposed_as_the_model_would_take_it(profile, row):
    assert RowShape.supposed(load_profile(profile), text_tokens=100) == row


def test_a_bare_laptop_foresees_the_published_profile(tmp_path, forks):
    """No cache, no model, no network: a proxy that nobody listens at refuses whatever is asked."""
    dead = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://[::1]:9"
    )
    own = {"HF_HOME": str(tmp_path), "MUSEQUEST_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    command = [forks.python, "-m", "musequest", "preflight", "--profile", "idefics2-8b"]
    ended = subprocess.run(
        [*command, "--gpu", "A100 80GB"],
        capture_output=True,
        text=True,
        env={**os.environ, **dead, **own, "PYTHONPATH": str(root())},
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout.splitlines()
    assert told[0].split() == [
        *("approach", "gpus", "rows", "most_rows", "peak_gib", "minutes", "usd", "disk_gib"),
        "bottleneck",
    ]
    assert len(told[1:7]) == 6 and not any("does not fit" in line for line in told)
    assert "its sizes come with the package" in ended.stdout


def test_devices_that_share_weights_gather_a_layer_and_its_neighbour(profile):
    """FSDP holds its share and what it computes with, DDP a copy and the buckets of gradients."""
    needs = {need.name: need.memory for need in needs_of(profile)}
    sharded, copied, alone = (needs[name] for name in ("full_fsdp", "lora_ddp", "lora"))
    assert sharded.gathered > 0 and alone.gathered == 0
    learning = 3 * sharded.activations.of_row(sharded.row, False)
    states = (sharded.weights + sharded.optimizer) // 2
    assert sharded.total(3, False, 2) == max(
        sharded.fixed // 2, states + sharded.gathered + learning
    )
    assert copied.weights == alone.weights + alone.gradients


def test_a_run_says_what_was_foreseen_of_it(profile, caplog):
    """On a processor, whose speed no record says, memory and disk, and no minutes."""
    few = {"max_steps": "2", "eval_steps": "1"}
    told = train(profile, "full", few, progress=False)["foreseen"]
    assert told["minutes"] is None and "minutes" not in told["ratio"]
    assert 0.7 < told["ratio"]["peak_memory_gib"] < 1.3
    assert 0.5 < told["ratio"]["disk_gib"] < 5  # of so small a run records are the most
    assert not caplog.records


def test_what_the_vision_tower_sees_of_all_photos_is_foreseen(home):
    """Of idefics2-8b: 901 photos of 57 x 57 patches, 1152 numbers each in bfloat16."""
    profile = load_profile("idefics2-8b")
    config = RunConfig.resolve(profile, load_approach("lora"))
    need = Need(config, memory=None, size=None, rows=Rows.of(config))
    photos = 901 * 57**2 * 1152 * 2
    for most, seen in ((20.0, photos), (5.0, 5 * 2**30), (0.0, 0)):
        bounded = replace(config, profile=replace(profile, vision_store_gib=most))
        assert replace(need, config=bounded).seen == seen


def test_a_process_that_held_more_before_is_foreseen_to_have_held_it(profile, monkeypatch):
    """A peak counts from the process's begin, and a notebook may have trained another model."""
    config = RunConfig.resolve(profile, load_approach("lora"))
    memory = memory_of(config, config.row)
    assert foreseen_here(config, memory)["peak_memory_gib"] < 50
    monkeypatch.setattr("musequest.finetuning.forecast.peak_memory_gib", lambda: {"cpu": 50.0})
    assert foreseen_here(config, memory)["peak_memory_gib"] == 50


def compare(foreseen, **was):
    """minutes, memory and disk as foreseen, of a run that took 10 min, 40 GiB of tensors, 2 GiB."""
    run = {"minutes": 10.0, "peak_memory_gib": {"cpu": 16.0, "cuda:0": 44.0}, "disk_gib": 2.0}
    run["held_memory_gib"] = {"cuda:0": 40.0}
    names = ("minutes", "peak_memory_gib", "disk_gib")
    return compared(dict(zip(names, foreseen, strict=True)), run | was)


def test_a_run_beyond_the_stated_error_says_so(caplog):
    near = compare((11.0, 41.0, 2.0))
    assert near["ratio"] == {"minutes": 1.1, "peak_memory_gib": 1.025, "disk_gib": 1.0}
    assert not caplog.records
    far = compare((20.0, 41.0, 2.0))
    assert far["ratio"]["minutes"] == 2.0
    [said] = caplog.messages
    assert said == "The run took minutes 10 where 20 were foreseen (± 28%)."


def test_a_gpu_of_unknown_speed_says_what_its_tensors_held_beyond_the_error(caplog):
    """Reserved were 44 GiB, which is no more than foreseen: tensors are compared with tensors."""
    told = compare((None, 46.0, 2.0))
    assert told["ratio"] == {"peak_memory_gib": 1.15, "disk_gib": 1.0}
    [said] = caplog.messages
    assert said == "The run took held_memory_gib 40 where 46 were foreseen (± 10%)."


def test_a_processor_says_what_it_held_beyond_its_own_error(caplog):
    processor = {"peak_memory_gib": {"cpu": 1.0}, "held_memory_gib": {}}
    assert compare((None, 0.7, 2.0), **processor)["ratio"]["peak_memory_gib"] == 0.7
    assert not caplog.records
    compare((None, 0.5, 2.0), **processor)
    [said] = caplog.messages
    assert said == "The run took peak_memory_gib 1 where 0.5 were foreseen (± 35%)."


@pytest.mark.parametrize(
    ("foreseen", "was", "told"),
    [
        # Weights that are the best and the last; fewer bytes than anybody would miss.
        *((2.0, 2.0, False), (4.0, 2.0, False), (0.02, 0.001, False)),
        *((1.0, 2.0, True), (6.0, 2.0, True)),
    ],
)
def test_disk_beyond_its_error_is_told(foreseen, was, told, caplog):
    compare((10.0, 40.0, foreseen), disk_gib=was)
    sentence = f"The run took disk_gib {was:g} where {foreseen:g} were foreseen (± 15%)."
    assert caplog.messages == ([sentence] if told else [])


class Hub(BaseHTTPRequestHandler):
    """Refuses as the Hub does: one model is gated, all others are unknown."""

    def refuse(self):
        gated = "/museum/gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = refuse

    def log_message(self, *arguments):
        pass


CASES = {
    "online museum/gated": "it is gated: ask for access on http://127.0.0.1",
    "online museum/mispelt": "the Hub has no model of this name",
    "online not a name/at/all": "there is no such folder, and the Hub's names have the form",
    "offline museum/absent": "it is not in the cache",
}
PROGRAM = """
import json, sys
from huggingface_hub import constants
from musequest.core.errors import MuseQuestError
from musequest.finetuning.preflight import preflight
from musequest.core.settings import Profile
told = {}
for case in json.loads(sys.argv[1]):
    where, _, name = case.partition(" ")
    constants.HF_HUB_OFFLINE = where == "offline"
    try:
        preflight(Profile("p", name, "none", 100))
    except MuseQuestError as error:
        told[case] = str(error)
print(json.dumps(told))
"""


def test_gated_misspelt_and_absent_models_are_one_sentence_each(tmp_path, forks):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(root()),
        "NO_PROXY": "127.0.0.1",
    }
    command = [forks.python, "-c", PROGRAM, json.dumps(list(CASES))]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    server.shutdown()
    server.server_close()
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.strip().splitlines()[-1])
    for case, sentence in CASES.items():
        assert sentence in told[case] and "check the key base_model" in told[case], told[case]
        assert len(told[case].splitlines()) == 1
