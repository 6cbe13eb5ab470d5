"""A docent to talk to: its page, its exhibits' labels, and the same answers over HTTP.

    serve(load_profile("pocket"), "lora")   # until Ctrl-C

`/v1/chat/completions` speaks the OpenAI chat format, streamed or not, and the page is a client of
it like any other. Beside the format's own keys an answer has `musequest`: the exhibit recognised,
the catalogue's sentence for each of the answer's, and what else one may ask. Of a conversation
`chat` reads the last question and the last photo.
"""

from __future__ import annotations

import asyncio
import functools
import io
import json
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import segno
from anyio import CapacityLimiter, to_thread
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from ..core.errors import LOGGER, MuseQuestError
from ..core.files import parse_json
from ..core.home import collection_dir
from ..core.photos import prepared_photo
from ..core.settings import Profile
from ..core.tables import read_table
from ..creation.exhibits import Exhibit, load_exhibits
from ..creation.review import read_review, withheld
from ..systems.answering import LONGEST_QUESTION, QUESTION
from . import web
from .batching import Batcher, State
from .chat import Chat, asked, opened
from .web import Refused
from .words import words_of

if TYPE_CHECKING:
    from .guide import Answer, Guide

PORT = 8000
QUESTIONS = "questions.txt"  # of a collection: those that found no answer
PHOTO_EDGE = 960  # px, of an exhibit's photo on its page
OPENING = 2  # photos opened at a time, each of which may take 300 MB for a moment
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def serve(
    profile: Profile,
    system: str = "lora",
    *,
    strict: bool = False,
    host: str = "127.0.0.1",
    port: int = PORT,
    public_url: str | None = None,
    keep_questions: bool = False,
) -> None:
    """Answer visitors until Ctrl-C; everything is read before the first one comes.

    `strict` leaves out sentences that nothing in the catalogue bears out. `public_url` is where
    visitors reach the server, which QR codes lead to. Photos and answers are kept nowhere;
    `keep_questions` adds the words of those that found no answer to
    data/<collection>/questions.txt. A port in use raises MuseQuestError before a model is loaded.
    """

    def make() -> ASGIApp:
        from .guide import Guide

        pages = DocentPages(profile, system, public_url, keep_questions=keep_questions)
        return pages.site(Guide(profile, system, strict=strict))

    web.run(make, host, port)


