"""Systems behind an OpenAI-compatible server, each photo sent along and each answer paid once.

They share the ledger of the collection with the hosted writer of stage 1, and with it the limit in
USD, the repeats and the resuming: profiles of one collection ask the same questions about the same
photos, so what was paid under one is free under the other.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from PIL import Image
from tqdm import tqdm

from ..creation.dataset import fingerprint
from ..creation.dialogs import WriterStopped, sha256_of
from ..creation.hosted.ledger import Ledger
from ..creation.hosted.replies import spoken
from ..creation.hosted.requests import Request, count_tokens, estimate, price_of
from ..creation.hosted.server import ServerConfig, address_of, key_of
from ..creation.hosted.session import Session
from ..errors import BAD_SHARE_LIMIT, MuseQuestError
from ..finetuning.generation import given
from ..home import collection_dir
from ..settings import Profile
from .system import Rows, System

ANSWER = "answer"  # the form by which the ledger tells these requests from a writer's
PHOTO_EDGE = 768  # px; OpenAI scales a photo's shorter edge down to this
PHOTO_BYTES = 400_000  # of its JPEG
QUALITIES = (85, 70, 50, 30, 10)
TASK = (
    "You are a docent in a museum. A visitor shows you the photo of an exhibit and asks about it. "
    "Answer in one paragraph of plain text."
)


@dataclass(frozen=True)
class PhotoRequest(Request):
    """A question about a photo, to one server: who else answers to a model's name is not known."""

    base_url: str
    photo_sha256: str  # of its pixels: another release of Pillow may write another JPEG of them

    max_tokens: ClassVar[int] = 1000
    usual_tokens: ClassVar[int] = 200
    # At 768 px a photo has at most four tiles of 512 px: 85 + 4 x 170 in the family of GPT-4o
    # (OpenAI's guide to images and vision).
    photo_tokens: ClassVar[int] = 765
    command: ClassVar[str] = "infer"
    source: ClassVar[str] = "its photo or question"

    @property
    def key(self) -> str:
        """The SHA-256 of all but the JPEG, for which its pixels and its greatest edge stand."""
        known = vars(self) | {"messages": self.sent, "photo_edge": PHOTO_EDGE}
        return sha256_of(json.dumps(known, ensure_ascii=False, sort_keys=True))

    @property
    def sent(self) -> str:
        """The text of the prompt; the photo counts by its tokens, not by its bytes."""
        return " ".join([self.messages[0]["content"], self.messages[1]["content"][1]["text"]])


