"""Axes whose ticks are tokens, and the scale of a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from storyteller.figures.theme import Theme, elided

MOST_TICKS = 64
LONGEST_LABEL = 11


def token_ticks(
    ax: Axes, tokens: Sequence[str], theme: Theme, *, axis: str = "x", size: float | None = None, most: int = MOST_TICKS
) -> None:
    """A tick for each token, or for every second, third … where more than ``most`` would stand; labels are cut to 11 characters."""
    step = -(-len(tokens) // most)
    places = list(range(0, len(tokens), step))
    labels = [elided(tokens[place], LONGEST_LABEL) for place in places]
    size = theme.font_size - 1 if size is None else size
    if axis == "x":
        ax.set_xticks(places, labels, rotation=90, fontsize=size)
        ax.tick_params(axis="x", length=1.5, pad=1)
    else:
        ax.set_yticks(places, labels, fontsize=size)
        ax.tick_params(axis="y", length=1.5, pad=1)


def color_scale(ax: Axes | list[Axes], image: AxesImage, label: str, **more: Any) -> None:
    """The scale of ``image``, beside ``ax``, or several of them."""
    figure = (ax[0] if isinstance(ax, list) else ax).get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=ax, **more)
    bar.set_label(label)
    bar.ax.spines[:].set_visible(False)