class DocentPages:
    """Pages and interface of one collection's docent."""

    def __init__(
        self, profile: Profile, system: str, public_url: str | None = None, *,
        keep_questions: bool = False,
    ) -> None:  # fmt: skip
        self.profile, self.keep_questions = profile, keep_questions
        self.model, self.say = f"{profile.name}/{system}", words_of(profile.language, "page")
        self.public_url = public_url and public_url.rstrip("/") + "/"
        self.folder = collection_dir(profile.collection)
        self.exhibits = {each.item_name: each for each in load_exhibits(profile.collection)}
        dialogs = read_table("dialogs", self.folder / "dialogs.parquet")
        self.dialogs = {
            name: own.to_dict("records") for name, own in dialogs.groupby("item_name", sort=False)
        }
        # What is asked of a photo before anybody has asked.
        english = profile.language == "en"
        self.first = QUESTION if english else str(dialogs["question"].mode().iloc[0])
        self.photo_of = functools.lru_cache(maxsize=256)(self._photo_of)

    def site(self, guide: Guide) -> ASGIApp:
        """The application around a guide, whose first answer, the slowest, is made here."""
        from .guide import Question

        first = next(iter(self.exhibits.values()))
        guide.answer([Question(prepared_photo(self.folder / first.photos[0]), self.first)])

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            self.opening = CapacityLimiter(OPENING)
            async with Batcher(guide.answer) as self.batcher:
                yield

        routes = [
            Route("/", self.home),
            Route("/exhibits", self.overview),
            Route("/exhibits/{item_name}", self.home),
            Route("/exhibits/{item_name}/label", self.label),
            Route("/exhibits/{item_name}/photo.jpg", self.photo),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
        ]
        name = urlsplit(self.public_url or "").hostname
        names = [name] if name else []
        return web.site(routes, names=names, lifespan=lifespan, say=self.say)

    def shown(self) -> dict[str, Exhibit]:
        """The exhibits but for those that a curator withheld, which is looked up each time."""
        hidden = withheld(self.profile.collection)
        return {name: each for name, each in self.exhibits.items() if name not in hidden}

    def questions(self, item_name: str) -> list[str]:
        """What one may ask of an exhibit, as curators have decided by now."""
        taken = read_review(self.profile.collection).taken(self.dialogs.get(item_name, []), False)
        return list(dict.fromkeys(row["question"] for row in taken))

    def _exhibit(self, request: Request) -> Exhibit:
        """The exhibit of the request's path; one that is not told of is not there."""
        if (exhibit := self.shown().get(request.path_params["item_name"])) is None:
            raise HTTPException(404)
        return exhibit

    def page(self, template: str, **values: Any) -> Response:
        """A page in the museum's language, or in English around the museum's texts."""
        return web.page(template, self.say, language=self.profile.language, **values)

    async def home(self, request: Request) -> Response:
        """The page, which begins with an exhibit's photo if one is named."""
        exhibit = self._exhibit(request) if request.path_params else None
        return self.page(
            "docent.html.j2", exhibit=exhibit, first=self.first, longest=LONGEST_QUESTION,
            questions=self.questions(exhibit.item_name) if exhibit else [],
            model=self.model, most_bytes=web.MOST_BYTES,
        )  # fmt: skip

    async def overview(self, request: Request) -> Response:
        """All exhibits, each with its page and label."""
        return self.page("exhibits.html.j2", exhibits=list(self.shown().values()))

    async def label(self, request: Request) -> Response:
        """An exhibit's label to print, with the QR code of its page."""
        exhibit = self._exhibit(request)
        url = f"{self.public_url or request.base_url}exhibits/{exhibit.item_name}"
        code = segno.make(url, error="m", micro=False).svg_inline(
            scale=8, border=4, dark="#000", light="#fff", omitsize=True
        )
        here = urlsplit(url).hostname in THIS_MACHINE
        return self.page("label.html.j2", exhibit=exhibit, url=url, code=Markup(code), here=here)

    async def photo(self, request: Request) -> Response:
        """The first photo of an exhibit."""
        exhibit = self._exhibit(request)
        content = await to_thread.run_sync(self.photo_of, exhibit.item_name, limiter=self.opening)
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    def _photo_of(self, item_name: str) -> bytes:
        photo = prepared_photo(self.folder / self.exhibits[item_name].photos[0])
        photo.thumbnail((PHOTO_EDGE, PHOTO_EDGE))
        photo.save(content := io.BytesIO(), "JPEG", quality=85)
        return content.getvalue()

    async def models(self, request: Request) -> Response:
        """The one model there is, in OpenAI's form."""
        model = {"id": self.model, "object": "model", "created": 0, "owned_by": "museum"}
        return JSONResponse({"object": "list", "data": [model]})

    async def chat(self, request: Request) -> Response:
        """Answer the last question about the last photo of a conversation."""
        from .guide import Question

        self.batcher.check_room()  # before a photo is taken in
        try:
            chat: Chat = parse_json(await request.body(), Chat)
        except ValueError as error:
            raise Refused(f"This is no chat in OpenAI's format ({error}); send one.") from None
        if chat.get("model", self.model) != self.model:
            raise Refused(f"There is no model {chat['model']!r} here; ask '{self.model}'.", 404)
        text, url = asked(chat["messages"])
        photo = await to_thread.run_sync(opened, url, limiter=self.opening)
        self.batcher.check_room()  # others came meanwhile
        states = self.batcher.ask(Question(photo, text))
        frame = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time())}
        frame["model"] = self.model
        if chat.get("stream"):
            headers = {"X-Accel-Buffering": "no"}  # a proxy is to pass on each word
            events = self._events(text, states, frame)
            return StreamingResponse(events, 200, headers, "text/event-stream")
        answer = await _unless_gone(request, _last(states))
        self._keep(text, answer)
        said = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": said, "finish_reason": "stop", "logprobs": None}
        told = {"object": "chat.completion", "choices": [choice], "musequest": self._told(answer)}
        return JSONResponse({**frame, **told})

    async def _events(
        self, question: str, states: AsyncIterator[State], frame: dict[str, Any]
    ) -> AsyncIterator[str]:
        """The chunks of a stream as server-sent events: places in the line, words, the answer."""

        def event(delta: dict[str, str] | None, end: str | None = None, **more: Any) -> str:
            choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": end}]
            chunk = {**frame, "object": "chat.completion.chunk", "choices": choices, **more}
            return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"

        yield event({"role": "assistant", "content": ""})
        sent = ""
        try:
            async for state in states:
                if state.place:
                    yield event(None, musequest={"place": state.place})
                if state.text != sent and state.text.startswith(sent):
                    yield event({"content": state.text[len(sent) :]})
                    sent = state.text
                if state.answer:
                    self._keep(question, state.answer)
                    yield event({}, "stop", musequest=self._told(state.answer))
        except MuseQuestError as error:
            sentence = web.sentence_of(error, self.say)
            told = {"message": sentence, "type": "server_error", "code": None}
            yield f"data: {json.dumps({'error': told}, ensure_ascii=False)}\n\n"
        yield "data: [DONE]\n\n"

    def _told(self, answer: Answer) -> dict[str, Any]:
        """What the page shows of an answer beside its words."""
        name = answer.recognition.item_name or ""
        return answer.as_json() | {"questions": self.questions(name)}

    def _keep(self, question: str, answer: Answer) -> None:
        """Write down the words of a question that found no answer, if that was asked for.

        Where they cannot be written the log says so, and the visitor is answered all the same.
        """
        found = answer.recognition.item_name and any(each.source for each in answer.sentences)
        if not self.keep_questions or found:
            return
        try:
            with (self.folder / QUESTIONS).open("a", encoding="utf-8") as file:
                file.write(" ".join(question.split()) + "\n")
        except OSError as error:
            LOGGER.warning("A question that found no answer is not written down: %s", error)


async def _last(states: AsyncIterator[State]) -> Answer:
    """The answer that the states of a question end with."""
    async for state in states:
        answer = state.answer
    assert answer, "a question has ended without an answer"
    return answer


async def _unless_gone(request: Request, answering: Coroutine[Any, Any, Answer]) -> Answer:
    """What is awaited, which ends at once when the client goes away (HTTPException)."""

    async def leaving() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.ensure_future(answering), asyncio.ensure_future(leaving())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise HTTPException(499)
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
