"""How different the stories of one prompt are, on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from storyteller.analysis.diversity import GenerationDiversity
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, framed, stacked
from storyteller.figures.tokens import color_scale

SHARES = (
    ("distinct_1", "distinct-1", 1.0),
    ("distinct_2", "distinct-2", 1.0),
    ("self_bleu", "self-BLEU / 100", 100.0),
    ("repeated_4", "repeated 4-grams", 1.0),
)
TABLE = (
    ("coherence", "perplexity (lower = more coherent)", "perplexity", 1, ""),
    ("coherence", "stories with a drifting name", "drift", 100, " %"),
    ("creativity", "self-BLEU (lower = more varied)", "self_bleu", 1, ""),
    ("creativity", "different words in a story", "distinct_1", 100, " %"),
    ("repetition", "repeated 4-grams in a story", "repeated_4", 100, " %"),
)
MARKERS = ("o", "s", "^", "D")


def draw_measures(ax: Axes, record: GenerationDiversity, theme: Theme = LIGHT) -> None:
    """The measures that lie between 0 and 1, by temperature, with 95 % intervals."""
    places = np.arange(len(record.temperatures))
    for number, (measure, name, scale) in enumerate(SHARES):
        column = record.measures.index(measure)
        mean, low, high = (table[:, column] / scale for table in (record.means, record.low, record.high))
        ax.errorbar(
            places + (number - 1.5) * 0.09,
            mean,
            np.abs(np.stack([mean - low, high - mean])),
            label=name,
            marker=MARKERS[number],
            markersize=4,
            capsize=2,
            elinewidth=0.9,
            linewidth=0.9,
            color=theme.series[number],
        )
    ax.set_xticks(places, [f"{value:g}" for value in record.temperatures])
    ax.set(xlabel="temperature", ylim=(0, 1.02), xlim=(-0.4, len(places) - 0.6), ylabel="share")
    ax.grid(axis="y")
    ax.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2, columnspacing=1.0)


def draw_similarity(ax: Axes, record: GenerationDiversity, theme: Theme = LIGHT) -> None:
    """Matrix: shared word pairs of each two stories, temperature by temperature."""
    samples = len(record.stories[0])
    table = record.similarity.copy()
    np.fill_diagonal(table, np.nan)
    limit = float(np.nanmax(table, initial=0.05))
    image = ax.imshow(table, cmap=theme.sequential, vmin=0, vmax=limit, interpolation="nearest")
    ax.set_facecolor(theme.background)
    for place in range(1, len(record.temperatures)):
        ax.axhline(place * samples - 0.5, color=theme.background, linewidth=1.2)
        ax.axvline(place * samples - 0.5, color=theme.background, linewidth=1.2)
    middles = [(place + 0.5) * samples - 0.5 for place in range(len(record.temperatures))]
    names = [f"{value:g}" for value in record.temperatures]
    ax.set_xticks(middles, names)
    ax.set_yticks(middles, names)
    ax.tick_params(length=0)
    ax.set(xlabel="stories at temperature", ylabel="stories at temperature")
    color_scale(ax, image, "shared word pairs (Jaccard)", pad=0.02, aspect=16, shrink=0.9)


def draw_distribution(ax: Axes, record: GenerationDiversity, measure: str, theme: Theme = LIGHT, *, log: bool = False) -> None:
    """Every story's value, by temperature, over a box of the middle half and a line at the median."""
    values = record.values[measure]
    for row, own in enumerate(values):
        low, middle, high = np.percentile(own, (25, 50, 75))
        ax.fill_between([row - 0.28, row + 0.28], low, high, color=theme.grid, linewidth=0)
        ax.plot([row - 0.28, row + 0.28], [middle, middle], color=theme.ink, linewidth=1.2)
        spread = np.linspace(-0.2, 0.2, len(own)) if len(own) > 1 else np.zeros(1)
        ax.scatter(row + spread, own, s=7, color=theme.series[row % len(theme.series)], marker=MARKERS[row % len(MARKERS)], linewidths=0)
    ax.set_xticks(range(len(values)), [f"{value:g}" for value in record.temperatures])
    ax.set(xlabel="temperature", xlim=(-0.5, len(values) - 0.5))
    if log:
        ax.set_yscale("log")
        ticks = [
            tick
            for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
            if values.min() * 0.6 <= tick <= values.max() * 1.7
        ]
        ax.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.minorticks_off()
    else:
        ax.set_ylim(0, None)
    ax.grid(axis="y")


