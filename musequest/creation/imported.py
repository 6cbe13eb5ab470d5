"""A dataset made elsewhere, such as the published one, as a collection that can be tuned on.

Needed are its columns image, data_id, item_name, image_name and dialog, in the splits train,
validation and test. What it does not tell (which photo a copy was made from, at which temperature a
pair was written, whether a test photo is seen in training) stays unknown and is never guessed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..errors import LOGGER, MuseQuestError
from ..files import write_text
from ..home import collection_dir
from ..locks import holds_collection
from ..tables import table_writer
from .dataset_files import split_path
from .split import SPLITS

if TYPE_CHECKING:
    import datasets

NEEDED = ("image", "data_id", "item_name", "image_name", "dialog")
TOLD = ("source_photo", "augmented", "temperature", "track")


@holds_collection
def collect_dataset(source: str | Path, collection: str) -> dict[str, int]:
    """Write data/<collection>/dataset/ from a dataset's folder or its name on the Hub.

    Photos are kept as they are. Returns rows by split. A split or column that is missing, a row
    without photo or with a dialog that is none, a source that cannot be loaded, or a collection
    with exhibits of its own raises MuseQuestError, and what the collection held before stays.
    """
    if (own := collection_dir(collection) / "exhibits.parquet").is_file():
        raise MuseQuestError(f"{own} shows that the collection has exhibits; choose another name.")
    loaded = _load(str(source))
    for split in SPLITS:
        if split not in loaded:
            raise MuseQuestError(f"{source} has no split '{split}'; it has {', '.join(loaded)}.")
        for name in NEEDED:
            if name not in loaded[split].column_names:
                raise MuseQuestError(f"{source}, split '{split}', lacks the column '{name}'.")
    with ExitStack() as stack:
        for split in SPLITS:
            write = stack.enter_context(table_writer("dataset", split_path(collection, split)))
            for row in _rows(loaded[split], f"{source}, split '{split}'"):
                write(row)
    card = Path(source) / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else f"# Imported from {source}\n"
    write_text(collection_dir(collection) / "dataset/README.md", text)
    return {split: len(loaded[split]) for split in SPLITS}


def _load(source: str) -> datasets.DatasetDict:
    import datasets

    try:
        return datasets.load_dataset(source)
    # Readers of many formats, and the way to the Hub, can raise almost anything.
    except Exception as error:
        told = " ".join(str(error).split())[:300].rstrip(".")
        raise MuseQuestError(
            f"{source} cannot be loaded as a dataset ({told}); check the path or the name."
        ) from None


def _rows(split: datasets.Dataset, where: str) -> Iterator[dict[str, Any]]:
    import datasets

    plain = split.cast_column("image", datasets.Image(decode=False))
    known = [name for name in TOLD if name in plain.column_names]
    if len(known) < len(TOLD):
        unknown = ", ".join(name for name in TOLD if name not in known)
        LOGGER.warning("%s does not tell %s; left empty.", where, unknown)
    for number, row in enumerate(plain):
        if absent := [name for name in NEEDED[1:4] if row[name] in (None, "")]:
            raise MuseQuestError(f"{where}, row {number} lacks its {absent[0]}; mend the dataset.")
        texts = {name: str(row[name]) for name in NEEDED[1:4]}
        place = f"{where}, row {number} ({texts['data_id']})"
        yield {
            "image": {"bytes": _photo(row["image"], place), "path": texts["image_name"]},
            **texts,
            "dialog": _dialog(row["dialog"], place),
            **dict.fromkeys(TOLD),
            **{name: row[name] for name in known},
        }


def _photo(image: dict[str, Any] | None, place: str) -> bytes:
    """The photo as it is stored, once it proves to be one."""
    try:
        stored = (image or {}).get("bytes") or Path((image or {})["path"]).read_bytes()
        with Image.open(io.BytesIO(stored)) as photo:
            photo.verify()
    except (KeyError, TypeError, OSError, SyntaxError, Image.DecompressionBombError):
        raise MuseQuestError(f"{place} has no readable photo; mend the dataset.") from None
    return stored


def _dialog(text: Any, place: str) -> str:
    """The dialog as JSON text: a user's turn with photo and question, and an assistant's."""
    try:
        dialog = json.loads(text) if isinstance(text, str) else text
        user, assistant = dialog["messages"] if isinstance(dialog, dict) else dialog
        kinds = [part["type"] for part in user["content"]]
        answer = assistant["content"][0]["text"]
        whole = (user["role"], assistant["role"], sorted(kinds)) == ("user", "assistant", [
            "image", "text"]) and isinstance(answer, str) and bool(answer.strip())  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError):
        whole = False
    if not whole:
        raise MuseQuestError(
            f"{place}: its dialog is not one question with the photo and one answer; mend it."
        )
    return json.dumps({"messages": [user, assistant]}, ensure_ascii=False)
