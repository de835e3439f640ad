"""Whether the model still knows its hero, on paper."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes

from storyteller.analysis.heroes import NameTracking
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, elided, framed, stacked

LONGEST_TEXT = 900
MOST_TICKS = 48


def draw_names(ax: Axes, record: NameTracking, theme: Theme = LIGHT) -> None:
    """The probability of the hero's name and of the likeliest other at each place where a name could come."""
    x = np.arange(len(record.places))
    ax.plot(x, record.hero_probability, color=theme.series[0], linewidth=0.9, label=f"{record.hero}, the hero")
    ax.plot(x, record.rival_probability, color=theme.series[1], linewidth=0.9, linestyle=(0, (4, 1.5)), label="likeliest other name")
    said = np.array([name == record.hero for name in record.said], bool)
    other = np.array([bool(name) and name != record.hero for name in record.said], bool)
    ax.scatter(x[said], record.hero_probability[said], s=16, color=theme.series[0], linewidths=0, label="the hero is named", zorder=3)
    ax.scatter(
        x[other], record.rival_probability[other], s=20, marker="X", color=theme.series[1], linewidths=0, label="another is named", zorder=3
    )
    step = -(-len(x) // MOST_TICKS)
    labels = [f"{elided(name or '–', 10)}{' !' if name in record.drifts else ''}" for name in record.said]
    ax.set_xticks(x[::step], labels[::step], rotation=90, fontsize=theme.font_size - 1)
    ax.set(
        ylim=(0, 1.02),
        xlim=(-0.7, len(x) - 0.3),
        ylabel="probability",
        xlabel="places where a name could come, in order (– = none was said)",
    )
    ax.grid(axis="y")
    ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2, columnspacing=1.2)


def names_figure(record: NameTracking, theme: Theme = LIGHT) -> Page:
    """The text, and the names over it."""
    text = drawable(record.text.replace("\n", " ↵ "))
    cut = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT].rsplit(" ", 1)[0] + " …"
    lines = textwrap.wrap(cut, 112)
    drifts = ", ".join(dict.fromkeys(record.drifts)) or "none"
    caption = (
        f"{drawable(record.model)}. A place counts if a name stands there or names together have a probability of 5 % or more. Solid: the "
        f"probability of “{drawable(record.hero)}”; dashed: of the likeliest other name that is a single token. A cross above the line is "
        "where the model takes the story away from its hero, and how sure it is of that. Names that drift in (marked !), first seen after "
        f"a third of the story as a subject and without an introduction: {drawable(drifts)}."
    )
    rows = 0.15 * len(lines) + 0.12
    figure, body = framed(f"Does the model remember {record.hero}?", caption, rows + 3.0, theme)
    above, below = stacked(body, [rows, 3.0])
    above.text(0.1 / 7.2, 0.97, "\n".join(lines), va="top", ha="left", style="italic", linespacing=1.25)
    draw_names(below.subplots(), record, theme)
    return figure
