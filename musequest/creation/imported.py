"""A dataset made elsewhere, such as the published one, as a collection that can be tuned on.

Needed are its columns image, data_id, item_name, image_name and dialog, in the splits train,
validation and test. Where dialogs show several photos, `images` has the list of them instead of
`image`; the first becomes `image`, those behind it become `further_images`. What a dataset does not
tell (which photo a copy was made from, at which temperature a pair was written, whether a test
photo is seen in training) stays unknown and is never guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from ..core.errors import LOGGER, MuseQuestError
from ..core.files import holds_collection, parse_json, write_text
from ..core.home import check_hub, collection_dir
from ..core.json_shapes import Dialog, misfit
from ..core.photos import collected_photo, read_photo
from ..core.tables import FURTHER, table_writer
from ..text.sentences import half_sign_of
from .split import SPLITS, split_path

if TYPE_CHECKING:
    import datasets

NEEDED = ("image", "data_id", "item_name", "image_name", "dialog")
TOLD = ("source_photo", "augmented", "temperature", "track")
SEVERAL = "images"
SPEAKERS = ("user", "assistant")


@holds_collection
def collect_dataset(source: str | Path, collection: str) -> dict[str, int]:
    """Write data/<collection>/dataset/ from a dataset's folder or its name on the Hub.

    Photos are kept as they are, once `collected_photo` has taken them. Whatever is read lies in
    that folder, links resolved, or is the dataset's own on the Hub. Returns rows by split. A split
    or column that is missing, a row without photo or with a dialog that is none, a source that
    cannot be loaded or leads elsewhere, or a collection with exhibits of its own raises
    MuseQuestError, and what the collection held before stays.
    """
    if (own := collection_dir(collection) / "exhibits.parquet").is_file():
        raise MuseQuestError(f"{own} shows that the collection has exhibits; choose another name.")
    with ExitStack() as stack:
        # The library's own cache takes two folders of one name for the same dataset.
        cache = stack.enter_context(TemporaryDirectory()) if Path(source).exists() else None
        loaded = _load(str(source), cache)
        for split in SPLITS:
            if split not in loaded:
                raise MuseQuestError(
                    f"{source} has no split '{split}'; it has {', '.join(loaded)}."
                )
            has = {*loaded[split].column_names}
            for name in NEEDED[1:] if SEVERAL in has else NEEDED:
                if name not in has:
                    raise MuseQuestError(f"{source}, split '{split}', lacks the column '{name}'.")
        several = any({SEVERAL, FURTHER} & {*loaded[split].column_names} for split in SPLITS)
        kind = "dataset_of_several" if several else "dataset"
        for split in SPLITS:
            write = stack.enter_context(table_writer(kind, split_path(collection, split)))
            for row in _rows(loaded[split], Path(source), f"{source}, split '{split}'"):
                write({FURTHER: []} | row if several else row)
    text, card = f"# Imported from {source}\n", _inside(Path(source), "README.md")
    if card and card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")
    write_text(collection_dir(collection) / "dataset/README.md", text)
    return {split: len(loaded[split]) for split in SPLITS}


def _load(source: str, cache: str | None) -> datasets.DatasetDict:
    import datasets

    if not Path(source).exists():
        check_hub()
    try:
        _check_addresses(Path(source))
        builder = datasets.load_dataset_builder(source, cache_dir=cache)
        files = builder.config.data_files or {}
        _check_files(source, (str(file) for own in files.values() for file in own))
        return datasets.load_dataset(source, cache_dir=cache)
    except MuseQuestError:
        raise
    # Readers of many formats, and the way to the Hub, can raise almost anything.
    except Exception as error:
        told = " ".join(str(error).split())[:300].rstrip(".")
        raise MuseQuestError(
            f"{source} cannot be loaded as a dataset ({told}); check the path or the name."
        ) from None


def _check_addresses(folder: Path) -> None:
    """The library would ask each address that a folder's card names for its files."""
    for name in ("README.md", ".huggingface.yaml"):
        if (path := _inside(folder, name)) is None or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if name == "README.md":
            head = re.match(r"\s*---\r?\n(.*?)\r?\n---", text, re.DOTALL)
            text = head[1] if head else ""
        told = yaml.safe_load(text)
        configs = told.get("configs") if isinstance(told, dict) else None
        _check_files(str(folder), (text for text in _texts(configs, set()) if "://" in text))


