"""How soon a served docent speaks, how many it can talk to, and whether its memory stays flat.

    python benchmarks/serving.py             some minutes; wants a finished LoRA run of `pocket`
    python benchmarks/serving.py --record    and keep it in benchmarks/records/serving.json
    python benchmarks/serving.py --gradio PYTHON    the page alone, beside one by Gradio

`musequest serve` is started as in a shell. Visitors ask it over HTTP, each from an address of its
own, as a proxy would tell: one after the other, then many at once, then hundreds, about the photos
of the test split. The page is opened in Chromium, if one is there. Let nothing else run.

PYTHON is one that has gradio installed, in an environment of its own. With --record both pages are
kept in benchmarks/records/pages.json.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import psutil
from measurement import Measurement

from musequest.core.errors import MuseQuestError
from musequest.core.settings import load_profile
from musequest.creation.split import given, load_split

WARM_UP = 3
PAGES = 5  # openings of a page, of which the median time counts
LATE = 3000  # milliseconds after a page has loaded, in which what it still asks for counts
# What Gradio makes of a chat about photos, with nothing behind it.
GRADIO = """
import gradio
print("gradio", gradio.__version__)
gradio.ChatInterface(lambda asked, before: "", multimodal=True, title="Ask the docent").launch()
"""
MIB = 2**20
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ADDRESS = r"http://[\w.:]+"
ADDRESSES = (
    f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in itertools.count()
)


@contextmanager
def serving(profile: str, approach: str) -> Iterator[tuple[str, psutil.Process, float]]:
    """A server's address, its process, and the seconds until it answered."""
    command = [sys.executable, "-m", "musequest", "serve", "--port", "0"]
    start = time.perf_counter()
    with started([*command, "--profile", profile, "--approach", approach]) as (server, said):
        address = re.findall(ADDRESS, said)[-1]
        httpx.get(address, timeout=600, trust_env=False).raise_for_status()
        yield address, psutil.Process(server.pid), time.perf_counter() - start


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and what it said up to the address at which it listens."""
    own = os.environ | {"PYTHONUNBUFFERED": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own) as server:
        try:
            said = ""
            while not re.search(ADDRESS, said):
                line = server.stdout.readline() if server.stdout else ""
                if not line:
                    raise MuseQuestError("The server has not started; see what it said above.")
                said += line
            yield server, said
        finally:
            server.send_signal(signal.SIGINT)


def questions_of(profile: str) -> list[dict[str, Any]]:
    """The test questions as bodies of requests."""
    settings = load_profile(profile)
    bodies = []
    for row in load_split(settings.collection, settings.evaluation_split):
        row["image"].save(file := io.BytesIO(), "JPEG", quality=90)
        url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": given(row)["question"]},
        ]
        bodies.append({"stream": True, "messages": [{"role": "user", "content": content}]})
    return bodies


def ask(address: str, body: dict[str, Any]) -> tuple[float, float]:
    """Seconds to the first words and to the whole answer."""
    start = time.perf_counter()
    headers = {"X-Forwarded-For": next(ADDRESSES)}
    with httpx.stream(
        "POST", f"{address}/v1/chat/completions", json=body, headers=headers, timeout=600,
        trust_env=False,
    ) as answer:  # fmt: skip
        answer.raise_for_status()
        lines = list(told(answer, start))
    first = next(seconds for seconds, words in lines if words)
    return first, lines[-1][0]


def told(answer: httpx.Response, start: float) -> Iterator[tuple[float, str]]:
    """When each chunk came, and its words."""
    for line in answer.iter_lines():
        if line.startswith("data: {"):
            chunk = json.loads(line.removeprefix("data: "))
            if "error" in chunk:
                raise MuseQuestError(chunk["error"]["message"])
            deltas = [choice["delta"].get("content") or "" for choice in chunk["choices"]]
            yield time.perf_counter() - start, "".join(deltas)


def page_load(address: str) -> dict[str, Any]:
    """What opening the page takes a browser with an empty cache."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        browser.new_page().goto("about:blank")
        page, asked, size = browser.new_context().new_page(), [], []
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.on("Network.loadingFinished", lambda event: size.append(event["encodedDataLength"]))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        page.wait_for_timeout(LATE)
        weight = sum(size)
        broken = Axe().run(page).violations_count
        browser.close()
    return {
        "load_seconds": round(loaded / 1000, 3),
        "kilobytes": round(weight / 1000, 1),
        "requests": len(asked),
        "requests_elsewhere": sum(not url.startswith(address) for url in asked),
        "accessibility_rules_broken": broken,
    }


