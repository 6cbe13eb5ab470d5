"""Loading from a folder or the Hugging Face Hub, its many errors told in one sentence each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError

from ..errors import MuseQuestError, chain, refusal
from ..home import check_hub, run_dir
from ..settings import Profile

# What the libraries raise at files that are damaged or of another kind.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError)


def of_base_model(
    function: Callable[..., Any], profile: Profile, *arguments: Any, **options: Any
) -> Any:
    """Call a loading function with the profile's base model; its errors become MuseQuestError."""
    if not Path(profile.base_model_source).is_dir():
        check_hub()
    try:
        return function(profile.base_model_source, *arguments, **options)
    except UNREADABLE as error:
        if refusal(error):  # the machine's fault, not the model's
            raise
        raise MuseQuestError(
            f"The base model '{profile.base_model}' of the profile '{profile.name}' cannot be "
            f"loaded ({_reason(error, profile.base_model)}); check the key base_model: it names a "
            "folder of the repository, or a model of the Hugging Face Hub that is cached here or "
            "can be downloaded."
        ) from error


def of_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function that loads the weights of a run say in a sentence that it cannot."""

    @functools.wraps(function)
    def load(profile: Profile, approach_name: str, *arguments: Any, **options: Any) -> Any:
        try:
            return function(profile, approach_name, *arguments, **options)
        except UNREADABLE as error:
            if refusal(error):
                raise
            folder = run_dir(profile.name, approach_name)
            raise MuseQuestError(
                f"The weights in {folder} cannot be loaded ({_reason(error, str(folder))}); bring "
                "them back, or train again with fresh=True (--fresh)."
            ) from error

    return load


def _reason(error: BaseException, name: str) -> str:
    """What the Hub meant, in words for the person who wrote the profile."""
    kinds = tuple(chain(error))
    if any(isinstance(each, GatedRepoError) for each in kinds):
        return (
            f"it is gated: ask for access on {constants.ENDPOINT}/{name}, then put your token into "
            "HF_TOKEN, in the environment or in .env"
        )
    if any(isinstance(each, RepositoryNotFoundError) for each in kinds):
        return "the Hub has no model of this name, or HF_TOKEN is not allowed to see it"
    if any(isinstance(each, HFValidationError) for each in kinds):
        return "there is no such folder, and the Hub's names have the form owner/model"
    if constants.HF_HUB_OFFLINE and _missing(kinds):
        return (
            f"it is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids to ask "
            f"the Hub: fetch it once with `hf download {name}` while online"
        )
    if _missing(kinds):
        return f"it is not in the cache {constants.HF_HUB_CACHE}, and the Hub cannot be reached"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _missing(kinds: tuple[BaseException, ...]) -> bool:
    absent = (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError)
    return any(isinstance(each, absent) for each in kinds)
