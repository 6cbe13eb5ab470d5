"""Every error that a person can mend is one sentence: what was wrong, where, and what to do.

`MuseQuestError` is the one exception raised on purpose. What the machine refuses (a full disk, a
missing permission, no memory), in whatever form a library reports it, becomes such a sentence in
`sentence_of`, and there alone. `leave_out` is the rule for leaving bad exhibits out.

Servers repeat what they were sent, keys included. Whatever of theirs is kept or shown goes through
`hidden` first: every MuseQuestError, every line of the log, every answer cached or paid for. Keys
come from the environment, and are sent by safe ways alone.
"""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

T = TypeVar("T")
LOGGER = logging.getLogger("musequest")

BAD_SHARE_LIMIT = 0.1
ROOM = "make room, or let MUSEQUEST_HOME name a larger disk"
RIGHTS = "give this user the right to it, or let MUSEQUEST_HOME name a folder that may be written"
# What the machine can refuse at any time: what is wrong, and the remedy.
REFUSALS = {
    errno.ENOSPC: ("the disk is full", ROOM),
    errno.EDQUOT: ("the quota on this disk is used up", ROOM),
    errno.EFBIG: ("no file may become so large here", "raise the limit (ulimit -f), or " + ROOM),
    errno.EROFS: ("the disk is read-only", "let MUSEQUEST_HOME name one that can be written"),
    errno.EACCES: ("this user may not read or write it", RIGHTS),
    errno.EPERM: ("this user may not do that to it", RIGHTS),
    errno.EIO: ("the disk has a fault", "check it, or let MUSEQUEST_HOME name another"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "stop other programs"),
    errno.ENOMEM: ("memory ran out", "stop other programs, or take smaller batches or photos"),
}
# What is wrong with one name, of a file that was given or is expected.
NAMES = {
    errno.ENOENT: ("it does not exist", "check the name, or run the step that writes it"),
    errno.ENAMETOOLONG: ("its name is too long for this disk", "give it a shorter one"),
    errno.ELOOP: ("its links lead in a circle", "remove them"),
    errno.EISDIR: ("it is a folder where a file is expected", "move it away"),
    errno.ENOTDIR: ("a file stands where a folder is expected", "move it away"),
    errno.EEXIST: ("a file stands where a folder is expected", "move it away"),
    errno.ENOTEMPTY: ("the folder is in use", "end what is using it"),
    errno.EPIPE: ("the program at the other end has ended", "start it"),
}
# How libraries call a full disk or memory that ran out where they raise no OSError: torch,
# safetensors, and torch again.
FULL = (
    *("No space left on device", "StorageFull"),
    *("file write failed", "failed writing file", "unexpected pos"),
)
OS_ERROR = re.compile(r"\(os error (\d+)\)")  # as libraries in Rust put it
NO_MEMORY = ("out of memory", "can't allocate memory")

# Those of .env.example are known whatever they look like, others by their names and length.
OWN = ("HF_TOKEN", "OPENAI_API_KEY", "SMITHSONIAN_API_KEY", "WANDB_API_KEY")
OTHERS = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
SHORTEST, SHORTEST_OTHERS = 8, 16  # characters; shorter ones are words that stand in any text
PASSWORD = re.compile(r"(?<=://)[^/@\s]+:[^/@\s]+(?=@)")
PLAIN_HTTP = "MUSEQUEST_PLAIN_HTTP"


class MuseQuestError(Exception):
    """One sentence for the person at the screen: what was wrong, where, and what to do.

    It often holds a server's own words, which may repeat a key; here that is taken out.
    """

    def __init__(self, sentence: object = "") -> None:
        super().__init__(hidden_text(str(sentence)))


def _take_keys_out(record: logging.LogRecord) -> bool:
    """Takes keys out of what is logged."""
    record.msg, record.args = hidden_text(record.getMessage()), None
    return True


LOGGER.addFilter(_take_keys_out)


def sentence_of(error: BaseException) -> str | None:
    """What an error says to the person at the screen; None for a fault of the program itself."""
    if isinstance(error, MuseQuestError):
        return str(error)
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    # A module that is absent from a package which is here is a fault to be seen.
    if package and importlib.util.find_spec(package) is None:
        return (
            f"The package '{package}' is not installed for {sys.executable}; switch on the "
            "environment of `make setup` (source .venv/bin/activate), or install what is needed "
            "(pip install -e '.[notebooks]')."
        )
    if refused := refusal(error):
        return _told(refused)
    return _told(error) if isinstance(error, OSError) else None


