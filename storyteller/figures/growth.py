"""How a model grew up, on paper."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from storyteller.analysis.growth import TrainingGrowth
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, framed, stacked

MOST_SAMPLES = 6
LONGEST = 210
LINE_CHARACTERS = 96


def draw_losses(ax: Axes, record: TrainingGrowth, theme: Theme = LIGHT) -> None:
    """Loss in training and on held-out stories, against tokens read."""
    millions = record.tokens / 1e6
    for values, name, place in ((record.train_loss, "training", 1), (record.valid_loss, "held-out stories", 0)):
        some = np.isfinite(values)
        if some.any():
            ax.plot(millions[some], values[some], marker="o", markersize=2.5, label=name, **theme.layer(place))
    ax.set(xlabel="million tokens read", ylabel="nats per token")
    ax.grid(True)
    ax.legend(loc="upper right")


def draw_samples(ax: Axes, record: TrainingGrowth, theme: Theme = LIGHT) -> None:
    """What was told from the same prompt, at a few moments spread evenly over the evaluations."""
    ax.axis("off")
    lines = _sample_lines(record)
    total = sum(len(text) + 0.5 for _, text in lines)
    ax.set(xlim=(0, 1), ylim=(total, 0))
    line = 0.0
    for title, text in lines:
        ax.text(0, line, title, va="top", fontweight="bold")
        ax.text(0.15, line, "\n".join(text), va="top", linespacing=1.2)
        line += len(text) + 0.5


def growth_figure(record: TrainingGrowth, theme: Theme = LIGHT) -> Page:
    """Losses above, samples below."""
    caption = (
        f"{drawable(record.model)}. Nats per token: mean surprisal −ln p of the tokens, in training (with dropout) and on stories that "
        f"were held out. Samples are those told during the training from “{drawable(record.prompt)}”, each by the model as it was then."
    )
    rows = 0.135 * sum(len(text) + 0.5 for _, text in _sample_lines(record)) + 0.2
    if not any(record.samples):
        figure, body = framed("How the model grew up", caption.partition(" Samples")[0], 2.6, theme)
        draw_losses(body.subplots(), record, theme)
        return figure
    figure, body = framed("How the model grew up", caption, 2.6 + rows, theme)
    above, below = stacked(body, [2.6, rows])
    draw_losses(above.subplots(), record, theme)
    draw_samples(below.subplots(), record, theme)
    return figure


def _sample_lines(record: TrainingGrowth) -> list[tuple[str, list[str]]]:
    told: NDArray[np.int64] = np.flatnonzero([bool(sample) for sample in record.samples])
    chosen = told[np.unique(np.linspace(0, len(told) - 1, min(MOST_SAMPLES, len(told))).round().astype(int))] if len(told) else told
    lines = []
    for place in chosen.tolist():
        text = drawable((record.prompt + record.samples[place]).replace("\n", " ↵ "))
        cut = text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"
        lines.append((f"{record.tokens[place] / 1e6:,.1f} M tokens", textwrap.wrap(cut, LINE_CHARACTERS)))
    return lines
