"""A headless Chromium that tests drive as a reader would: keys, choices, a phone's width.

It is spoken to in the DevTools protocol over two pipes, so that the page keeps its own policy and
nothing but the browser is needed.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

expect.set_options(timeout=20_000)  # milliseconds: a loaded machine is slow, and no page is wrong
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ABOUT_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
# The browser reads what it is told from file 3 and answers on file 4.
START = """import fcntl, os, sys
heard, said = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(heard, 3), os.dup2(said, 4)
os.execv(sys.argv[3], sys.argv[3:])"""


class Browser:
    """One page of a browser."""

    def __init__(self, told: int, heard: int) -> None:
        self.told, self.heard = os.fdopen(told, "wb"), os.fdopen(heard, "rb")
        self.count, self.session, self.unread = 0, "", b""

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": given}
        message |= {"sessionId": self.session} if self.session else {}
        self.told.write(json.dumps(message).encode() + b"\0")
        self.told.flush()
        while (answer := self._next()).get("id") != self.count:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path, width: int = 1200, height: int = 800, fragment: str = "") -> None:
        """Show a page in a window of so many pixels, a phone's below 700, and wait for it.

        `fragment` is the id that a link to the page leads to. Nothing moves gradually.
        """
        self.session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[still])
        self.call("Page.enable")
        self.call("Page.navigate", url=page.as_uri() + (f"#{fragment}" if fragment else ""))
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page, or what its promise brings."""
        given = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        told = self.call("Runtime.evaluate", **given)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys one after the other, as a keyboard does."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def choose(self, name: str, value: str) -> None:
        """Choose from a list, or fill a field, by its id."""
        at = f"document.getElementById({name!r})"
        self.ask(
            f"{at}.value = {value!r}; {at}.dispatchEvent(new Event('input', {{bubbles: true}}))"
        )

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.unread:
            piece = self.heard.read1(1 << 16)
            assert piece, "the browser has ended"
            self.unread += piece
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)


def assert_accessible(page: Any) -> None:
    """No rule of axe is broken: of all in light colours, in dark ones of those about colours.

    `page` is one of Playwright's, for which axe is made.
    """
    few = {"resultTypes": ["violations"]}
    for scheme, rules in (("light", few), ("dark", few | {"runOnly": ABOUT_COLOURS})):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=rules)
        assert found.violations_count == 0, found.generate_report()
        assert found.response["passes"], "no rule was looked at"


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser whose own files lie in `folder`, closed with the block."""
    theirs, told = os.pipe()
    heard, said = os.pipe()
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={folder / 'browser'}"]
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs), str(said), *command],
            pass_fds=(theirs, said),
            stdout=log,
            stderr=log,
        )
    os.close(theirs)
    os.close(said)
    reader = Browser(told, heard)
    try:
        yield reader
    finally:
        process.terminate()
        process.wait()
        reader.heard.close()
        with suppress(BrokenPipeError):
            reader.told.close()
