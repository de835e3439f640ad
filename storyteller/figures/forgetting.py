"""How long words stay in memory, on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from storyteller.analysis.forgetting import ForgettingCurve
from storyteller.analysis.words import PUNCTUATION
from storyteller.figures.embedding import MARKERS
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, framed, stacked

LAYER_MARKERS = "os^vD"
TICKS = (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)


def draw_forgetting(ax: Axes, record: ForgettingCurve, theme: Theme = LIGHT, layer: int = -1) -> None:
    """The share that is left of what a token wrote, after so many further tokens, on a logarithmic scale."""
    for place, (group, curve) in enumerate(zip(record.groups, record.curves[layer], strict=True)):
        marker, number = MARKERS.get(group, ("x" if group == PUNCTUATION else ".", None))
        color = theme.series[number] if number is not None else theme.ink if group == PUNCTUATION else theme.muted
        ax.plot(record.lags, curve, color=color, marker=marker, markersize=2.8, linewidth=0.8, label=f"{group} ({record.counts[place]:,})")
    ax.axhline(0.5, color=theme.muted, linewidth=0.7, linestyle=(0, (3, 2)))
    least = max(1e-4, float(record.curves.min()) * 0.7)
    ax.set(yscale="log", ylim=(least, 1.3), xlabel="further tokens", ylabel="share that is left")
    ticks = [tick for tick in TICKS if tick >= least]
    ax.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="y")


def draw_group_half_lives(ax: Axes, record: ForgettingCurve, theme: Theme = LIGHT) -> None:
    """Median half-life of every kind of word in every layer, with 95 % intervals."""
    layers = len(record.half_life)
    places = np.arange(len(record.groups))
    finite = record.half_life[np.isfinite(record.half_life)]
    most = float(finite.max(initial=1.0)) * 1.6
    for layer in range(layers):
        values, low, high = (np.minimum(table[layer], most) for table in (record.half_life, record.low, record.high))
        shifted = places + (layer - (layers - 1) / 2) * 0.22
        style = theme.layer(layer)
        ax.errorbar(
            shifted,
            values,
            np.abs(np.stack([values - low, high - values])),
            fmt=LAYER_MARKERS[layer % len(LAYER_MARKERS)],
            color=style["color"],
            markersize=4,
            capsize=2,
            elinewidth=0.9,
            label=f"layer {layer + 1}",
        )
    ax.set_xticks(places, record.groups, rotation=30, ha="right")
    ax.set(ylabel="half-life (tokens)", ylim=(0, most))
    ax.grid(axis="y")
    ax.legend(ncols=layers, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)


def forgetting_figure(record: ForgettingCurve, theme: Theme = LIGHT) -> Page:
    """Curves of every layer, and half-lives."""
    caption = (
        f"{drawable(record.model)}, {record.stories:,} stories. What a token writes into a layer is (1 − zₛ) ⊙ nₛ; later update gates "
        "leave Π z of it. A: the share of its norm that is left, geometric mean over the tokens of a kind (numbers in brackets), dashed = "
        "half. B: median over tokens of the number of further tokens after which half is left, with 95 % bootstrap intervals. Direct path "
        "of each layer only: what a token changes in later candidates and gates is not counted, so a network remembers more than this."
    )
    figure, body = framed("How soon each kind of word fades from memory", caption, 5.9, theme)
    above, below = stacked(body, [3.5, 2.4])
    axes = np.atleast_1d(np.asarray(above.subplots(1, len(record.curves), sharey=True), object))
    for layer, ax in enumerate(axes):
        draw_forgetting(ax, record, theme, layer)
        ax.set_title(f"A  Layer {layer + 1}")
        if layer:
            ax.set_ylabel("")
    handles, labels = axes[0].get_legend_handles_labels()
    above.legend(handles, labels, loc="outside lower center", ncols=5, columnspacing=1.2, handletextpad=0.4)
    ax = below.subplots()
    draw_group_half_lives(ax, record, theme)
    ax.set_title("B  Half-life by kind of word")
    return figure
