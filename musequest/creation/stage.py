"""What a profile chooses for stage 1: its museum, its writer, and what the latter will cost."""

from __future__ import annotations

import os
import socket
from typing import Any

import httpx

from ..core.errors import MuseQuestError
from ..core.home import collection_dir, root
from ..core.settings import Profile, load_profile
from .augmentation import augment
from .dialogs import Writer
from .exhibits import Exhibit, collect_folder, load_exhibits
from .hosted import BatchWriter, HostedWriter, expected_cost
from .hosted.requests import BATCH_SHARE
from .museums import MUSEUMS, collect_museum
from .museums.http import port_of, proxied
from .offline_writer import OfflineWriter

WRITERS = ("offline", "hosted", "batch")
CONNECT_SECONDS = 5.0


def collect(profile: Profile) -> list[Exhibit]:
    """Collect the exhibits of the profile's museum and return them."""
    if profile.museum in MUSEUMS:
        catalogue = root() / profile.catalogue if profile.catalogue else None
        collect_museum(
            profile.museum,
            profile.collection,
            catalogue=catalogue,
            query=profile.query,
            limit=profile.limit,
            language=profile.language,
        )
    else:
        collect_folder(profile.museum_folder, profile.collection, language=profile.language)
    return load_exhibits(profile.collection)


def within_reach(profile: Profile, *, writer: bool = False, dialogs: bool = False) -> Profile:
    """Return the profile, or the pocket museum's where its museum cannot be had from here.

    With `writer`, also where its writer cannot; with `dialogs`, where there are none and nobody can
    write them. Then one sentence on the screen says what is missing, and the pocket museum is
    collected and augmented if it is not yet; nothing is written into the other collection. What was
    collected or written before needs no network and no key.
    """
    try:
        check_reach(profile, writer=writer, dialogs=dialogs)
    except MuseQuestError as error:
        print(f"This goes on with the pocket museum: {error}")
    else:
        return profile
    pocket = load_profile("pocket")
    if not (collection_dir(pocket.collection) / "exhibits.parquet").is_file():
        collect(pocket)
    augment(pocket.collection, seed=pocket.seed)
    return pocket


def check_reach(profile: Profile, *, writer: bool = False, dialogs: bool = False) -> None:
    """Raise MuseQuestError, whose sentence says what is missing, where the museum cannot be had."""
    folder, museum = collection_dir(profile.collection), profile.museum
    if museum in MUSEUMS and not (folder / "exhibits.parquet").is_file():
        _check_allowed()
        url = httpx.URL(MUSEUMS[museum].BASE_URL)
        try:
            if not proxied(url):  # a proxy reaches what this machine does not
                socket.create_connection((url.host, port_of(url)), CONNECT_SECONDS).close()
        except OSError as error:
            raise MuseQuestError(
                f"the museum '{museum}' is out of reach at {url.host} ({error}); run it "
                "again with a network."
            ) from None
    if writer or (dialogs and not (folder / "dialogs.parquet").is_file()):
        writer_of(profile)


def _check_allowed() -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        raise MuseQuestError("HF_HUB_OFFLINE keeps this run off the network.")


def sample(museum: str, query: str, limit: int) -> list[Exhibit]:
    """Collect a few exhibits of a museum on the internet into data/<museum>_sample.

    Where that cannot be, one sentence on the screen says what is missing, and none is returned.
    """
    collection = f"{museum}_sample"
    try:
        _check_allowed()
        if museum == "smithsonian" and not os.environ.get("SMITHSONIAN_API_KEY", "").strip():
            raise MuseQuestError("SMITHSONIAN_API_KEY is not set (see .env.example).")
        collect_museum(museum, collection, query=query, limit=limit)
    except MuseQuestError as error:
        print(f"'{museum}' was not asked, or did not answer: {error}")
        return []
    return load_exhibits(collection)


def writer_of(profile: Profile) -> Writer:
    """Return the profile's writer; a missing key raises MuseQuestError."""
    if profile.writer not in WRITERS:
        raise MuseQuestError(
            f"The profile '{profile.name}' has the writer '{profile.writer}'; write "
            f"{', '.join(WRITERS[:-1])} or {WRITERS[-1]}."
        )
    if profile.writer == "offline":
        return OfflineWriter()
    kind = HostedWriter if profile.writer == "hosted" else BatchWriter
    return kind(profile.writer_model, max_cost_usd=profile.max_cost_usd)


def cost_of(profile: Profile) -> dict[str, Any]:
    """Return what the profile's hosted model will cost, or would if the profile chose it.

    Nothing is asked for it, and no key is needed. One sentence on the screen says what is missing
    where nothing will be paid.
    """
    exhibits, folder = load_exhibits(profile.collection), collection_dir(profile.collection)
    planned = expected_cost(exhibits, folder, profile.writer_model)
    if profile.writer == "offline":
        print(
            f"Nothing will be paid: the profile '{profile.name}' has the offline writer; the "
            "hosted one needs `writer: hosted` there and OPENAI_API_KEY in .env."
        )
    return {
        "model": planned.model,
        "calls still to be made": planned.calls,
        "prompt tokens": planned.prompt_tokens,
        "completion tokens": planned.completion_tokens,
        "counted": planned.basis,
        "USD, about": round(planned.usd, 4),
        "USD in a batch, about": round(planned.usd * BATCH_SHARE, 4),
        "USD at most, without repeats": round(planned.most_usd, 4),
        "limit, USD": profile.max_cost_usd,
        "prices of": planned.price.as_of,
    }
