"""Keys go by safe ways alone, and are not told again, whoever repeats them."""

import json
import logging
import stat
from pathlib import Path

import pytest
from hosted import run, write_exhibits
from openai_server import OpenAIServer

from musequest.core.errors import LOGGER, MuseQuestError, hidden, hidden_text, unsafe_way
from musequest.creation.hosted import HostedWriter
from musequest.creation.hosted.ledger import Ledger
from musequest.creation.hosted.server import key_of
from musequest.creation.museums.smithsonian import Smithsonian

KEY = "sk-ab$cd/very+secret"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MUSEQUEST_PLAIN_HTTP", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", "hf_")  # too short to be one
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("SORT_KEY", "collection")


def test_a_key_is_hidden_wherever_it_stands():
    value = {"a": [f"it is {KEY}!", 7, None], KEY: "sk-ab%24cd%2Fvery%2Bsecret"}
    shown = {"a": ["it is [OPENAI_API_KEY]!", 7, None], "[OPENAI_API_KEY]": "[OPENAI_API_KEY]"}
    assert hidden(value) == shown
    assert hidden("hf_ 0123456789abcdef collection") == "hf_ [SOME_SERVICE_TOKEN] collection"
    assert hidden_text("at http://me:pass@example.org/") == "at http://...@example.org/"


def test_no_error_and_no_line_of_the_log_holds_a_key(caplog: pytest.LogCaptureFixture):
    assert str(MuseQuestError(f"It refused {KEY}.")) == "It refused [OPENAI_API_KEY]."
    LOGGER.warning("Left out: %s, %d times", MuseQuestError(KEY), 3)
    LOGGER.warning(f"100 % of {KEY}")
    assert caplog.messages == [
        "Left out: [OPENAI_API_KEY], 3 times", "100 % of [OPENAI_API_KEY]"
    ]  # fmt: skip


def test_what_a_server_repeats_reaches_neither_ledger_nor_screen(
    home: Path, capsys, caplog: pytest.LogCaptureFixture
):
    write_exhibits(home, 1)
    content = json.dumps({"pairs": [{"question": "?", "answer": f"It is {KEY}."}]})
    echo = {"id": KEY, "choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    with OpenAIServer() as server, caplog.at_level(logging.DEBUG, logger="musequest"):
        server.faults.extend([echo, "echo_500"])
        run(server.url)
        server.faults.append("echo_401")
        write_exhibits(home, 2)
        with pytest.raises(MuseQuestError, match=r"refused the key .*\[OPENAI_API_KEY\]"):
            run(server.url)
    path, told = home / "data/t/ledger.jsonl", capsys.readouterr()
    everything = path.read_text() + told.out + told.err + caplog.text
    assert "[OPENAI_API_KEY]" in path.read_text() and "sk-ab" not in everything
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_ledger_of_before_is_closed_to_all_but_its_owner_and_group(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    path.touch(0o664)
    path.chmod(0o664)
    Ledger(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.parametrize(
    "url", ["https://example.org/v1", "http://127.0.0.1:8/v1", "http://localhost/", "http://[::1]/"]
)
def test_a_key_may_go_encrypted_or_stay_here(url: str):
    assert unsafe_way("OPENAI_API_KEY", url) is None and key_of(url, "It", "stop") == KEY


@pytest.mark.parametrize("host", ["93.184.215.14", "10.0.0.7:8000", "no-such-host.invalid"])
def test_a_key_does_not_leave_this_machine_for_all_to_read(host: str, monkeypatch, tmp_path: Path):
    url = f"http://{host}/v1"
    with pytest.raises(MuseQuestError, match=rf"OPENAI_API_KEY would travel to {url} .*https://"):
        HostedWriter(base_url=url)
    monkeypatch.setenv("SMITHSONIAN_API_KEY", KEY)
    with pytest.raises(MuseQuestError, match="SMITHSONIAN_API_KEY would travel to"):
        Smithsonian(None, url)
    monkeypatch.setenv("MUSEQUEST_PLAIN_HTTP", "1")
    assert HostedWriter(base_url=url).server.key == KEY
    monkeypatch.delenv("MUSEQUEST_PLAIN_HTTP")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert HostedWriter(base_url=url).server.key == "none"
