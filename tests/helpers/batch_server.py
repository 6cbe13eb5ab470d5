"""The server of `openai_server` with the Batch API too: /files and /batches, whose work can wait.

A batch stays in progress until a test sets `end`; then the first `share` of its requests have been
answered and the others are in the error file.
"""

import email.parser
import email.policy
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openai_server import Handler, OpenAIServer, completion, untaken

Json = dict[str, Any]


class BatchServer(OpenAIServer):
    """Keeps files and batches by id; `submitted` are the ids of requests, batch by batch."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.RequestHandlerClass = BatchHandler
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Json] = {}
        self.end: str | None = None  # completed, expired, cancelled or failed
        self.share = 1.0
        self.refused: set[str] = set()  # words of an exhibit whose request gets a 400
        self.emptied: set[str] = set()  # words of an exhibit whose answers have no choices
        self.most: int | None = None  # requests that may be under way; a batch beyond them fails
        self.changes: Json = {}  # merged into every response
        self.unlisted = False  # whether its list of batches lags
        self.ahead_s = 0.0  # how far its clock is ahead of this machine's
        self.nameless = False  # whether it forgets what a batch was told besides its file
        self.submitted: list[list[str]] = []

    def now(self) -> int:
        """Its time, in seconds since 1970."""
        return int(time.time() + self.ahead_s)

    def keep(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def state(self, batch: Json) -> Json:
        """The batch as it is told now; its results are made once it has ended."""
        if batch["status"] == "in_progress" and self.too_many(batch):
            self.fail(batch)
        if self.end and batch["status"] == "in_progress":
            getattr(self, "fail" if self.end == "failed" else "finish")(batch)
        return batch

    def too_many(self, batch: Json) -> bool:
        """Whether a batch has more requests than may be under way."""
        return bool(self.most and batch["request_counts"]["total"] > self.most)

    def fail(self, batch: Json) -> None:
        problem = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}
        batch |= {"status": "failed", "errors": {"object": "list", "data": [problem]}}

    def finish(self, batch: Json) -> None:
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        good, bad = [], []
        for number, line in enumerate(lines):
            material = line["body"]["messages"][1]["content"]
            result = {"id": f"r{number}", "custom_id": line["custom_id"], "error": None}
            if number >= self.share * len(lines):
                gone = {"code": "batch_expired", "message": "This request was not done in time."}
                bad.append(result | {"response": None, "error": gone})
            elif names := [name for name in self.untaken if name in line["body"]]:
                told = {"error": untaken(names[0], self.untaken[names[0]])}
                bad.append(result | {"response": {"status_code": 400, "body": told}})
            elif any(word in material for word in self.refused):
                told = {"error": {"message": "The prompt was flagged."}}
                bad.append(result | {"response": {"status_code": 400, "body": told}})
            else:
                body = completion(line["body"], self.spoil) | self.changes
                if any(word in material for word in self.emptied):
                    del body["choices"]
                good.append(result | {"response": {"status_code": 200, "body": body}})
        counts = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        batch |= {"status": self.end, "request_counts": counts}
        for kind, results in (("output", good), ("error", bad)):
            text = "".join(json.dumps(each) + "\n" for each in results).encode()
            batch[f"{kind}_file_id"] = self.keep(text) if results else None


class BatchHandler(Handler):
    server: BatchServer

    def date_time_string(self, timestamp=None):
        """What the header `Date` says."""
        return super().date_time_string(self.server.now() if timestamp is None else timestamp)

    def do_POST(self):
        if self.path.endswith("/chat/completions"):
            return super().do_POST()
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.met_fault(before=True):
            return None
        answer = self.new_file(raw) if self.path.endswith("/files") else self.new_batch(raw)
        if not self.met_fault(before=False):
            self.send(200, json.dumps(answer))
        return None

    def do_GET(self):
        if self.met_fault(before=True):
            return
        parts = urlsplit(self.path).path.removeprefix("/v1/").split("/")
        if parts[0] == "files":
            content = self.server.files[parts[1]]
            short = self.met_fault(before=False)
            self.send(200, (content[: len(content) // 2] if short else content).decode())
        elif len(parts) == 1:
            known = () if self.server.unlisted else self.server.batches.values()
            newest = sorted(known, key=lambda b: -b["created_at"])
            asked = parse_qs(urlsplit(self.path).query)
            names = [batch["id"] for batch in newest]
            first = names.index(asked["after"][0]) + 1 if "after" in asked else 0
            last = first + int(asked["limit"][0])
            listed = {"object": "list", "data": newest[first:last], "has_more": last < len(names)}
            self.send(200, json.dumps(listed))
        elif parts[1] in self.server.batches:
            self.send(200, json.dumps(self.server.state(self.server.batches[parts[1]])))
        else:
            self.error(404, "No such batch.")

    def met_fault(self, before: bool) -> bool:
        """Meet the next fault; one called `after:NAME:FAULT` waits for a call of that name to have
        had its effect, any other comes at once."""
        fault = self.server.faults[0] if self.server.faults else None
        if not isinstance(fault, str) or fault.startswith("after:") == before:
            return False
        _, name, what = fault.split(":") if not before else ("", "", fault)
        if name not in self.path:
            return False
        self.server.faults.popleft()
        if what != "short":
            getattr(self, f"fault_{what}")({"model": "gpt-4o-mini"})
        return True

    def new_file(self, raw: bytes) -> Json:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
        parts = {part.get_param("name", header="content-disposition"): part
                 for part in form.iter_parts()}  # fmt: skip
        assert parts["purpose"].get_content().strip() == "batch"
        name = self.server.keep(parts["file"].get_payload(decode=True))
        return {
            "id": name, "object": "file", "bytes": len(raw), "created_at": self.server.now(),
            "filename": "requests.jsonl", "purpose": "batch", "status": "processed",
        }  # fmt: skip

    def new_batch(self, raw: bytes) -> Json:
        asked = json.loads(raw)
        assert asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h"
        lines = self.server.files[asked["input_file_id"]].splitlines()
        self.server.submitted.append([json.loads(line)["custom_id"] for line in lines])
        name = f"batch_{len(self.server.batches)}"
        batch = {"id": name, "object": "batch", "status": "in_progress", "errors": None,
                 "created_at": self.server.now(), "output_file_id": None, "error_file_id": None,
                 "request_counts": {"total": len(lines), "completed": 0, "failed": 0}}  # fmt: skip
        if self.server.nameless:
            del asked["metadata"]
        self.server.batches[name] = asked | batch
        return self.server.batches[name]
