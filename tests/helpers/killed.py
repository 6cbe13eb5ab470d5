"""Runs that are killed: what they had paid for and accepted is held against what comes later."""

import json
import signal
import subprocess
import time
from pathlib import Path

from openai_server import OpenAIServer

from musequest.core.tables import read_table
from musequest.creation.hosted.requests import JSON, MARKED, Request


class Custody:
    """Keeps what a collection held after each of its runs, and counts what went wrong since."""

    def __init__(self, server: OpenAIServer, folder: Path):
        self.server, self.folder = server, folder
        self.paid: dict[str, str] = {}  # request -> its response
        self.pairs: dict[str, str] = {}  # dialog_id -> question and answer
        self.begun = self.asked = len(server.traffic.bodies)
        self.most_in_flight = self.in_flight = 0  # of one run at its kill, and of all
        self.lost = self.lost_pairs = self.asked_again = 0

    def take(self) -> None:
        """After a run: nothing held before may be gone or changed, or have been asked again."""
        paid, pairs = paid_in(self.folder / "ledger.jsonl"), pairs_in(self.folder)
        asked = [key_of(body) for body in self.server.traffic.bodies[self.asked :]]
        self.lost += len(self.paid.items() - paid.items())
        self.lost_pairs += len(self.pairs.items() - pairs.items())
        self.asked_again += len([key for key in asked if key in self.paid])
        in_flight = len(asked) - (len(paid) - len(self.paid))
        self.in_flight += in_flight
        self.most_in_flight = max(self.most_in_flight, in_flight)
        self.paid, self.pairs, self.asked = paid, pairs, self.asked + len(asked)


def key_of(body: dict) -> str:
    """The key by which the ledger knows a request."""
    form = JSON if "response_format" in body else MARKED
    return Request(body["model"], body["temperature"], form, body["messages"]).key


def paid_in(ledger: Path) -> dict[str, str]:
    """The responses of a ledger by request, as text; a line cut short is none."""
    found: dict[str, str] = {}
    for line in ledger.read_bytes().splitlines() if ledger.is_file() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["event"] == "paid":
            assert event["key"] not in found, "a request was paid twice"
            found[event["key"]] = json.dumps(event["response"], sort_keys=True)
    return found


def pairs_in(folder: Path) -> dict[str, str]:
    """The pairs that a run has accepted, by dialog_id."""
    path = folder / "dialogs.parquet"
    if not path.is_file():
        return {}
    table = read_table("dialogs", path)
    return dict(zip(table["dialog_id"], table["question"] + "\n" + table["answer"], strict=True))


def kill(process: subprocess.Popen, server: OpenAIServer) -> None:
    """Kill a run, and let the answers under way go nowhere: those not yet read come in first."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
    seen, still_since = -1, time.monotonic()
    deadline = still_since + 10
    while (now := time.monotonic()) < deadline and now < still_since + 0.1:
        if server.at_once or len(server.traffic.bodies) != seen:
            seen, still_since = len(server.traffic.bodies), now
        time.sleep(0.01)
