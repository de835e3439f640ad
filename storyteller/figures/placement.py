"""Labels beside points: as many as fit without touching each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from storyteller.figures.theme import drawable, settle

# Where a label may stand, in units of its own size and of the gap: right, left, above, below, and between these.
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
GAP = 2.0
PADDING = 1.2


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float


def label_points(
    ax: Axes,
    points: NDArray[np.float64],
    texts: Sequence[str],
    colors: Sequence[Any],
    *,
    most: int,
    size: float,
    obstacles: NDArray[np.float64] | None = None,
) -> list[Text]:
    """Write ``texts[i]`` beside ``points[i]``, the first ones first, until ``most`` stand; one that finds no room is left out.

    A label lies within the axes, touches no other label, and covers none of ``obstacles`` (data coordinates, at most a few hundred).
    The figure's layout is settled by this and stays as it is, so this comes last.
    """
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    settle(figure)
    renderer: Any = canvas.get_renderer()  # type: ignore[no-untyped-call]
    unit = figure.dpi / 72
    gap, padding = GAP * unit, PADDING * unit
    area = ax.get_window_extent(renderer)
    places = ax.transData.transform(points)
    marks = ax.transData.transform(points if obstacles is None else obstacles)
    taken = np.zeros((0, 4))
    written: list[Text] = []
    probe = ax.text(0, 0, "", fontsize=size)
    for place, text, color in zip(places, texts, colors, strict=True):
        if len(written) == most:
            break
        probe.set_text(drawable(text))
        extent = probe.get_window_extent(renderer)
        for across, up in SIDES:
            box = _beside(place, across, up, extent.width, extent.height, gap)
            if _free(box, area, taken, marks, padding):
                taken = np.vstack([taken, [box.left - padding, box.bottom - padding, box.right + padding, box.top + padding]])
                x, y = ax.transData.inverted().transform((box.left, box.bottom))
                written.append(ax.text(x, y, drawable(text), color=color, fontsize=size, ha="left", va="bottom", clip_on=False))
                break
    probe.remove()
    return written


def _beside(place: NDArray[np.float64], across: int, up: int, width: float, height: float, gap: float) -> _Box:
    left = place[0] + (gap if across > 0 else -gap - width if across < 0 else -width / 2)
    bottom = place[1] + (gap if up > 0 else -gap - height if up < 0 else -height / 2)
    return _Box(left, bottom, left + width, bottom + height)


def _free(box: _Box, area: Any, taken: NDArray[np.float64], marks: NDArray[np.float64], padding: float) -> bool:
    if box.left < area.x0 or box.right > area.x1 or box.bottom < area.y0 or box.top > area.y1:
        return False
    if len(taken) and bool(
        (
            (taken[:, 0] < box.right + padding)
            & (taken[:, 2] > box.left - padding)
            & (taken[:, 1] < box.top + padding)
            & (taken[:, 3] > box.bottom - padding)
        ).any()
    ):
        return False
    covered = (marks[:, 0] > box.left) & (marks[:, 0] < box.right) & (marks[:, 1] > box.bottom) & (marks[:, 1] < box.top)
    return not bool(covered.any())
