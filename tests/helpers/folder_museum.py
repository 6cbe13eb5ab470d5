"""Museums as folders: their exhibits.csv read, changed and made, and what they tell abroad."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

Rows = list[dict[str, str]]
Photos = tuple[int | list[int], int | list[int], int | list[int]]  # how many, or which
Kind = tuple[int, Photos]
# language -> a title, and a sentence with a year
ABROAD = {
    "de": (
        "Die Bucht von Tarn",
        "Die Vase wurde {n} in der Werkstatt von Tarn aus rotem Ton gedreht.",
    ),
    "fr": ("La Baie de Tarn", "Le vase fut tourné en {n} dans un atelier de Tarn en terre rouge."),
    "es": ("La Bahía de Tarn", "El jarrón fue hecho en {n} en un taller de Tarn con barro rojo."),
    "it": ("La Baia di Tarn", "Il vaso fu fatto nel {n} in una bottega di Tarn con argilla rossa."),
    "nl": (
        "De Baai van Tarn",
        "De vaas is in {n} in een werkplaats in Tarn van rode klei gemaakt.",
    ),
    "ru": ("Залив Тарн", "Ваза была сделана в {n} году в мастерской города Тарн из глины."),
    "zh": ("塔恩湾花瓶", "这件花瓶于{n}年在塔恩的作坊里用红色陶土制成。"),
    "ja": ("タルンの花瓶", "この花瓶は{n}年にタルンの工房で赤い粘土から作られた。"),
}


def read_rows(museum: Path) -> Rows:
    with (museum / "exhibits.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(museum: Path, rows: Rows) -> None:
    with (museum / "exhibits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_museum(folder: Path, kinds: list[Kind]) -> Path:
    """A museum of exhibits with photos of noise, listed by split."""
    rng, rows = np.random.default_rng(0), []
    for count, photos_by_split in kinds:
        listed = numbered(photos_by_split)
        for _ in range(count):
            name = f"piece-{len(rows):02d}"
            for number in {number for own in listed for number in own}:
                path = folder / f"photos/{name}/{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                Image.fromarray(noise).save(path)
            photos = [[f"photos/{name}/{number}.png" for number in own] for own in listed]
            rows.append(row(name, photos))
    with (folder / "exhibits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def numbered(photos: Photos) -> list[list[int]]:
    """The numbers of the photos of each split; where only counts are given, one after the other."""
    listed: list[list[int]] = []
    for own in photos:
        first = sum(map(len, listed))
        listed.append(own if isinstance(own, list) else list(range(first, first + own)))
    return listed


def row(name: str, listed: list[list[str]]) -> dict[str, str]:
    text = f"The {name} was made of oak in Tarn. It is {1000 + int(name[-2:])} mm high. "
    more = "The workshop kept its drawings, and a later owner gave it to the museum. "
    columns = ("test_images", "validation_images", "train_images")
    images = {column: "\n".join(own) for column, own in zip(columns, listed, strict=True)}
    return {"item_name": name, "title": f"The {name}", "description": text + more * 4, **images}