def draw_table(ax: Axes, record: GenerationDiversity, theme: Theme = LIGHT) -> None:
    """Coherence, creativity and repetition by temperature: means with 95 % intervals."""
    ax.axis("off")
    count = len(record.temperatures)
    first, width = 3.3, 7.2
    step = (width - first) / count
    ax.set(xlim=(0, width), ylim=(len(TABLE) + 0.5, -0.9))
    for place, temperature in enumerate(record.temperatures):
        ax.text(
            first + step * (place + 0.5),
            -0.45,
            f"temperature {temperature:g}" if count < 5 else f"{temperature:g}",
            ha="center",
            va="center",
            fontweight="bold",
        )
    ax.axhline(0, color=theme.muted, linewidth=0.6)
    before = ""
    for row, (kind, name, measure, scale, unit) in enumerate(TABLE):
        column = record.measures.index(measure)
        if kind != before:
            ax.text(0, row + 0.5, kind, va="center", fontweight="bold")
        before = kind
        ax.text(1.0, row + 0.5, name, va="center")
        for place in range(count):
            mean, low, high = (f"{table[place, column] * scale:.3g}" for table in (record.means, record.low, record.high))
            text = f"{mean}{unit} ({low}–{high})" if count < 5 else f"{mean}{unit}"
            ax.text(first + step * (place + 0.5), row + 0.5, text, ha="center", va="center")


def diversity_figure(record: GenerationDiversity, theme: Theme = LIGHT, *, model: str = "") -> Page:
    """Measures, similarity, lengths, perplexities and the table."""
    samples = len(record.stories[0])
    ended = ", ".join(f"{share:.0%}" for share in record.ended)
    seeds = f"seeds {record.seed} to {record.seed + samples - 1}"
    caption = (
        f"{drawable(model)}{': ' if model else ''}{samples} stories from “{drawable(record.prompt)}” at each temperature ({seeds}, at most "
        f"{record.new_tokens} tokens, no truncation; ended by themselves: {ended}). distinct-n: different / all runs of n words of a "
        "story. self-BLEU: BLEU-4 of a story against all others of its temperature (sacrebleu), high = all alike. Repeated 4-grams: share "
        "of a story's runs of four words that say again what it said. Perplexity: exp of the mean surprisal of the told tokens under the "
        "model's own distribution at temperature 1 (geometric means). Drifting name: first seen after a third of the story, as a subject, "
        "unintroduced. B: shared / all word pairs of two stories. C, D: one mark a story, box = middle half, line = median. Brackets and "
        "bars: 95 % bootstrap intervals over stories (Wilson's for the share with a drifting name)."
    )
    figure, body = framed("How different, and how repetitive, the stories are", caption, 6.75, theme)
    above, middle, below = stacked(body, [3.1, 2.15, 1.5])
    left, right = above.subplots(1, 2, width_ratios=[1, 1.15])
    draw_measures(left, record, theme)
    draw_similarity(right, record, theme)
    right.set_title("B  Similarity of each two stories")
    left.set_title("A  Variety and repetition", pad=32)
    lengths, perplexities = middle.subplots(1, 2)
    draw_distribution(lengths, record, "length", theme)
    lengths.set_title("C  Length in tokens")
    draw_distribution(perplexities, record, "perplexity", theme, log=True)
    perplexities.set_title("D  Perplexity of what was told")
    draw_table(below.subplots(), record, theme)
    return figure
