"""The embedding space on paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from storyteller.analysis.embedding import EmbeddingMap
from storyteller.analysis.words import OTHER
from storyteller.figures.placement import label_points
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, elided, framed, stacked

MARKERS = {
    "names": ("D", 0),
    "animals": ("o", 1),
    "family": ("s", 2),
    "feelings": ("^", 3),
    "verbs": ("v", 9),
    "places": ("P", 4),
    "food": ("X", 8),
    "things": ("<", 7),
    "qualities": (">", 5),
    "function": ("*", 6),
}
MOST_LABELS = 220
PICTURED = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}


def draw_embedding(ax: Axes, record: EmbeddingMap, theme: Theme = LIGHT) -> None:
    """The map: every word a mark of its kind, the frequent ones with their names. Settles the figure's layout: draw it last."""
    groups = np.array(record.groups)
    other = groups == OTHER
    if other.any():
        x, y = record.points[other].T
        ax.scatter(x, y, s=5, marker=".", color=theme.muted, alpha=0.45, linewidths=0, label=OTHER)
    colors: dict[str, str] = {}
    for group, (marker, place) in MARKERS.items():
        chosen = groups == group
        colors[group] = theme.series[place]
        if chosen.any():
            x, y = record.points[chosen].T
            ax.scatter(x, y, s=9, marker=marker, color=colors[group], linewidths=0, alpha=0.85, label=group)
    ax.set(xticks=[], yticks=[])
    ax.margins(0.03)
    for spine in ax.spines.values():
        spine.set_visible(True)
    ax.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6, handletextpad=0.1, columnspacing=1.2, borderaxespad=0.2, markerscale=1.4
    )
    if record.explained:
        ax.set(xlabel=f"first component, {record.explained[0]:.1%} of the variance")
        ax.set(ylabel=f"second component, {record.explained[1]:.1%} of the variance")
    named = _by_turns(record.groups)
    texts = [record.words[place] for place in named]
    label_points(
        ax,
        record.points[named],
        texts,
        [theme.readable(colors[groups[place]]) for place in named],
        most=MOST_LABELS,
        size=theme.font_size - 1.5,
    )


def _by_turns(groups: Sequence[str]) -> list[int]:
    """Places of the words of known groups: the most frequent of every group, then the second of every group, and so on."""
    met: Counter[str] = Counter()
    turns = []
    for place, group in enumerate(groups):
        if group != OTHER:
            turns.append((met[group], place))
            met[group] += 1
    return [place for _, place in sorted(turns)]


def draw_neighbours(ax: Axes, record: EmbeddingMap, theme: Theme = LIGHT) -> None:
    """The table of nearest neighbours, each with its cosine."""
    ax.axis("off")
    rows, columns = record.cosines.shape
    ax.set(xlim=(0, columns + 1), ylim=(rows + 0.6, -0.9))
    ax.text(0, -0.5, "word", fontweight="bold", va="center")
    ax.text(1, -0.5, "nearest words, with the cosine between the embeddings", fontweight="bold", va="center")
    ax.axhline(0, color=theme.muted, linewidth=0.6)
    for row, (query, names) in enumerate(zip(record.queries, record.neighbours, strict=True)):
        ax.text(0, row + 0.55, elided(query, 12), va="center", fontweight="bold")
        for column, (name, cosine) in enumerate(zip(names, record.cosines[row], strict=True)):
            ax.text(column + 1, row + 0.55, f"{elided(name, 11)} {cosine:.2f}", va="center")


def embedding_figure(record: EmbeddingMap, theme: Theme = LIGHT) -> Page:
    """Map and table."""
    rows = 0.17 * (len(record.queries) + 1.5)
    method = PICTURED[record.method]
    caption = (
        f"The {len(record.words):,} whole-word tokens of {drawable(record.model)} (word lists first, then the most frequent), "
        f"laid out by {method} of their embeddings"
        + (f" (PCA start, seed {record.seed}). " if record.method == "tsne" else ". ")
        + ("Distances between far-apart groups and their sizes mean nothing here. " if record.method != "pca" else "")
        + f"Trustworthiness {record.trustworthiness:.3f} (neighbourhoods of {record.neighbourhood}; 1 = who is near in the picture is near "
        f"in the embedding); {record.kept:.0%} of each word's {record.neighbourhood} nearest by cosine are among its "
        f"{record.neighbourhood} nearest in the picture. Only labels that find room are written."
    )
    figure, body = framed("Which words the model holds to be alike", caption, 6.3 + rows, theme)
    top, bottom = stacked(body, [6.3, rows])
    ax = top.subplots()
    draw_neighbours(bottom.subplots(), record, theme)
    draw_embedding(ax, record, theme)
    return figure