def sentence_of_text(name: str, text: str) -> str | None:
    """The same for an error of which only its class's name and its text are known."""
    if name == MuseQuestError.__name__:
        return text
    if found := re.match(r"\[Errno (\d+)\] (.*?)(?:: '(.*?)')?(?: -> .*)?$", text):
        return _told(OSError(int(found[1]), found[2], found[3]))
    return sentence_of(MemoryError(text) if name == "MemoryError" else RuntimeError(text))


def refusal(error: BaseException) -> OSError | None:
    """What the machine refused, if that is why `error`, or one that led to it, was raised.

    Its errno is a key of REFUSALS, its filename None where nobody has told it.
    """
    for each in chain(error):
        if isinstance(each, OSError) and each.errno in REFUSALS:
            return each
        if isinstance(each, MuseQuestError):
            continue  # may quote anything
        if (told := OS_ERROR.search(str(each))) and (number := int(told[1])) in REFUSALS:
            return OSError(number, os.strerror(number))
        if any(mark in str(each) for mark in FULL):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if isinstance(each, MemoryError) or any(mark in str(each) for mark in NO_MEMORY):
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that led to it, the newest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _told(error: OSError) -> str:
    unknown = (str(error.strerror or error).strip().splitlines() or [type(error).__name__])[0]
    wrong, remedy = (REFUSALS | NAMES).get(
        error.errno or 0, (unknown.rstrip("."), "check it, and what it is made from")
    )
    place = error.filename
    if isinstance(place, str | bytes | os.PathLike):
        wrong = f"{os.fsdecode(place)} cannot be used: {wrong}"
    return f"{wrong[:1].upper()}{wrong[1:]}; {remedy}, then run the same command again."


def leave_out(problems: list[str], total: int, source: object) -> None:
    """Report every problem (one sentence a bad exhibit) and let the run go on without them.

    `total` counts the exhibits looked at, the bad ones included. A single bad exhibit never stops
    a run that has others; more than 10 % of them, or none left, raises MuseQuestError.
    """
    for problem in problems:
        LOGGER.warning("Left out: %s", problem)
    if len(problems) >= total or len(problems) > max(1.0, BAD_SHARE_LIMIT * total):
        first = f" The first: {problems[0]}" if problems else ""
        raise MuseQuestError(
            f"{source}: {len(problems)} of {total} exhibits cannot be used, which is too many to "
            f"leave out (the limit is 10 %); mend them and run again.{first}"
        )


def hidden(value: T) -> T:
    """A text, or the texts within lists and dicts, with [NAME] for the value of each credential."""
    return _hidden(value, _credentials())


def hidden_text(text: str) -> str:
    """`hidden` for people to read: passwords within addresses are taken out too."""
    return PASSWORD.sub("...", hidden(text))


def unsafe_way(name: str, url: str) -> str | None:
    """Why the credential `name` must not be sent to `url`, as a sentence; None where it may.

    Without encryption it may not leave this machine, unless MUSEQUEST_PLAIN_HTTP says that the
    network between is one's own.
    """
    if not os.environ.get(name, "").strip():
        return None
    allowed = os.environ.get(PLAIN_HTTP, "").strip().lower() in ("1", "true", "yes", "on")
    if allowed or urlsplit(url).scheme.lower() != "http" or _is_here(urlsplit(url).hostname or ""):
        return None
    return hidden_text(
        f"{name} would travel to {url} for all on the way to read; write https://, unset {name} if "
        f"that server needs none, or set {PLAIN_HTTP}=1 if the network between is your own."
    )


def _credentials() -> dict[str, str]:
    """What each is replaced by, the longest first."""
    found: dict[str, str] = {}
    for name, value in os.environ.items():
        value = value.strip()
        shortest = SHORTEST if name in OWN else SHORTEST_OTHERS
        if (name in OWN or OTHERS.search(name)) and len(value) >= shortest:
            found |= dict.fromkeys((value, quote(value, safe="")), f"[{name}]")
    return {value: found[value] for value in sorted(found, key=len, reverse=True)}


def _hidden(value: Any, credentials: dict[str, str]) -> Any:
    if isinstance(value, str):
        for credential, name in credentials.items():
            value = value.replace(credential, name)
    elif isinstance(value, list):
        return [_hidden(each, credentials) for each in value]
    elif isinstance(value, dict):
        return {_hidden(k, credentials): _hidden(each, credentials) for k, each in value.items()}
    return value


def _is_here(host: str) -> bool:
    """Whether a host is this machine, whatever names it has for itself."""
    try:
        found = socket.getaddrinfo(host, None)
        return all(ipaddress.ip_address(str(each[4][0])).is_loopback for each in found)
    except (OSError, ValueError):
        return False
