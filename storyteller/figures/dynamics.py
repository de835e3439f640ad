"""What happens in the network while it tells, on paper."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from storyteller.analysis.dynamics import GenerationDynamics
from storyteller.figures.placement import label_points
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, framed, stacked
from storyteller.figures.tokens import color_scale, token_ticks

LONGEST_TEXT = 420


def draw_trajectory(ax: Axes, record: GenerationDynamics, theme: Theme = LIGHT, layer: int = -1) -> None:
    """The path of a layer's state on its first two principal components; :func:`label_trajectory` names its tokens."""
    points = record.points[layer]
    told = record.prompt_len - 1
    ax.plot(*points[: told + 1].T, color=theme.muted, linewidth=0.8, linestyle=(0, (2, 1)))
    ax.plot(*points[told:].T, color=theme.series[0], linewidth=0.8)
    ax.scatter(points[: told + 1][:, 0], points[: told + 1][:, 1], s=7, color=theme.muted, linewidths=0)
    ax.scatter(points[told + 1 :][:, 0], points[told + 1 :][:, 1], s=7, color=theme.series[0], linewidths=0)
    ax.set(xlabel=f"component 1 ({record.explained[layer][0]:.0%})", ylabel=f"component 2 ({record.explained[layer][1]:.0%})")
    ax.margins(0.1)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))


def label_trajectory(ax: Axes, record: GenerationDynamics, theme: Theme = LIGHT, layer: int = -1) -> None:
    """Tokens beside the points, where they find room. Settles the figure's layout: label when all is drawn."""
    told, points = record.prompt_len - 1, record.points[layer]
    colors = [theme.muted if place <= told else theme.ink for place in range(len(points))]
    label_points(ax, points, record.tokens, colors, most=60, size=theme.font_size - 1.5)


def draw_active_units(ax: Axes, record: GenerationDynamics, theme: Theme = LIGHT) -> None:
    """Heat map: the top layer's most varying units (rows) after each token (columns)."""
    values = record.states[-1][:, record.active].T
    image = ax.imshow(values, aspect="auto", cmap=theme.diverging(), vmin=-1, vmax=1, interpolation="nearest")
    ax.set(ylabel="unit of the top layer")
    ax.set_yticks(range(0, len(record.active), 4), [str(unit) for unit in record.active[::4]])
    color_scale(ax, image, "activation", pad=0.01, aspect=12, ticks=[-1, 0, 1])


def draw_movement(ax: Axes, record: GenerationDynamics, theme: Theme = LIGHT) -> None:
    """‖Δh‖ of every layer, and ‖h‖, fainter."""
    for layer, (norm, movement) in enumerate(zip(record.norms, record.movement, strict=True)):
        style = theme.layer(layer)
        ax.plot(norm, alpha=0.4, linewidth=0.9, **style)
        ax.plot(movement, label=f"layer {layer + 1}", **style)
    ax.set(ylim=(0, None))
    ax.set_ylabel("‖Δh‖ (faint: ‖h‖)")


def draw_openness(ax: Axes, record: GenerationDynamics, theme: Theme = LIGHT) -> None:
    """The mean of 1 − z of every layer."""
    for layer, values in enumerate(record.openness):
        ax.plot(values, label=f"layer {layer + 1}", **theme.layer(layer))
    ax.set(ylim=(0, 1), ylabel="mean 1 − z")


def draw_half_lives(ax: Axes, record: GenerationDynamics, theme: Theme = LIGHT) -> None:
    """The memory half-life of every token in every layer; a hollow mark says "longer than the text"."""
    length = len(record.tokens)
    for layer, lives in enumerate(record.half_life):
        finite = np.isfinite(lives)
        later = length - 1.0 - np.arange(length)
        bound = np.where(finite, lives, np.where(later > 0, later, np.nan))
        style = theme.layer(layer)
        ax.plot(bound, linewidth=0.7, alpha=0.6, **style)
        ax.scatter(np.flatnonzero(finite), bound[finite], s=9, color=style["color"], linewidths=0, label=f"layer {layer + 1}")
        ax.scatter(np.flatnonzero(~finite), bound[~finite], s=9, facecolors="none", edgecolors=style["color"], linewidths=0.7)
    ax.set(ylabel="half-life (tokens)", ylim=(0, None))


def dynamics_figure(record: GenerationDynamics, theme: Theme = LIGHT) -> Page:
    """The text, a trajectory for each layer, units, movement, gates and half-lives over the same tokens."""
    layers = len(record.points)
    text = record.text if len(record.text) <= LONGEST_TEXT else record.text[:LONGEST_TEXT] + " …"
    lines = textwrap.wrap(drawable(text.replace("\n", " ↵ ")), 112)
    heights = [0.15 * len(lines) + 0.12, 2.75, 1.75, 1.05, 1.05, 1.75]
    precision = "" if record.precision == "float32" else f" (told in {record.precision}, explained by the float32 weights)"
    caption = (
        f"{drawable(record.model)}{precision}, temperature {record.temperature:g}, seed {record.seed}; tokens from the dashed line on are "
        "told by the model. A: each layer's state h on its first two principal components (share of the variance in brackets), grey = "
        "prompt. B: the units of the top layer that vary most, by the time of their highest value. C: how far each token moves the state, "
        "‖hₜ − hₜ₋₁‖, and its length ‖hₜ‖. D: update-gate openness, the mean over units of 1 − zₜ: 1 = the token replaces the whole state, "
        "0 = it is not let in. E: memory half-life: after how many further tokens the part of the state that this token wrote, "
        "(1 − zₛ) ⊙ nₛ, has half its norm under the later gates Π z; hollow = the text ended before (a lower bound). Direct path of each "
        "layer only: what lives on through other layers is not counted."
    )
    figure, body = framed("What goes on in the network while it tells", caption, sum(heights), theme)
    rows = stacked(body, [heights[0], heights[1], sum(heights[2:])])
    rows[0].text(0.1 / 7.2, 0.97, "\n".join(lines), va="top", ha="left", style="italic", fontsize=theme.font_size, linespacing=1.25)
    trajectories = rows[1].subplots(1, layers, squeeze=False)[0]
    axes = rows[2].subplots(4, 1, sharex=True, height_ratios=heights[2:])
    for ax, draw, title in zip(
        axes,
        (draw_active_units, draw_movement, draw_openness, draw_half_lives),
        ("B  Most varying units", "C  Movement of the state", "D  Openness of the update gate", "E  Memory half-life of each token"),
        strict=True,
    ):
        draw(ax, record, theme)
        ax.set_title(title)
        ax.axvline(record.prompt_len - 0.5, color=theme.ink, linewidth=0.7, linestyle=(0, (3, 2)))
        if ax is not axes[0]:
            ax.grid(axis="y")
    axes[1].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=layers, borderaxespad=0.1)
    axes[-1].set_xlim(-0.6, len(record.tokens) - 0.4)
    token_ticks(axes[-1], record.tokens, theme)
    for layer, ax in enumerate(trajectories):
        draw_trajectory(ax, record, theme, layer)
        ax.set_title(f"A  Layer {layer + 1}")
    for layer, ax in enumerate(trajectories):
        label_trajectory(ax, record, theme, layer)
    return figure