def pages(chosen: argparse.Namespace) -> dict[str, Any]:
    """The docent's page and one by Gradio, each opened PAGES times."""
    if CHROMIUM is None:
        raise MuseQuestError("Pages are compared in Chromium, and there is none; install it.")
    with serving(chosen.profile, chosen.approach) as (address, _, _):
        found = {"this project's": [page_load(address) for _ in range(PAGES)]}
    with started([chosen.gradio, "-c", GRADIO]) as (_, said):
        (address,) = re.findall(ADDRESS, said)
        found[f"Gradio {said.split()[1]}'s"] = [page_load(address) for _ in range(PAGES)]
    middle = {
        name: sorted(loads, key=lambda each: each["load_seconds"])[PAGES // 2]
        for name, loads in found.items()
    }
    return {"opened": PAGES, "pages": middle}


def spread(seconds: list[float]) -> dict[str, float]:
    """The median and the 95th percentile."""
    middle, high = np.percentile(seconds, [50, 95])
    return {"median": round(float(middle), 3), "p95": round(float(high), 3)}


def measured(chosen: argparse.Namespace) -> dict[str, Any]:
    """The figures of one server."""
    bodies = itertools.cycle(questions_of(chosen.profile))
    with serving(chosen.profile, chosen.approach) as (address, process, started):
        for _ in range(WARM_UP):
            ask(address, next(bodies))
        alone = [ask(address, next(bodies)) for _ in range(chosen.alone)]
        start = time.perf_counter()
        with ThreadPoolExecutor(chosen.visitors) as visitors:
            crowd = [next(bodies) for _ in range(chosen.visitors)]
            together = list(visitors.map(lambda body: ask(address, body), crowd))
            seconds = time.perf_counter() - start
            before = process.memory_info().rss / MIB
            many = (next(bodies) for _ in range(chosen.requests))
            answered = list(visitors.map(lambda body: ask(address, body), many))
        after = process.memory_info().rss / MIB
        page = page_load(address) if CHROMIUM else None
    return {
        "profile": chosen.profile,
        "approach": chosen.approach,
        "start_seconds": round(started, 1),
        "first_words_alone_seconds": spread([first for first, _ in alone]),
        "whole_answer_alone_seconds": spread([whole for _, whole in alone]),
        "questions_alone": len(alone),
        "visitors_at_once": chosen.visitors,
        "visitors_answered": len(together),
        "seconds_until_all_are_answered": round(seconds, 2),
        "first_words_of_many_seconds": spread([first for first, _ in together]),
        "requests": len(answered),
        "memory_mib_before_requests": round(before),
        "memory_mib_after_requests": round(after),
        "page": page,
    }


def main() -> None:
    """Measure, print, and keep the record."""
    measurement = Measurement(__doc__, "serving")
    parser = measurement.parser
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--approach", default="lora")
    parser.add_argument("--alone", type=int, default=60, help="questions one after the other")
    parser.add_argument("--visitors", type=int, default=20, help="at once")
    parser.add_argument("--requests", type=int, default=500, help="over which memory is watched")
    parser.add_argument("--gradio", metavar="PYTHON", help="compare the page alone with Gradio's")
    chosen = parser.parse_args()
    if chosen.gradio:
        measurement.path = measurement.path.with_name("pages.json")
    measurement.tell((pages if chosen.gradio else measured)(chosen), chosen.record)


if __name__ == "__main__":
    main()
