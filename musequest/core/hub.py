"""The Hugging Face Hub: what is loaded from it or a folder, and the cards of what goes there.

The Hub's many errors are told in one sentence each.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from jinja2 import StrictUndefined, Template
from safetensors import SafetensorError

from .errors import MuseQuestError, chain, refusal
from .home import check_hub, run_dir
from .settings import Profile

# What the libraries raise at files that are damaged or of another kind.
UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, ImportError, SafetensorError),
)
# How a processor of transformers says which package it lacks.
MISSING = re.compile(r"Missing optional dependencies: ([\w-]+)")


def of_base_model(
    function: Callable[..., Any], profile: Profile, *arguments: Any, **options: Any
) -> Any:
    """Call a loading function with the profile's base model; its errors become MuseQuestError."""
    if not Path(profile.base_model_source).is_dir():
        check_hub()
    remedy = (
        "check the key base_model: it names a folder of the repository, or a model of the Hugging "
        "Face Hub that is cached here or can be downloaded."
    )
    what = f"base model '{profile.base_model}' of the profile '{profile.name}'"
    with _loading(what, profile.base_model, remedy):
        return function(profile.base_model_source, *arguments, **options)


def file_here(profile: Profile, name: str) -> Path | None:
    """A file of the base model in its folder, or in the Hub's cache; None if it is in neither."""
    folder = Path(profile.base_model_source)
    if folder.is_dir():
        return folder / name if (folder / name).exists() else None
    cached = None
    with suppress(HFValidationError):  # of what cannot be a name, whoever loads it says so
        cached = try_to_load_from_cache(profile.base_model, name)
    return Path(cached) if isinstance(cached, str) else None


def of_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function that loads the weights of a run say in a sentence that it cannot."""

    @functools.wraps(function)
    def load(profile: Profile, approach_name: str, *arguments: Any, **options: Any) -> Any:
        folder = run_dir(profile.name, approach_name)
        remedy = "bring them back, or train again with fresh=True (--fresh)."
        with _loading(f"weights in {folder}", str(folder), remedy):
            return function(profile, approach_name, *arguments, **options)

    return load


@contextmanager
def _loading(what: str, name: str, remedy: str) -> Iterator[None]:
    """What the libraries raise at files they cannot load, in a sentence."""
    try:
        yield
    except UNREADABLE as error:
        if refusal(error):  # the machine's fault, not that of the files
            raise
        raise MuseQuestError(
            f"The {what} cannot be loaded ({_reason(error, name)}); {remedy}"
        ) from error


def _reason(error: BaseException, name: str) -> str:
    """What the Hub meant, in words for the person who wrote the profile."""

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in chain(error))

    if caused_by(GatedRepoError):
        return (
            f"it is gated: ask for access on {constants.ENDPOINT}/{name}, then put your token into "
            "HF_TOKEN, in the environment or in .env"
        )
    if caused_by(RepositoryNotFoundError):
        return "the Hub has no model of this name, or HF_TOKEN is not allowed to see it"
    if caused_by(HFValidationError):
        return "there is no such folder, and the Hub's names have the form owner/model"
    if caused_by(LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError):
        absent = f"it is not in the cache {constants.HF_HUB_CACHE}, and"
        if not constants.HF_HUB_OFFLINE:
            return f"{absent} the Hub cannot be reached"
        return (
            f"{absent} HF_HUB_OFFLINE forbids to ask the Hub: fetch it once with "
            f"`hf download {name}` while online"
        )
    if "trust_remote_code" in str(error):
        return (
            "it comes with program code of its own, which is never run here, since it could do "
            "anything on this machine; choose a model that the installed transformers has"
        )
    if missing := MISSING.search(str(error)):
        return f"its processor needs a package that is not here: `pip install {missing[1]}`"
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return said.partition(". ")[0].rstrip(".")  # what follows is advice for other programs


def hub_api() -> HfApi:
    """The Hub as HF_TOKEN, or whoever is logged in, may use it."""
    token = os.environ.get("HF_TOKEN", "").strip() or None  # a pasted one may end a line
    return HfApi(library_name="musequest", token=token)


def fill_card(template: Path, head: str, **values: Any) -> str:
    """A card: YAML that the Hub reads, and a template in Jinja with its places filled."""
    text = template.read_text(encoding="utf-8")
    filled = Template(text, undefined=StrictUndefined, keep_trailing_newline=True).render(values)
    return f"---\n{head.rstrip()}\n---\n\n{filled}"
