"""Open any photo a museum may hand over as an 8-bit RGB image, or say why it cannot be used."""

from __future__ import annotations

import errno
import functools
import io
import os
import stat
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from .errors import MuseQuestError
from .files import write_whole

# What Pillow may take a file for, by its content. None of these hands it to another program, as EPS
# does.
FORMATS = ("JPEG", "MPO", "PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000", "AVIF", "HEIF")
SMALLEST_EDGE = 16  # px
MOST_PIXELS = 178_956_970 // 2  # half of where Pillow itself speaks of a bomb
LARGEST_FILE_MIB = 512
# Longest edge of a collected photo, px: as much as any Idefics model looks at.
LONGEST_EDGE = 1536
JPEG_QUALITY = 90
# Of 255, between the lightest and the darkest of 64 x 64 parts of a photo, in the colour that
# differs most. What a covered lens takes stays below it, its noise included; a thing on white that
# fills a part by a tenth does not.
LEAST_CONTRAST = 6
PARTS = 64
# Copies scaled to a third, or saved as JPEG of quality 50, differ from a photo by up to about this
# much; other views of one object by far more.
SAME_BITS = 24  # of 256
SAME_COLOURS = 6.0  # mean difference, of 255


def open_photo(photo: str | Path | bytes, *, name: str = "the photo") -> Image.Image:
    """Return the photo as RGB, upright by its EXIF, first frame only, colours converted to sRGB.

    All of the package opens photos here: by path, or as the bytes of a file, which messages call
    `name`. Transparent parts become white. A photo that is missing, empty, truncated, no plain file
    (a FIFO, a device), no image of FORMATS, smaller than 16 px, of more than some 89 million
    pixels or larger than 512 MiB raises MuseQuestError; where too many files are
    open, it is an OSError.
    """
    name = name if isinstance(photo, bytes) else str(photo)
    content = photo if isinstance(photo, bytes) else read_photo(photo)
    _check_bytes(len(content), name)
    try:
        with warnings.catch_warnings():
            # Pillow warns of many harmless oddities (such as damaged EXIF); a bomb is not one.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_formats()) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                if min(width, height) < SMALLEST_EDGE:
                    raise MuseQuestError(
                        f"{name} is only {width} x {height} px; use a photo of {SMALLEST_EDGE} px "
                        "or more."
                    )
                return _plain(image)
    except MuseQuestError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise MuseQuestError(
            f"{name} claims more than {MOST_PIXELS:,} pixels, as a decompression bomb would; "
            "save a smaller copy of it."
        ) from None
    except UnidentifiedImageError:
        raise MuseQuestError(
            f"{name} is not an image of a known format; save it as JPEG or PNG."
        ) from None
    # A damaged file can make the decoders raise almost anything.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise MuseQuestError(
            f"{name} is truncated or damaged ({reason}); copy the photo again."
        ) from None


