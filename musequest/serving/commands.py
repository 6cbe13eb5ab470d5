"""The commands by which people meet a docent: ask, serve, and the curator's review."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.command_line import COLLECTION, PROFILE, approach, command, option, profile_of, settings


@command(
    PROFILE,
    approach("or base, retrieval, rag"),
    option("--photo", "JPEG, PNG and the like", required=True, metavar="FILE"),
    option(
        "--question",
        "as often as wanted (default: What is this?)",
        action="append",
        default=[],
        metavar="Q",
    ),
    option("--strict", "leave out what nothing in the catalogue bears out", action="store_true"),
    option("--json", "a JSON object a question", action="store_true", dest="json_lines"),
    settings(),
)
def ask(
    profile: str,
    approach: str,
    photo: str,
    question: list[str],
    strict: bool,
    json_lines: bool,
    settings: list[str],
) -> None:
    """Ask the base model, a tuned one or another local system about a photo of your own."""
    from ..core.photos import prepared_photo
    from ..finetuning.records import check_ready
    from ..systems.answering import QUESTION, check_question
    from ..systems.registry import check_name

    chosen = profile_of(profile, settings)
    check_name(approach)
    texts = question or [QUESTION]
    for text in texts:
        check_question(text)
    shown = prepared_photo(photo)
    check_ready(chosen, approach)
    from . import Guide, Question

    guide = Guide(chosen, approach, strict=strict)
    answers = guide.answer([Question(shown, text) for text in texts])
    if json_lines:
        told = [json.dumps(answer.as_json(), ensure_ascii=False) for answer in answers]
        print("\n".join(told))
    elif guide.ungated:
        print("\n\n".join(answer.text for answer in answers))
    else:
        heads = [f"> {text}\n\n" if len(texts) > 1 else "" for text in texts]
        print("\n\n\n".join(f"{head}{own}" for head, own in zip(heads, answers, strict=True)))


@command(
    PROFILE,
    approach("or base, retrieval, rag"),
    option("--strict", "leave out what no catalogue sentence bears out", action="store_true"),
    option("--host", "address to listen on (default: 127.0.0.1)", default="127.0.0.1"),
    option("--port", "to listen on (default: 8000)", type=int, default=8000, metavar="N"),
    option("--public-url", "where visitors reach it, for QR codes", metavar="URL"),
    option(
        "--keep-questions",
        "write down, without photos, those that found no answer",
        action="store_true",
    ),
    settings(),
)
def serve(profile: str, approach: str, settings: list[str], **options: Any) -> None:
    """Let visitors talk to a docent: a page for their phones, and the same over HTTP."""
    from ..finetuning.records import check_ready
    from ..systems.registry import check_name

    chosen = profile_of(profile, settings)
    check_name(approach)
    check_ready(chosen, approach)
    from .server import serve

    serve(chosen, approach, **options)


@command(
    COLLECTION,
    [
        option("--list", "print what is reviewed, and open no page", action="store_true"),
        option("--export", "write all dialogs as CSV for a spreadsheet", type=Path, metavar="FILE"),
        option("--import", "read such a file back", type=Path, metavar="FILE", dest="sheet"),
    ],
    option("--by", "who decided what is in the file", metavar="NAME"),
    option("--port", "(default: 8100)", type=int, default=8100),
)
def review(
    collection: str, list: bool, export: Path | None, sheet: Path | None, by: str | None, port: int
) -> None:
    """Open the curator's desk, a page to approve, edit or withhold dialogs."""
    from ..creation.review import check_dialogs
    from ..creation.review_sheet import overview, read_sheet, write_sheet

    if list:
        print(overview(collection).to_string())
    elif export:
        print(f"{write_sheet(collection, export)} dialogs are in {export}.")
    elif sheet:
        saved, refused = read_sheet(collection, sheet, by or "")
        print("\n".join([f"{saved} decisions are saved.", *refused]))
    else:
        check_dialogs(collection)  # what is absent is told before a page is made
        from . import open_desk, web

        web.run(lambda: open_desk(collection), "127.0.0.1", port)
