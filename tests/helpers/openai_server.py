"""A server on loopback that speaks as an OpenAI-compatible API, with faults and a record.

In a test it runs in threads of its own (`OpenAIServer`); by itself, `python openai_server.py
--latency-s 2` prints its address and serves until its input ends. The same request always has the
same answer: pairs made of the exhibit's own words, or to a question about a photo a sentence.
"""

import argparse
import hashlib
import itertools
import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

QUESTIONS = ["What is it?", "What am I looking at?", "Who made this?", "What does it tell us?",
             "Why is it here?"]  # fmt: skip

TIMES = itertools.count(1)  # that something was written without a temperature


@dataclass
class Traffic:
    """What a server was asked, in order; `answered` are those whose answer left whole."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)  # monotonic seconds of arrival
    most_at_once: int = 0

    @property
    def asked_twice(self) -> set[str]:
        """Requests that came more than once."""
        return {key for key, times in Counter(self.keys).items() if times > 1}


class OpenAIServer(ThreadingHTTPServer):
    """Serves `/v1/chat/completions`; `faults` are used up, one a request.

    A fault is the name of a method `fault_...` of `Handler`, or a dict that is merged into the
    answer's body. `spoil` maps a word of an exhibit's text to what its answers become, always; that
    may be a function of what they were.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int = 0, latency_s: float = 0.0, schema: bool = True, room: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.latency_s, self.schema, self.room = latency_s, schema, room
        self.faults: deque[str | dict[str, Any]] = deque()
        self.spoil: dict[str, Any] = {}
        self.wrap: Callable[[Any], Any] | None = None  # what becomes of the content of all answers
        self.untaken: dict[str, str | None] = {}  # parameters refused, with what to use instead
        self.headers: dict[str, str] = {}
        self.traffic, self.lock, self.at_once = Traffic(), threading.Lock(), 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that was killed is no error of the server."""


class Handler(BaseHTTPRequestHandler):
    server: OpenAIServer
    protocol_version = "HTTP/1.1"
    working = 0  # requests in work, 1 or none

    def log_message(self, *arguments):
        """Stay quiet."""

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        server, body, key = self.server, json.loads(raw), hashlib.sha256(raw).hexdigest()
        with server.lock:
            server.traffic.bodies.append(body)
            server.traffic.keys.append(key)
            server.traffic.moments.append(time.monotonic())
            server.at_once, self.working = server.at_once + 1, 1
            server.traffic.most_at_once = max(server.traffic.most_at_once, server.at_once)
            crowded = server.room and server.at_once > server.room
            fault = "crowded" if crowded else server.faults.popleft() if server.faults else None
        try:
            if isinstance(fault, str):
                getattr(self, f"fault_{fault}")(body)
            else:
                self.answer(body, fault or {}, key)
        finally:
            self.make_room()

    def make_room(self):
        """The work on this request is over, before its answer can be heard and followed by more."""
        with self.server.lock:
            self.server.at_once -= self.working
            self.working = 0

    def answer(self, body: dict[str, Any], changes: dict[str, Any], key: str):
        if not self.server.schema and "response_format" in body:
            told = {"error": {"message": "response_format of this type is not supported"}}
            return self.send(400, json.dumps(told))
        for name, instead in self.server.untaken.items():
            if name in body:
                return self.send(400, json.dumps({"error": untaken(name, instead)}))
        time.sleep(self.server.latency_s)
        self.make_room()
        answer = completion(body, self.server.spoil) | changes
        if self.server.wrap:
            message = answer["choices"][0]["message"]
            message["content"] = self.server.wrap(message["content"])
        self.send(200, json.dumps(answer))
        with self.server.lock:
            self.server.traffic.answered.append(key)

    def send(self, status: int, text: str, kind: str = "application/json", **headers: str):
        with self.server.lock:
            self.server.traffic.statuses.append(status)
        data = text.encode()
        self.send_response(status)
        for name, value in (self.server.headers | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def error(self, status: int, message: str, code: str | None = None, **headers: str):
        self.send(status, json.dumps({"error": {"message": message, "code": code}}), **headers)

    def fault_crowded(self, body):
        self.error(429, "Too many at once.", "rate_limit_exceeded", retry_after_ms="200")

    def fault_limited(self, body):
        self.error(429, "Rate limit reached.", "rate_limit_exceeded", retry_after="0.3")

    def fault_limited_silently(self, body):
        self.error(429, "Rate limit reached.")

    def fault_no_credit(self, body):
        self.error(429, "You exceeded your current quota.", "insufficient_quota")

    def fault_key(self, body):
        self.error(401, "Incorrect API key provided.", "invalid_api_key")

    def fault_echo_401(self, body):
        self.error(401, f"What is {self.headers['Authorization']}?", "invalid_api_key")

    def fault_echo_500(self, body):
        self.error(500, f"The server choked on {self.headers['Authorization']}.")

    def fault_model(self, body):
        self.error(404, f"The model {body['model']} does not exist.", "model_not_found")

    def fault_firewall(self, body):
        self.send(403, "<html><body>Forbidden</body></html>", "text/html")

    def fault_redirect(self, body):
        self.send(307, "", Location=f"{self.server.url}/chat/completions")

    def fault_page(self, body):
        self.send(200, "<html>Sign in</html>", "text/html")

    def fault_refused(self, body):
        self.error(400, "The prompt was flagged.", "content_policy_violation")

    def fault_500(self, body):
        self.error(500, "The server had an error.")

    def fault_html_503(self, body):
        self.send(503, "<html>busy</html>", "text/html")

    def fault_gateway(self, body):
        self.send(502, "<html>Bad gateway</html>", "text/html")

    def fault_524(self, body):
        self.send(524, "")

    def fault_408(self, body):
        self.error(408, "Request timeout.")

    def fault_invalid_model(self, body):
        told = {"message": f"Invalid model: {body['model']}", "type": "invalid_model"}
        self.send(400, json.dumps(told))

    def fault_no_model_id(self, body):
        told = {"message": f"{body['model']} is not a valid model ID", "code": 400}
        self.send(400, json.dumps({"error": told}))

    def fault_drip(self, body):
        """A byte now and then, for ever."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b" ")
                time.sleep(0.1)
        except OSError:
            self.close_connection = True

    def fault_truncated(self, body):
        text = json.dumps(completion(body, {}))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text[: len(text) // 2].encode())
        self.close_connection = True

    def fault_cut_json(self, body):
        self.send(200, json.dumps(completion(body, {}))[:100])

    def fault_reset(self, body):
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def fault_hang(self, body):
        time.sleep(1.5)
        self.close_connection = True


def completion(body: dict[str, Any], spoil: dict[str, Any]) -> dict[str, Any]:
    """An answer as the API gives it, in the form that was asked for."""
    system, asked = (message["content"] for message in body["messages"][:2])
    content = photo_answer(asked) if isinstance(asked, list) else dialogs(body, asked, spoil)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    usage = {"prompt_tokens": len(system) // 4, "completion_tokens": len(content) // 4}
    return {
        "id": f"chatcmpl-{digest[:12]}",
        "object": "chat.completion",
        "created": 1_700_000_000 + int(digest[:4], 16),
        "model": f"{body['model']}-2024-08-06",
        "choices": [choice(content)],
        "usage": usage,
    }


def untaken(name: str, instead: str | None) -> dict[str, Any]:
    """How OpenAI's API refuses a parameter."""
    if instead:
        message = (
            f"Unsupported parameter: '{name}' is not supported with this model. "
            f"Use '{instead}' instead."
        )
        return {"message": message, "param": name, "code": "unsupported_parameter"}
    message = (
        f"Unsupported value: '{name}' does not support 0.4 with this model. Only the "
        "default (1) value is supported."
    )
    return {"message": message, "param": name, "code": "unsupported_value"}


def dialogs(body: dict[str, Any], asked: str, spoil: dict[str, Any]) -> str:
    """Pairs about the exhibit whose texts were sent."""
    material = json.loads(asked)
    n = int(re.search(r"Write (\d+) question", body["messages"][0]["content"])[1])
    pairs = pairs_of(material, body.get("temperature"), n)
    changed = next((change for word, change in spoil.items() if word in material["title"]), {})
    pairs = [
        pair | {key: new(pair[key]) if callable(new) else new for key, new in changed.items()}
        for pair in pairs
    ]
    return json.dumps({"pairs": pairs}) if "response_format" in body else marked(pairs)


def photo_answer(parts: list[dict[str, Any]]) -> str:
    """A sentence that differs with photo and question."""
    photo = hashlib.sha256(parts[0]["image_url"]["url"].encode()).hexdigest()[:8]
    return f"To '{parts[1]['text']}' I say: this photo is number {photo}."


def choice(content: str | None, finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    """One choice of an answer."""
    message = {"role": "assistant", "content": content, **more}
    return {"index": 0, "message": message, "finish_reason": finish_reason}


def pairs_of(material: dict[str, Any], temperature: float | None, n: int) -> list[dict[str, str]]:
    """Pairs whose answers differ and state only what the description does.

    Without a temperature they are other ones each time.
    """
    words = " ".join(material["description"].split()[:40])
    how = {0.4: "surely", 0.7: "well", 0.9: "gladly"}.get(temperature) or "so " * next(TIMES)
    ends = ["at dawn", "at noon", "by dusk", "at night", "by day"]
    return [
        {
            "question": QUESTIONS[index],
            "answer": f"This is {material['title']}. {words} We say so {how}, {ends[index]}, for "
            "every visitor who comes by and would like to know a little more about it, or all.",
        }
        for index in range(n)
    ]


def marked(pairs: list[dict[str, str]]) -> str:
    return "\n\n".join(
        f"[Visitor]: {pair['question']}\n[Guide]: {pair['answer']}" for pair in pairs
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--room", type=int, default=0, help="more at once are answered with 429")
    chosen = parser.parse_args()
    with OpenAIServer(latency_s=chosen.latency_s, room=chosen.room) as server:
        print(server.url, flush=True)
        sys.stdin.read()
        traffic = server.traffic
        told = {
            "requests": len(traffic.keys),
            "answered": len(traffic.answered),
            "asked_twice": len(traffic.asked_twice),
            "most_at_once": traffic.most_at_once,
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
