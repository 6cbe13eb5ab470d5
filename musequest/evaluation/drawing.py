"""What all figures share: one quiet look, rows of systems, labels beside their points."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, offset_copy

from ..core.files import write_whole
from ..core.photos import open_photo
from ..systems.registry import system

INK, QUIET, LINE, PAPER = "#22262b", "#666c75", "#d9dce0", "#ffffff"
DPI = 150
WIDTH = 9.0  # inches
ROUNDED = [round(round(value * 31 / 255) * 255 / 31) for value in range(256)]
TALLEST_PX = 30_000  # Matplotlib cannot draw pictures of 65,536 px and more.
# points: from a point to its label, half a marker's edge, up or down; how many of these
BESIDE, MARKER, STEP, STEPS = 7, 4, 4, 12
Label = tuple[float, float, str]  # of a point: x, y in the axes' data, text

STYLE: dict[Any, Any] = {
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
    "axes.titley": 1.0,  # else it is looked for at each drawing
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
        before, buffer = self.dpi, io.BytesIO()
        self.dpi = max(20, min(dpi, int(TALLEST_PX / max(self.get_size_inches()))))
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            # A title in a script that the typeface lacks shows boxes; that is no reason to stop.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            # `savefig` would draw it twice, the first time only for its layout.
            FigureCanvasAgg(self).print_png(buffer, metadata={"Software": None})
        self.dpi = before
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


def head(figure: Picture, title: str) -> None:
    """The figure's title, at the left."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")


def grid_lines(axes: Axes, along: Literal["x", "y"]) -> None:
    """Thin lines at the ticks of one axis, and no frame but the other axis' line."""
    axes.grid(True, axis=along)
    axes.spines["left" if along == "y" else "bottom"].set_visible(False)


def system_rows(panels: Sequence[Axes], names: Sequence[str], titles: Sequence[str]) -> None:
    """A row a system, one unit high, the first on top, in panels that share them.

    Call it when the rows are drawn. What the panels share is set once.
    """
    panels[0].set_yticks(range(len(names)), [system(name).label for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
        grid_lines(axes, "x")
        place = axes.get_subplotspec()
        axes.yaxis.set_visible(place is None or place.is_first_col())


def note(axes: Axes, text: str, x: float, y: float, shift: int, **look: Any) -> None:
    """Write a number `shift` points to the right of a point, or to the left; the axes have room.

    As the layout has nothing to move for it, it is not measured there.
    """
    beside = offset_copy(axes.transData, axes.get_figure(root=True), x=shift, units="points")
    side = "left" if shift > 0 else "right"
    axes.text(x, y, text, ha=side, va="center", transform=beside, in_layout=False, **look)


def label_points(figure: Picture, panels: Sequence[tuple[Axes, Sequence[Label]]]) -> None:
    """Write each panel's labels, each as near to its point as there is room.

    None is printed over another, or over a point; one that stands above or below is led to by a
    thin line. Call it when all else is drawn.
    """
    figure.draw_without_rendering()  # Only then is it known where the axes lie.
    half = MARKER * figure.dpi / 72
    for axes, labels in panels:
        points = (axes.transData.transform((x, y)) for x, y, _ in labels)
        taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in points]
        for label in labels:
            taken.append(_write(axes, label, taken))


def _write(axes: Axes, label: Label, taken: Sequence[Bbox]) -> Bbox:
    """Write a label at the first free place, from the nearest on; where it stands, in px."""
    x, y, text = label
    written = axes.annotate(
        text, (x, y), (0, 0), textcoords="offset points", va="center", fontsize=6.5, color=QUIET
    )
    written.set_in_layout(False)
    shifts = [0, *(step * STEP * way for step in range(1, STEPS) for way in (1, -1))]
    for shift, side in itertools.product(shifts, (1, -1)):  # to the right, to the left
        written.set(position=(BESIDE * side, shift), ha="left" if side > 0 else "right")
        box = written.get_window_extent()
        inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        if inside and not any(box.overlaps(other) for other in taken):
            break
    if shift:
        axes.annotate(
            "", (x, y), written.get_position(), textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": QUIET, "lw": 0.5, "shrinkB": MARKER},
        ).set_in_layout(False)  # fmt: skip
    return box
