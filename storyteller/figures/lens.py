"""The logit lens, on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from storyteller.analysis.lens import LogitLens
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, elided, framed
from storyteller.figures.tokens import color_scale, token_ticks

MOST_TOKENS = 32
LONGEST = 8


def draw_lens(ax: Axes, record: LogitLens, theme: Theme = LIGHT) -> None:
    """Each layer (rows) after each token (columns): its likeliest next token, the colour its probability; the last 32 tokens."""
    first = max(0, len(record.tokens) - MOST_TOKENS)
    values = record.probabilities[::-1, first:]
    image = ax.imshow(values, cmap=theme.sequential, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for row, labels in enumerate(record.top[::-1]):
        for column, label in enumerate(labels[first:]):
            color = "#000000" if values[row, column] > 0.5 else "#ffffff"
            ax.text(column, row, elided(label, LONGEST), rotation=90, ha="center", va="center", color=color, fontsize=theme.font_size - 1.5)
    layers = len(record.top)
    ax.set_yticks(range(layers), [f"layer {layers - row}" for row in range(layers)])
    token_ticks(ax, record.tokens[first:], theme)
    ax.set_xlabel("token that was read")
    color_scale(ax, image, "probability", pad=0.01, aspect=14)


def draw_divergence(ax: Axes, record: LogitLens, theme: Theme = LIGHT) -> None:
    """How far each lower layer's distribution is from the top layer's."""
    first = max(0, len(record.tokens) - MOST_TOKENS)
    for layer, values in enumerate(record.divergence[:-1]):
        ax.plot(np.arange(len(values) - first), values[first:], label=f"layer {layer + 1}", **theme.layer(layer))
    ax.set(ylabel="KL (nats)", ylim=(0, None), xlim=(-0.5, len(record.tokens) - first - 0.5))
    token_ticks(ax, record.tokens[first:], theme)
    ax.grid(axis="y")
    if len(record.divergence) > 1:
        ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)


def lens_figure(record: LogitLens, theme: Theme = LIGHT) -> Page:
    """What the layers would say, and how far they are from the last word."""
    layers = len(record.top)
    caption = (
        f"{drawable(record.model)}. Each layer's state is put through the model's output layer as if it were the top one; the cell holds "
        "the token that would be likeliest next, coloured by its probability. Below: Kullback–Leibler divergence of a layer's distribution "
        "from that of the top layer, 0 = the same. Only the top layer was trained to be read out like this: a lower layer may know more "
        "than this shows, in a code of its own. Long texts are cut to their last 32 tokens."
    )
    heights = [0.75 * layers + 0.75, 1.7] if layers > 1 else [1.6]
    figure, body = framed("What each layer would say next", caption, sum(heights), theme)
    axes = np.atleast_1d(np.asarray(body.subplots(len(heights), 1, height_ratios=heights), object))
    draw_lens(axes[0], record, theme)
    axes[0].set_title("A  Likeliest next token, layer by layer")
    if layers > 1:
        draw_divergence(axes[1], record, theme)
        axes[1].set_title("B  Distance from the top layer")
    return figure
