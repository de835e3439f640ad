"""Which past tokens a prediction comes from, on paper."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from storyteller.analysis.importance import TokenImportance, mean_share, signed_shares
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, elided, framed, stacked
from storyteller.figures.tokens import color_scale, token_ticks

NAMES = {
    "gradient": "Gradient × input",
    "integrated": "Integrated gradients",
    "occlusion": "Occlusion",
    "retention": "Retention",
}
MEANINGS = {
    "gradient": "gradient × input: the logit's slope along each embedding; first order, misses what saturates",
    "integrated": "integrated gradients: the slope averaged on the way from empty embeddings; sums to the change of the logit",
    "occlusion": "occlusion: the logit lost when one embedding is emptied; tokens that stand in for each other both get little",
    "retention": "retention: the top layer's state split exactly into what each token wrote and later gates left; its direct path only",
}
HATCHES = ("", "////", "....", "xxxx")
Which = Literal["trained", "control"]


def draw_importance_map(
    ax: Axes, record: TokenImportance, method: str, theme: Theme = LIGHT, *, which: Which = "trained", ticks: bool = True
) -> AxesImage:
    """Heat map: each row a prediction, each column a token read before it, the colour its signed share of the row's Σ|a|."""
    shares = (record.shares(method) if which == "trained" else signed_shares(record.control_maps[method]))[:, : len(record.tokens)]
    unread = np.asarray(record.places)[:, None] < np.arange(shares.shape[1])
    limit = color_limit(record)
    image = ax.imshow(
        np.ma.masked_array(shares, unread), cmap=theme.diverging(), vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    ax.set_facecolor(theme.grid)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if ticks:
        token_ticks(ax, record.tokens, theme, most=32)
        token_ticks(ax, record.targets, theme, axis="y", most=32)
    else:
        ax.set(xticks=[], yticks=[])
    return image


def color_limit(record: TokenImportance) -> float:
    """Where the colours of all maps end: the 98th percentile of |share|."""
    read = np.asarray(record.places)[:, None] >= np.arange(len(record.tokens))
    values = np.concatenate([np.abs(record.shares(method)[:, : len(record.tokens)][read]) for method in record.methods])
    return float(np.quantile(values, 0.98)) or 1.0


def draw_strips(ax: Axes, record: TokenImportance, theme: Theme = LIGHT) -> None:
    """The last prediction alone, a row for each method: for contrasts."""
    values = np.stack([record.shares(method)[-1, : len(record.tokens)] for method in record.methods])
    limit = float(np.abs(values).max()) or 1.0
    ax.imshow(values, cmap=theme.diverging(), vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    ax.set_yticks(range(len(values)), [NAMES[method] for method in record.methods])
    token_ticks(ax, record.tokens, theme)


def draw_influence(ax: Axes, record: TokenImportance, theme: Theme = LIGHT) -> None:
    """Bars: each token's mean share, by method; initial state and bias, which only retention has, are bars of their own."""
    count = len(record.tokens)
    width = 0.8 / len(record.methods)
    for place, method in enumerate(record.methods):
        heights = record.influence(method)
        if method == "retention":
            heights = np.append(heights, mean_share(record.shares(method)[:, count:], [count] * len(record.places)))
        ax.bar(
            np.arange(len(heights)) + (place - (len(record.methods) - 1) / 2) * width,
            heights,
            width,
            color=theme.series[place],
            hatch=HATCHES[place],
            edgecolor=theme.background,
            linewidth=0,
            label=NAMES[method],
        )
    ax.axvline(count - 0.5, color=theme.muted, linewidth=0.6)
    ax.set(ylabel="mean share |a| / Σ|a|", xlim=(-0.6, count + 1.6))
    token_ticks(ax, (*record.tokens, "initial", "bias"), theme)
    ax.grid(axis="y")
    ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, handlelength=1.4, columnspacing=1.2)


def importance_figure(record: TokenImportance, theme: Theme = LIGHT) -> Page:
    """Maps of all methods, their controls with shuffled weights, and the bars."""
    contrast = bool(record.contrasts[-1])
    caption = _caption(record)
    if contrast:
        question = f"Why “{elided(record.targets[-1], 16)}” rather than “{elided(record.contrasts[-1], 16)}”?"
        figure, body = framed(question, caption, 3.9, theme)
        above, below = body.subplots(2, 1, height_ratios=[1, 1.3])
        draw_strips(above, record, theme)
        above.set_title("A  Signed share of each token in the difference of the two logits")
        draw_influence(below, record, theme)
        below.set_title("B  Size of the shares")
        return figure
    figure, body = framed("Which past tokens each prediction comes from", caption, 9.15, theme)
    maps, controls, bars = stacked(body, [5.4, 1.6, 2.15])
    columns = 2 if len(record.methods) > 1 else 1
    grid = maps.subplots(-(-len(record.methods) // columns), columns, sharex=True, sharey=True, squeeze=False)
    for ax in grid.flat[len(record.methods) :]:
        ax.axis("off")
    for ax, method, letter in zip(grid.flat, record.methods, "ABCD", strict=False):
        image = draw_importance_map(ax, record, method, theme)
        ax.set_title(f"{letter}  {NAMES[method]}")
        ax.tick_params(labelleft=ax in grid[:, 0], labelbottom=ax in grid[-1])
    color_scale(list(grid.flat), image, "share of Σ|a|", pad=0.01, aspect=40, shrink=0.6)
    for ax in grid[:, 0]:
        ax.set_ylabel("token that is predicted")
    for ax in grid[-1]:
        ax.set_xlabel("token that was read")
    small = controls.subplots(1, len(record.methods), squeeze=False)[0]
    for ax, method in zip(small, record.methods, strict=True):
        draw_importance_map(ax, record, method, theme, which="control", ticks=False)
        if method in record.unchanged:
            ax.text(0.97, 0.94, "UNCHANGED", transform=ax.transAxes, ha="right", va="top", fontweight="bold")
        ax.set_title(
            f"{NAMES[method]}\nrank correlation {record.control_similarity[method]:.2f}",
            fontweight="normal",
            fontsize=theme.font_size - 0.5,
        )
    small[0].set_ylabel("shuffled weights")
    ax = bars.subplots()
    draw_influence(ax, record, theme)
    ax.set_title("Overall influence")
    return figure


def _caption(record: TokenImportance) -> str:
    told = "" if record.precision == "float32" else f", told in {record.precision} but explained by the float32 weights"
    what = "the difference of the two logits" if record.contrasts[-1] else "the predicted token's logit"
    meanings = "; ".join(MEANINGS[method] for method in record.methods)
    unchanged = ", ".join(NAMES[method] for method in record.unchanged) or "none"
    sums = []
    if "retention" in record.methods:
        gap = np.abs(record.maps["retention"].sum(1) + record.initial + record.bias - record.outputs).max()
        sums.append(f"retention with initial state and bias sums to the logit within {gap:.0e}")
    if "integrated" in record.methods:
        sums.append(f"integrated gradients sum to the change of the logit within {record.integrated_error:.0e}")
    rows = "" if record.contrasts[-1] else " The last row is the token that the model would say next."
    return (
        f"{drawable(record.model)}{told}. Each value is a token's signed share a / Σ|a| in {what} (orange raises it, blue lowers it; "
        f"colours end at the 98th percentile).{rows} What each method means — {meanings}. "
        f"{'; '.join(sums).capitalize()}{'. ' if sums else ''}"
        f"Control (Adebayo et al. 2018): the same maps with every weight tensor shuffled (seed {record.seed}); a map whose rank "
        f"correlation with its control is 0.7 or more says little about what was learned: {unchanged}. Influence: mean of |share| over the "
        "predictions made after a token was read. Probabilities do not split and are not drawn."
    )