def read_photo(path: str | Path) -> bytes:
    """Return the bytes of a photo's file, refused on the same grounds as `open_photo` does."""
    absent = f"{path} does not exist as a file; add the photo, or correct its path."
    # Whoever opens a FIFO waits for its other end, unless told not to.
    at_once = getattr(os, "O_NONBLOCK", 0)
    try:
        with open(path, "rb", opener=lambda name, how: os.open(name, how | at_once)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise MuseQuestError(absent)
            _check_bytes(found.st_size, str(path))
            return file.read()
    except PermissionError:
        raise MuseQuestError(f"{path} may not be read; give this user the right to it.") from None
    except (OSError, ValueError) as error:
        told = getattr(error, "errno", None)
        if told in (errno.EMFILE, errno.ENFILE):  # no fault of the photo: no other would open
            raise
        if told == errno.EIO:
            raise MuseQuestError(f"{path} is damaged on its disk; copy the photo again.") from None
        raise MuseQuestError(absent) from None


def _check_bytes(size: int, name: str) -> None:
    if size == 0:
        raise MuseQuestError(f"{name} is empty; copy the photo again.")
    if size > LARGEST_FILE_MIB * 2**20:
        raise MuseQuestError(
            f"{name} takes more than {LARGEST_FILE_MIB} MiB; save a smaller copy of it."
        )


def prepared_photo(photo: str | Path | bytes) -> Image.Image:
    """The photo as a docent is shown it: opened by `open_photo`, at most 1536 px long or wide."""
    return _small(open_photo(photo))


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((LONGEST_EDGE, LONGEST_EDGE), reducing_gap=3.0)
    return image


def collected_photo(photo: str | Path | bytes, *, name: str = "the photo") -> Image.Image:
    """The photo of an exhibit, as `prepared_photo` gives it.

    One that shows nothing, but is all black or of one colour, raises MuseQuestError, as do those
    that `open_photo` refuses.
    """
    image = open_photo(photo, name=name)
    parts = np.asarray(image.resize((PARTS, PARTS), Image.Resampling.BOX), dtype=int)
    if np.ptp(parts, axis=(0, 1)).max() < LEAST_CONTRAST:
        name = name if isinstance(photo, bytes) else str(photo)
        raise MuseQuestError(
            f"{name} shows nothing, for it is of one colour all over; take the photo again."
        )
    return _small(image)


def save_photo(image: Image.Image, path: str | Path) -> None:
    """Write an RGB image as JPEG of quality 90 without metadata, whole or not at all."""
    with write_whole(path) as temporary:
        image.save(temporary, format="JPEG", quality=JPEG_QUALITY)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with, loaded."""
    Image.init()
    pillow_heif.register_heif_opener(thumbnails=False)
    return tuple(name for name in FORMATS if name in Image.OPEN)


@functools.cache
def photo_suffixes() -> frozenset[str]:
    """Return how the names of files in these formats end, in small letters: ".jpg", ".heic"."""
    formats, known = _formats(), Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in formats)


def _plain(image: Image.Image) -> Image.Image:
    """The first frame, upright, on white, in 8 bits of sRGB."""
    image.seek(0)
    image.load()
    # Read before anything below makes a copy that no longer carries it.
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    if profile and image.mode in ("RGB", "CMYK"):
        with suppress(OSError, ImageCms.PyCMSError, ValueError):  # one that cannot be read
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, own, srgb, outputMode="RGB") or image
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float greys to 0..255, where Pillow alone would clip them white."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    peak, white = values.max(), 65535.0
    if not image.mode.startswith("I;16") and peak <= 255:
        white = 1.0 if image.mode == "F" and peak <= 1 else 255.0
    scaled = np.clip(values / max(white, peak), 0, 1) * 255
    return Image.fromarray(scaled.round().astype(np.uint8))


@dataclass(frozen=True)
class Likeness:
    """What of a photo survives scaling, re-encoding and slight blur."""

    bits: np.ndarray  # shape (256,) bool: the perceptual hash of its greys
    colours: np.ndarray  # shape (192,) float: its colours at 8 x 8 px, 0 to 255


def likeness(image: Image.Image) -> Likeness:
    """Return the likeness of an RGB photo: its `imagehash.phash`, and its colours.

    These are the signs of its lowest frequencies, which know no colour (Zauner 2010,
    "Implementation and Benchmarking of Perceptual Image Hash Functions").
    """
    small = image.convert("RGB").resize((8, 8), Image.Resampling.BOX)
    bits = imagehash.phash(image, hash_size=16).hash.ravel()
    return Likeness(bits, np.asarray(small, dtype=np.float32).ravel())


def same_photo(first: Likeness, second: Likeness) -> bool:
    """Whether two likenesses are so close that they are of one photo."""
    bits = np.count_nonzero(first.bits != second.bits)
    colours = np.abs(first.colours - second.colours).mean()
    return bool(bits <= SAME_BITS and colours <= SAME_COLOURS)
