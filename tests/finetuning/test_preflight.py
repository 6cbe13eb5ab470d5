"""What fits where is said before anything is loaded, and what cannot be had, in one sentence."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from tiny_dialogs import write_dataset, write_profile

from musequest.__main__ import main
from musequest.errors import MuseQuestError
from musequest.finetuning.preflight import find_gpu, known_gpus, needs_of, preflight, smallest
from musequest.home import root


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


def test_every_approach_has_a_line_and_findings_are_sentences(profile, tmp_path, capsys):
    table, findings = preflight(profile, "T4")
    assert "lora" in set(table.approach) and (table.rows_fit > 8).all()
    assert (table.rows_fit_recomputed >= table.rows_fit).all()
    told = " ".join(findings)
    assert "is the folder" in told and "T4 has no bfloat16: set fp16=true" in told
    assert "float16 for approaches with adapters, dtype: float32 for full tuning" in told
    assert "is not there yet" not in told
    assert main(["preflight", "--profile", str(tmp_path / "tiny.yaml"), "--gpu", "24 GiB"]) == 0
    assert "lora" in capsys.readouterr().out


def test_without_a_gpu_the_smallest_that_will_do_is_named(profile):
    need = needs_of(profile)[0]
    assert smallest(need) == known_gpus()[0].name


def test_a_gpu_too_small_says_what_would_fit(profile):
    with pytest.raises(MuseQuestError, match=r"0.0 GiB usable, and even '\w+'.*would fit on: .*T4"):
        preflight(profile, "0.00001GiB")


@pytest.mark.parametrize(
    ("name", "gib"), [("a100 80gb", 80), ("NVIDIA H200", 140), ("rtx-4090", 24), ("12.5 GB", 12.5)]
)
def test_gpus_are_found_by_name_and_memory(name, gib):
    assert find_gpu(name).gib == gib


def test_an_unknown_gpu_is_one_sentence():
    with pytest.raises(MuseQuestError, match="no GPU 'H2000'.*nearest is 'H200'.*--gpu 24GiB"):
        find_gpu("H2000")


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
from musequest.errors import MuseQuestError
from musequest.finetuning.preflight import preflight
from musequest.settings import Profile
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


def test_gated_misspelt_and_absent_models_are_one_sentence_each(tmp_path):
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
    command = [sys.executable, "-c", PROGRAM, json.dumps(list(CASES))]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    server.shutdown()
    server.server_close()
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.strip().splitlines()[-1])
    for case, sentence in CASES.items():
        assert sentence in told[case] and "check the key base_model" in told[case], told[case]
        assert len(told[case].splitlines()) == 1
