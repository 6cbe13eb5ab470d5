"""The one look of all figures: quiet axes, one typeface, colours safe for every reader."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import write_whole
from ..photos import open_photo

INK, QUIET, LINE, PAPER = "#22262b", "#666c75", "#d9dce0", "#ffffff"
DPI = 150
WIDTH = 9.0  # inches
ROUNDED = [round(round(value * 31 / 255) * 255 / 31) for value in range(256)]
TALLEST_PX = 30_000  # Matplotlib cannot draw pictures of 65,536 px and more.

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": QUIET,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
}


class Picture(Figure):
    """A figure that needs no window system: notebooks show it, `save` writes it."""

    def png(self, dpi: int = DPI) -> bytes:
        """The figure as a PNG; the same figure gives the same bytes."""
        dpi = max(20, min(dpi, int(TALLEST_PX / max(self.get_size_inches()))))
        buffer = io.BytesIO()
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            # A title in a script that the typeface lacks shows boxes; that is no reason to stop.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            self.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write the figure as a PNG, whole or not at all."""
        with write_whole(path) as temporary:
            temporary.write_bytes(self.png())
        return Path(path)

    def _repr_png_(self) -> bytes:
        """What a notebook keeps: fewer colours take less space.

        256 are enough for a drawing; photos keep theirs, each channel rounded to 32 levels.
        """
        drawn = open_photo(self.png(dpi=96))
        photos = any(axes.images for axes in self.axes)
        few = drawn.point(ROUNDED * 3) if photos else drawn.quantize(256)
        buffer = io.BytesIO()
        few.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


@contextmanager
def picture(width: float, height: float, **layout: Any) -> Iterator[Picture]:
    """A figure of `width` x `height` inches, to be drawn on inside the block."""
    with mpl.rc_context(STYLE):
        yield Picture(figsize=(width, height), **layout)


def grid_lines(axes: Axes, along: str) -> None:
    """Thin lines at the ticks of one axis, and no frame but the other axis' line."""
    axes.grid(True, axis=along)
    axes.spines["left" if along == "y" else "bottom"].set_visible(False)