def _texts(value: Any, seen: set[int]) -> Iterator[str]:
    """All texts within a YAML value; a part that stands in many places is looked at once."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and id(value) not in seen:
        seen.add(id(value))
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part, seen)


def _check_files(source: str, files: Iterable[str]) -> None:
    """A dataset's card names its files itself, and may name anything on this machine or another."""
    name = source.removeprefix("hf://").removeprefix("datasets/")
    for file in files:
        if Path(source).is_dir():
            own = "://" not in file and _inside(Path(source), file) is not None
        else:
            own = file.startswith(f"hf://datasets/{name}@")
        if not own:
            raise MuseQuestError(
                f"{source} names the file {file}, which is not its own; mend its README.md."
            )


def _inside(folder: Path, path: str) -> Path | None:
    """A path relative to a folder, or an absolute one, if it leads into that folder."""
    try:
        real = (folder / path).resolve(strict=True)
        return real if real.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # absent, no path at all, a loop of links
        return None


def _rows(split: datasets.Dataset, folder: Path, where: str) -> Iterator[dict[str, Any]]:
    import datasets

    as_stored = datasets.Image(decode=False)
    kinds = {"image": as_stored, **dict.fromkeys((SEVERAL, FURTHER), datasets.List(as_stored))}
    plain = split
    for name in kinds.keys() & {*split.column_names}:
        plain = plain.cast_column(name, kinds[name])
    known = [name for name in TOLD if name in plain.column_names]
    if len(known) < len(TOLD):
        unknown = ", ".join(name for name in TOLD if name not in known)
        LOGGER.warning("%s does not tell %s; left empty.", where, unknown)
    for number, row in enumerate(plain):
        if absent := [name for name in NEEDED[1:4] if row[name] in (None, "")]:
            raise MuseQuestError(f"{where}, row {number} lacks its {absent[0]}; mend the dataset.")
        texts = {name: str(row[name]) for name in NEEDED[1:4]}
        place = f"{where}, row {number} ({texts['data_id']})"
        images = row[SEVERAL] if SEVERAL in row else [row["image"], *(row.get(FURTHER) or ())]
        files = [_photo(image, folder, place) for image in images or [None]]
        first, *further = [{"bytes": file, "path": texts["image_name"]} for file in files]
        yield {
            "image": first,
            **({FURTHER: further} if further else {}),
            **texts,
            "dialog": _dialog(row["dialog"], place, len(files)),
            **dict.fromkeys(TOLD),
            **{name: row[name] for name in known},
        }


def _photo(image: Any, folder: Path, place: str) -> bytes:
    """The photo as it is stored, once it proves to be one; by a path only within the folder."""
    image = image if isinstance(image, dict) else {}
    stored, path = image.get("bytes"), image.get("path")
    try:
        if not stored:
            if not isinstance(path, str) or not path:
                raise MuseQuestError("it is absent")
            if not folder.is_dir():
                raise MuseQuestError(
                    f"it is given by the path {path!r}, so download the dataset first"
                )
            if (real := _inside(folder, path)) is None:
                raise MuseQuestError(f"its path {path!r} leads to no file within {folder}")
            stored = read_photo(real)
        collected_photo(stored, name="it")
    except MuseQuestError as error:
        reason = str(error).rstrip(".")
        raise MuseQuestError(
            f"{place} has no readable photo ({reason}); mend the dataset."
        ) from None
    return stored


def _dialog(text: Any, place: str, photos: int) -> str:
    """The dialog as JSON text: turns of user and assistant, a photo in the first."""
    try:
        dialog = parse_json(text, Any) if isinstance(text, str) else text
        told = {"messages": list(dialog["messages"] if isinstance(dialog, dict) else dialog)}
        turns = told["messages"]
        kinds = [sorted(part["type"] for part in turn["content"]) for turn in turns]
        shown = [kind.count("image") for kind in kinds]
        whole = [turn["role"] for turn in turns] == [*SPEAKERS] * (len(turns) // 2)
        whole = whole and kinds == [["image"] * count + ["text"] for count in shown]
        whole = whole and shown[0] > 0 and not any(shown[1::2]) and sum(shown) == photos
        whole = whole and misfit(told, Dialog) is None
        parts = [part for turn in turns for part in turn["content"]]
        texts = [part.get("text") for part in parts if part["type"] == "text"]
        whole = whole and all(each.strip() and not half_sign_of(each) for each in texts)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise MuseQuestError(
            f"{place}: its dialog is not one question with the photo and one answer, nor several "
            "turns of that kind with the photo in the first; mend it."
            if photos == 1
            else f"{place}: its dialog is not questions and answers in turn that show its {photos} "
            "photos, one or more of them with the first question; mend it."
        )
    return json.dumps(told, ensure_ascii=False)