class HostedDocent(System):
    """A model asked over the network; `base_url` and key come from the environment if not given."""

    local = False
    model: ClassVar[str]

    def __init__(
        self,
        profile: Profile,
        *,
        base_url: str | None = None,
        max_cost_usd: float = 1.0,
        concurrency: int = 16,
        timeout_s: float = 120.0,
        backoff_s: float = 1.0,
    ) -> None:
        super().__init__(profile)
        self.base_url, self.max_cost_usd, self.concurrency = base_url, max_cost_usd, concurrency
        self.timeout_s, self.backoff_s = timeout_s, backoff_s
        self._cost: dict[str, float] = {}

    def asked(self, split: str) -> dict[str, Any]:
        """Model, task and photo size; which server answers is not told apart."""
        return {
            "profile": self.profile.name,
            "system": self.name,
            "dataset_fingerprint": fingerprint(self.profile.collection),
            "split": split,
            "model": self.model,
            "task": TASK,
            "photo_edge": PHOTO_EDGE,
            "max_tokens": PhotoRequest.max_tokens,
        }

    def answer(self, rows: Rows, *, progress: bool = True) -> list[dict[str, Any]]:
        """Answers to all rows but those that the server refused, which may be 10 % at most.

        Raises MuseQuestError without a key, or where the limit is reached, the server is out of
        reach, or another model answers; what was paid stays in the ledger for the next time.
        """
        server = self._server()
        found: dict[int, dict[str, Any]] = {}
        with self._session(server, rows) as session:
            bar = tqdm(total=len(rows), desc=f"asking {self.model}", disable=not progress)
            with bar, self._asking(session, rows) as asked:
                for job in as_completed(asked):
                    try:
                        found[asked[job]] = job.result()
                    except WriterStopped:
                        raise
                    except MuseQuestError as error:
                        self.problems.append(f"{rows[asked[job]]['data_id']}: {error}")
                    bar.set_postfix_str(session.state(), refresh=False)
                    bar.update()
        self._check_share(len(rows) - len(found), len(rows))
        self._cost = {"usd": round(sum(each["cost_usd"] for each in found.values()), 6)}
        return [self._prediction(rows[index], found[index]) for index in sorted(found)]

    def cost(self) -> dict[str, float]:
        """What all answers cost together, whenever they were paid."""
        return self._cost

    def _server(self) -> ServerConfig:
        address = address_of(self.base_url)
        return ServerConfig(
            key=key_of(address, f"The model {self.model}", "go on without it"),
            base_url=address,
            price=price_of(self.model),
            max_cost_usd=self.max_cost_usd,
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            backoff_s=self.backoff_s,
        )

    @contextmanager
    def _session(self, server: ServerConfig, rows: Rows) -> Iterator[Session]:
        """Ledger and connection; what it will cost is told before the first call."""
        ledger = Ledger(collection_dir(self.profile.collection) / "ledger.jsonl")
        try:
            requests = (self._request(row) for row in rows)
            missing = (request for request in requests if not ledger.find(request.key))
            past = (response for response in ledger.responses() if response["form"] == ANSWER)
            planned = estimate(missing, self.model, server.price, past)
            tqdm.write(f"{planned}\n{server.room(planned, ledger)}", file=sys.stderr)
            session = Session(server, ledger, planned)
            try:
                yield session
            finally:
                session.close()
        finally:
            ledger.close()

    @contextmanager
    def _asking(self, session: Session, rows: Rows) -> Iterator[dict[Any, int]]:
        """A job a row; when the block ends early, what is under way is kept and no more is sent."""
        pool = ThreadPoolExecutor(self.concurrency)
        finished = False
        try:
            yield {pool.submit(self._ask, session, rows, i): i for i in range(len(rows))}
            finished = True
        finally:
            if not finished:
                session.stop()
            pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self, session: Session, rows: Rows, index: int) -> dict[str, Any]:
        asked = self._request(rows[index])
        known = session.ledger.find(asked.key)
        response = known or session.ask(asked)
        served = response["served_model"]
        if not is_of(self.model, served):
            raise WriterStopped(
                f"{session.server.base_url} answers as the model '{served}', where a dated "
                f"'{self.model}' was expected; nothing may stand in for it, so check --base-url "
                "and OPENAI_BASE_URL."
            )
        if not known:
            session.judge(asked.key, response, "" if said(response) else "the reply was empty")
        return response

    def _request(self, row: Mapping[str, Any]) -> PhotoRequest:
        url = f"data:image/jpeg;base64,{base64.b64encode(bounded_jpeg(row['image'])).decode()}"
        content = [
            {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
            {"type": "text", "text": given(row)["question"]},
        ]
        messages = [{"role": "system", "content": TASK}, {"role": "user", "content": content}]
        address, pixels = address_of(self.base_url), pixels_sha256(row["image"])
        return PhotoRequest(self.model, 0.0, ANSWER, messages, address, pixels)

    def _prediction(self, row: Mapping[str, Any], response: dict[str, Any]) -> dict[str, Any]:
        """A refusal is an answer too; one that is empty or cut off is told."""
        answer = said(response)
        ended = response["finish_reason"] != "length"
        if not (answer and ended):
            flaw = "is empty" if not answer else "does not end"
            self.problems.append(
                f"the answer to {row['data_id']} {flaw} ({response['finish_reason']})"
            )
        counted = response["completion_tokens"] or count_tokens(answer, self.model)
        return {
            **given(row),
            "answer": answer.encode("utf-8", "replace").decode(),
            "new_tokens": counted,
            "seconds": response["seconds"],
            "ended": ended,
            "cost_usd": response["cost_usd"],
        }

    def _check_share(self, unanswered: int, total: int) -> None:
        if unanswered > BAD_SHARE_LIMIT * total:
            raise MuseQuestError(
                f"{self.model} left {unanswered} of {total} questions unanswered, which is too "
                f"many (the limit is 10 %); run infer again. The first: {self.problems[0]}"
            )


def said(response: Mapping[str, Any]) -> str:
    """What a model answered, without its reasoning; a refusal is an answer too."""
    return spoken(response["content"]).strip() or str(response["refusal"] or "").strip()


def is_of(model: str, served: str) -> bool:
    """Whether a server's name for what answered is a version of `model`: gpt-4o-2024-08-06.

    OpenAI and gateways to it give the version's date; a server that repeats whatever model it was
    asked for gives none, and may be anything.
    """
    return re.fullmatch(rf"(.*/)?{re.escape(model)}-\d{{4}}-\d{{2}}-\d{{2}}", served) is not None


def pixels_sha256(photo: Image.Image) -> str:
    """The SHA-256 of a photo's size and RGB pixels."""
    head = f"{photo.width} x {photo.height}\n".encode()
    return hashlib.sha256(head + photo.convert("RGB").tobytes()).hexdigest()


def bounded_jpeg(photo: Image.Image) -> bytes:
    """A photo as JPEG of at most 768 px and 400 kB; the same photo gives the same bytes."""
    small = photo.convert("RGB")
    small.thumbnail((PHOTO_EDGE, PHOTO_EDGE))
    data = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality)
        data = buffer.getvalue()
        if len(data) <= PHOTO_BYTES:
            break
    return data
