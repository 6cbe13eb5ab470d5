"""Any photo becomes an upright 8-bit RGB image, or a sentence."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_photo
from PIL import Image, ImageCms, ImageDraw

from musequest.core import photos
from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.core.photos import (
    collected_photo,
    likeness,
    open_photo,
    read_photo,
    same_photo,
    save_photo,
)

# Four plain quarters, 40 x 30 px: red, green / blue, grey.
COLOURS = [[(200, 30, 30), (30, 160, 60)], [(40, 60, 200), (128, 128, 128)]]


def quarters() -> Image.Image:
    return Image.fromarray(np.repeat(np.repeat(np.uint8(COLOURS), 15, 0), 20, 1))


def corner(image: Image.Image, x: int = 3, y: int = 3) -> tuple[int, ...]:
    return image.getpixel((x, y))


def saved(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def near(colour: tuple[int, ...], expected: tuple[int, ...], by: int = 12) -> bool:
    return len(colour) == 3 and all(abs(a - b) <= by for a, b in zip(colour, expected, strict=True))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.bmp", "a.gif"])
def test_common_formats_open_as_rgb(tmp_path: Path, name: str):
    image = open_photo(saved(quarters(), tmp_path / name))
    assert image.mode == "RGB" and image.size == (40, 30)
    assert near(corner(image), (200, 30, 30), by=25)


def test_cmyk_keeps_its_colours(tmp_path: Path):
    image = open_photo(saved(quarters().convert("CMYK"), tmp_path / "a.jpg", quality=95))
    assert near(corner(image), (200, 30, 30), by=25) and near(corner(image, 35, 25), (128,) * 3)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str):
    greys = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    image = open_photo(saved(Image.fromarray(greys), tmp_path / f"a.{suffix}"))
    values = np.asarray(image)[..., 0].astype(int)
    assert abs(values - greys // 257).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_float_photos_are_scaled(tmp_path: Path, white: float):
    greys = np.linspace(0, white, 40 * 30).reshape(30, 40).astype(np.float32)
    values = np.asarray(open_photo(saved(Image.fromarray(greys), tmp_path / "a.tiff")))
    assert values.min() == 0 and values.max() == 255 and abs(values.mean() - 127.5) < 2


def test_exif_rotation_is_applied(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its left side
    image = open_photo(saved(quarters(), tmp_path / "a.jpg", exif=exif, quality=95))
    assert image.size == (30, 40) and near(corner(image), COLOURS[1][0])


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, name: str):
    frames = [quarters(), Image.new("RGB", (40, 30), "white")]
    path = saved(frames[0], tmp_path / name, save_all=True, append_images=frames[1:], duration=90)
    image = open_photo(path)
    assert image.mode == "RGB" and near(corner(image), (200, 30, 30), by=25)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(tmp_path: Path, mode: str):
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    assert corner(open_photo(saved(clear.convert(mode), tmp_path / "a.png"))) == (255, 255, 255)


def test_another_colour_profile_is_followed(tmp_path: Path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Red and blue primaries change places, as no camera has them: red must come out as blue.
    swapped = srgb.replace(b"rXYZ", b"-XYZ").replace(b"bXYZ", b"rXYZ").replace(b"-XYZ", b"bXYZ")
    red = Image.new("RGB", (40, 30), (200, 30, 30))
    for profile, expected in ((srgb, red), (b"nonsense", red), (swapped, None)):
        colour = corner(open_photo(saved(red, tmp_path / "a.png", icc_profile=profile)))
        assert near(colour, corner(expected) if expected else (30, 30, 200))


def broken_files() -> dict[str, tuple[bytes, str]]:
    """File name -> content and what the sentence must say."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    files = {}
    for suffix, kind in (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("gif", "GIF")):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, kind)
        cut = buffer.getvalue()[: len(buffer.getvalue()) // 2]
        files[f"truncated.{suffix}"] = (cut, "is truncated or damaged .*copy the photo again")
    files["empty.jpg"] = (b"", "is empty; copy the photo again")
    files["page.jpg"] = (b"<html><body>404</body></html>", "is not an image of a known format")
    files["header.jpg"] = (b"\xff\xd8\xff\xe0", "is (not an image|truncated)")
    # PostScript would be handed to another program.
    files["drawing.png"] = (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image")
    return files


@pytest.mark.parametrize("name", list(broken_files()))
def test_a_broken_photo_is_a_sentence_that_names_it(tmp_path: Path, name: str):
    content, sentence = broken_files()[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MuseQuestError, match=f"{name} {sentence}") as caught:
        open_photo(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_photo_is_a_sentence(tmp_path: Path):
    with pytest.raises(MuseQuestError, match=r"none.jpg does not exist"):
        open_photo(tmp_path / "none.jpg")
    with pytest.raises(MuseQuestError, match=r"does not exist"):
        open_photo(tmp_path)


@pytest.mark.parametrize("edge", [10_000, 20_000])
def test_a_decompression_bomb_is_refused_unread(tmp_path: Path, edge: int):
    path = saved(Image.new("1", (edge, edge)), tmp_path / "bomb.png")
    assert path.stat().st_size < 100_000
    with pytest.raises(MuseQuestError, match=r"bomb.png claims more than 89,478,485 pixels"):
        open_photo(path)


def test_the_limits_of_size_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved(quarters(), tmp_path / "a.png")
    monkeypatch.setattr(photos, "MOST_PIXELS", 1200)
    assert open_photo(path).size == (40, 30)
    monkeypatch.setattr(photos, "MOST_PIXELS", 1199)
    with pytest.raises(MuseQuestError, match="claims more than 1,199 pixels"):
        open_photo(path)
    monkeypatch.undo()
    with pytest.raises(MuseQuestError, match="is only 15 x 30 px"):
        open_photo(saved(quarters().crop((0, 0, 15, 30)), tmp_path / "b.png"))


def test_saved_photos_carry_no_metadata_and_are_the_same_each_time(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E] = "secret"
    image = open_photo(saved(quarters(), tmp_path / "a.jpg", exif=exif))
    for name in ("b.jpg", "c.jpg"):
        save_photo(image, tmp_path / name)
    assert (tmp_path / "b.jpg").read_bytes() == (tmp_path / "c.jpg").read_bytes()
    with Image.open(tmp_path / "b.jpg") as written:
        assert not written.getexif()


def test_scaled_and_recompressed_copies_are_recognised_and_other_views_are_not():
    photo = draw_photo("ellipse", (60, 110, 200), 0)
    smooth = photo.resize((120, 90))
    buffer = io.BytesIO()
    smooth.resize((90, 68)).save(buffer, "JPEG", quality=60)
    assert same_photo(likeness(smooth), likeness(Image.open(buffer)))
    for kind, colour, view in (("ellipse", (60, 110, 200), 5), ("ellipse", (200, 40, 40), 0),
                               ("triangle", (60, 110, 200), 0)):  # fmt: skip
        assert not same_photo(likeness(photo), likeness(draw_photo(kind, colour, view)))


def test_bytes_are_opened_as_a_file_is_and_bear_a_name(tmp_path: Path):
    greys = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    path = saved(Image.fromarray(greys), tmp_path / "a.png")
    assert open_photo(path.read_bytes()).tobytes() == open_photo(path).tobytes()
    for name, (content, sentence) in broken_files().items():
        with pytest.raises(MuseQuestError, match=f"row 7 {sentence}"):
            open_photo(content, name="row 7")
        (tmp_path / name).write_bytes(content)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("/dev/zero")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name in ("pipe.jpg", "link.jpg", "loop.jpg", "nul\0.jpg", "/dev/zero"):
        for read in (open_photo, read_photo):
            with pytest.raises(MuseQuestError, match="does not exist as a file"):
                read(tmp_path / name)


def test_a_file_beyond_all_bounds_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(photos, "LARGEST_FILE_MIB", 1)
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(2**20 + 1)
    for read in (open_photo, read_photo):
        with pytest.raises(MuseQuestError, match="a.jpg takes more than 1 MiB"):
            read(tmp_path / "a.jpg")


def test_no_other_module_opens_an_image():
    own = root() / "musequest"
    opening = re.compile(r"\bImage\.open\(|\bimread\(|\bImageFile\b|\bload_img\(")
    modules = {path for path in own.rglob("*.py") if opening.search(path.read_text())}
    assert modules == {own / "core/photos.py"}


def covered_lens() -> Image.Image:
    """Black but for the noise of a sensor."""
    noise = np.random.default_rng(0).normal(4, 4, (600, 800, 3))
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("made", ["black", "white", "red", "transparent", "covered lens"])
def test_a_photo_that_shows_nothing_is_opened_but_not_collected(tmp_path: Path, made: str):
    path = tmp_path / "a.png"
    if made == "covered lens":
        covered_lens().save(path)
    elif made == "transparent":
        Image.new("RGBA", (40, 30), (9, 200, 9, 0)).save(path)
    else:
        Image.new("RGB", (400, 300), made).save(path)
    assert open_photo(path).mode == "RGB"
    with pytest.raises(MuseQuestError, match=r"a\.png shows nothing, .*take the photo again"):
        collected_photo(path)
    with pytest.raises(MuseQuestError, match="^it shows nothing"):
        collected_photo(path.read_bytes(), name="it")


@pytest.mark.parametrize(
    ("ground", "thing", "box"),
    [
        ("white", (238, 238, 236), (500, 300, 1100, 900)),  # porcelain on white
        ("white", (30, 30, 30), (795, 595, 806, 606)),  # a pin
        ("white", (120, 120, 120), (200, 600, 1400, 601)),  # a thread
        ("black", (14, 12, 10), (300, 200, 1300, 1000)),  # in the dark
        ((128, 128, 128), (140, 128, 116), (300, 200, 1300, 1000)),  # of no other brightness
    ],
)
def test_a_faint_or_small_thing_on_an_even_ground_is_collected(tmp_path: Path, ground, thing, box):
    photo = Image.new("RGB", (1600, 1200), ground)
    ImageDraw.Draw(photo).rectangle(box, fill=thing)
    photo.save(tmp_path / "a.jpg", quality=90)
    assert collected_photo(tmp_path / "a.jpg").size == (1536, 1152)
