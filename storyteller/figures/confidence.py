"""How sure the model is, on paper."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes

from storyteller.analysis.confidence import Calibration, TokenConfidence
from storyteller.figures.theme import LIGHT, Page, Theme, drawable, elided, framed, stacked


def draw_confidence(ax: Axes, record: TokenConfidence, row: int, theme: Theme = LIGHT) -> None:
    """Bars: the most likely next tokens after prompt ``row``."""
    values, tokens = record.probabilities[row], record.tokens[row]
    places = np.arange(len(values))
    ax.barh(places, values, 0.72, color=theme.series[0])
    ax.set_yticks(places, [elided(token, 12) for token in tokens])
    ax.invert_yaxis()
    most = max(float(values.max()) * 1.2, 0.05)
    ax.set(xlim=(0, most), xlabel="probability")
    for place, value in enumerate(values):
        ax.text(value + most * 0.012, place, f"{value:.1%}", va="center", fontsize=theme.font_size - 1, color=theme.muted)
    count = int(record.nucleus[row])
    tokens_word = "token makes" if count == 1 else "tokens make"
    ax.text(
        0.98,
        0.04,
        f"entropy {record.entropy[row]:.2f} nats\n{count:,} {tokens_word} 90 %",
        transform=ax.transAxes,
        ha="right",
        va="bottom",
        fontsize=theme.font_size - 0.5,
    )
    ax.set_title("\n".join(textwrap.wrap(f"“{elided(record.prompts[row], 96)} …”", 46)))


def draw_calibration(ax: Axes, record: Calibration, theme: Theme = LIGHT) -> None:
    """Accuracy of the best guess against its probability, with 95 % intervals; the area of a mark is its share of predictions."""
    some = record.counts > 0
    ax.plot([0, 1], [0, 1], color=theme.muted, linewidth=0.8, linestyle=(0, (4, 2)), label="as sure as right")
    x, y = record.confidence[some], record.accuracy[some]
    bars = np.abs(np.stack([y - record.low[some], record.high[some] - y]))
    ax.errorbar(x, y, bars, fmt="none", ecolor=theme.series[1], elinewidth=0.9, capsize=1.5)
    ax.plot(x, y, color=theme.series[1], linewidth=0.9)
    share = record.counts[some] / record.counts.sum()
    ax.scatter(x, y, s=8 + 160 * share, color=theme.series[1], linewidths=0, label="measured, 95 % interval")
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the most likely token", ylabel="share of times it was right")
    ax.grid(True)
    ax.legend(loc="upper left")
    ax.text(
        0.98,
        0.05,
        f"expected calibration error\n{record.error:.3f} ({record.error_low:.3f} to {record.error_high:.3f})",
        transform=ax.transAxes,
        ha="right",
        va="bottom",
    )


def confidence_figure(
    record: TokenConfidence, calibration: Calibration | None = None, theme: Theme = LIGHT, *, model: str = "", text: str = ""
) -> Page:
    """Bars for each prompt, and under them the calibration where it was measured on ``text``
    (its name, and whether the model has seen it, in words)."""
    rows = -(-len(record.prompts) // 2)
    columns = min(2, len(record.prompts))
    height = 2.05 * rows
    caption = (
        f"{drawable(model)}{': t' if model else 'T'}he model's own distribution of the next token, at temperature 1 and before any "
        f"truncation; bars: its {record.probabilities.shape[1]} most likely tokens. Entropy: −Σ p ln p over all tokens (0 = certain). "
        "“n tokens make 90 %”: the least number of tokens that together have probability 0.9."
    )
    if calibration is None:
        figure, body = framed(
            "How sure the model is of the next word", caption + " No held-out text was given: calibration is not drawn.", height, theme
        )
        bars = body
    else:
        caption += (
            f" Calibration: {calibration.predictions:,} predictions in {calibration.stories:,} stories of {drawable(text)}; "
            f"right {calibration.mean_accuracy:.1%} of the time, sure {calibration.mean_confidence:.1%} on "
            f"average; {len(calibration.counts)} bins of equal width, the area of a mark is its bin's share; expected calibration error Σ "
            "(N_b / N) |accuracy − confidence| (Guo et al. 2017); 95 % intervals by bootstrap over whole stories."
        )
        figure, body = framed("How sure the model is of the next word, and how often it is right", caption, height + 2.6, theme)
        bars, below = stacked(body, [height, 2.6])
        ax = below.subplots()
        draw_calibration(ax, calibration, theme)
        ax.set_title("Calibration")
    grid = bars.subplots(rows, columns, squeeze=False)
    for ax in grid.flat[len(record.prompts) :]:
        ax.axis("off")
    for row in range(len(record.prompts)):
        draw_confidence(grid.flat[row], record, row, theme)
    return figure
