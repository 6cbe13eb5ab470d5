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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from PIL import Image
from tqdm import tqdm

from ..core.errors import BAD_SHARE_LIMIT, MuseQuestError
from ..core.home import collection_dir
from ..core.predictions import Rows, System
from ..core.settings import Profile
from ..creation.dialogs import WriterStopped, sha256_of
from ..creation.hosted.ledger import Ledger
from ..creation.hosted.replies import spoken
from ..creation.hosted.requests import Estimate, Request, count_tokens
from ..creation.hosted.server import ServerConfig, address_of
from ..creation.hosted.session import Session
from ..creation.split import dialog_of, fingerprint, given, shown_photos

ANSWER = "answer"  # the form by which the ledger tells these requests from a writer's
PHOTO_EDGE = 768  # px; OpenAI scales a photo's shorter edge down to this
PHOTO_BYTES = 400_000  # of its JPEG
# At 768 px a photo has at most four tiles of 512 px: 85 + 4 x 170 in the family of GPT-4o (OpenAI's
# guide to images and vision).
PHOTO_TOKENS = 765
QUALITIES = (85, 70, 50, 30, 10)
TASK = (
    "You are a docent in a museum. A visitor shows you the photo of an exhibit and asks about it. "
    "Answer in one paragraph of plain text."
)


@dataclass(frozen=True)
class PhotoRequest(Request):
    """A question about photos, to one server: who else answers to a model's name is not known."""

    base_url: str
    photo_sha256: str  # of their pixels: another release of Pillow may write another JPEG of them

    max_tokens: ClassVar[int] = 1000
    usual_tokens: ClassVar[int] = 200
    command: ClassVar[str] = "infer"
    source: ClassVar[str] = "its photo or question"

    @classmethod
    def about(
        cls, model: str, form: str, task: str, photos: Sequence[Image.Image], text: str, url: str
    ) -> Self:
        """The photos and a text, after the task; asked at the address `url`."""
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": _inline(photo), "detail": "high"}}
            for photo in photos
        ]
        content.append({"type": "text", "text": text})
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": task},
            {"role": "user", "content": content},
        ]
        digests = " ".join(map(pixels_sha256, photos))
        return cls(model, 0.0, form, messages, url, digests)

    @property
    def photo_tokens(self) -> int:
        """Those of all its photos."""
        return PHOTO_TOKENS * (len(self.messages[1]["content"]) - 1)

    @property
    def key(self) -> str:
        """The SHA-256 of all but the JPEG, for which its pixels and its greatest edge stand."""
        known = vars(self) | {"messages": self.sent, "photo_edge": PHOTO_EDGE}
        return sha256_of(json.dumps(known, ensure_ascii=False, sort_keys=True))

    @property
    def sent(self) -> str:
        """The text of the prompt; the photo counts by its tokens, not by its bytes."""
        return " ".join([self.messages[0]["content"], self.messages[1]["content"][-1]["text"]])


class HostedDocent(System):
    """A model asked over the network; `base_url` and key come from the environment if not given."""

    local = False
    model: ClassVar[str]

    def __init__(self, profile: Profile, *, base_url: str | None = None, **limits: Any) -> None:
        """`limits` are those of ServerConfig, such as max_cost_usd and concurrency."""
        super().__init__(profile)
        self.base_url, self.limits = base_url, limits
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

        What it will cost is told before the first call. Raises MuseQuestError without a key, or
        where the limit is reached, the server is out of reach, or another model answers; what was
        paid stays in the ledger for the next time.
        """
        server = ServerConfig.of(
            self.model, self.base_url, f"The model {self.model}", "go on without it", **self.limits
        )
        found = responses(
            server, self.profile.collection, len(rows), lambda i: self._request(rows[i]),
            self._check, lambda i: rows[i]["data_id"], self.problems, progress,
        )  # fmt: skip
        if (unanswered := len(rows) - len(found)) > BAD_SHARE_LIMIT * len(rows):
            raise MuseQuestError(
                f"{self.model} left {unanswered} of {len(rows)} questions unanswered, which is too "
                f"many (the limit is 10 %); run infer again. The first: {self.problems[0]}"
            )
        self._cost = {"usd": round(sum(each["cost_usd"] for each in found.values()), 6)}
        return [self._prediction(rows[index], found[index]) for index in sorted(found)]

    def cost(self) -> dict[str, float]:
        """What all answers cost together, whenever they were paid."""
        return self._cost

    def _check(self, response: Mapping[str, Any]) -> str:
        served = response["served_model"]
        if not is_of(self.model, served):
            raise WriterStopped(
                f"{address_of(self.base_url)} answers as the model '{served}', where a dated "
                f"'{self.model}' was expected; nothing may stand in for it, so check --base-url "
                "and OPENAI_BASE_URL."
            )
        return "" if said(response) else "the reply was empty"

    def _request(self, row: Mapping[str, Any]) -> PhotoRequest:
        """The photos and the question, behind what was said before it."""
        parts = [part for turn in dialog_of(row)[:-1] for part in turn["content"]]
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        address = address_of(self.base_url)
        return PhotoRequest.about(self.model, ANSWER, TASK, shown_photos(row), text, address)

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


class GPT4o(HostedDocent):
    """The comparison of the published experiment: it has never been told of the museum.

    OpenAI's model of that name and no other; nothing ever stands in for its answers.
    """

    name = "gpt4o"
    model = "gpt-4o"


def responses(
    server: ServerConfig,
    collection: str,
    count: int,
    request: Callable[[int], Request],
    flaw_of: Callable[[Mapping[str, Any]], str],
    name_of: Callable[[int], str],
    problems: list[str],
    progress: bool = True,
) -> dict[int, dict[str, Any]]:
    """Ask `count` requests of one model and form; returns place -> response, as far as there is.

    What it will cost is told before the first call, and what the collection's ledger holds is not
    paid again. `flaw_of` a response is "" or why it is of no use; where it raises, or the run is
    ended, what is under way is kept and no more is sent. A request that fails is told in
    `problems`, by its name.
    """
    found: dict[int, dict[str, Any]] = {}
    if not count:
        return found

    def ask(place: int) -> dict[str, Any]:
        asked = request(place)
        known = ledger.find(asked.key)
        response = known or session.ask(asked)
        flaw = flaw_of(response)
        if not known:
            session.judge(asked.key, response, flaw)
        return response

    with closing(Ledger(collection_dir(collection) / "ledger.jsonl")) as ledger:
        first = request(0)
        missing = (each for each in map(request, range(count)) if not ledger.find(each.key))
        past = (each for each in ledger.responses() if each["form"] == first.form)
        planned = Estimate.of(missing, first.model, server.price, past)
        server.announce(planned, ledger.committed_usd)
        with (
            closing(Session(server, ledger, planned)) as session,
            tqdm(total=count, desc=f"asking {first.model}", disable=not progress) as bar,
            ThreadPoolExecutor(server.concurrency) as pool,
        ):
            try:
                jobs = {pool.submit(ask, place): place for place in range(count)}
                for job in as_completed(jobs):
                    try:
                        found[jobs[job]] = job.result()
                    except WriterStopped:
                        raise
                    except MuseQuestError as error:
                        problems.append(f"{name_of(jobs[job])}: {error}")
                    bar.set_postfix_str(session.state(), refresh=False)
                    bar.update()
            except BaseException:
                session.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return found


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


def _inline(photo: Image.Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(bounded_jpeg(photo)).decode()}"


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
