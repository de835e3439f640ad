"""How figures look: colours that stay apart for every reader, fonts, and the frame of title and caption."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from storyteller.errors import UsageInvalid

WIDTH = 7.2
"""Inches: the text width of a page, so that font sizes are those of print."""
CAPTION_CHARACTERS = 126
LINE = 0.135
DIGITS = 7
SESSION = ("backend", "interactive", "toolbar", "keymap", "webagg", "tk.", "macosx", "docstring", "date.epoch", "timezone")
LAYER_LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), "-.")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours as ``#rrggbb``. ``series``: Okabe and Ito's, set for the background; ``low`` and ``high``: the ends of signed values."""

    name: str
    background: str
    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]
    low: str
    high: str
    sequential: str
    font_size: float

    def params(self) -> dict[str, Any]:
        """Matplotlib's settings, all of them, so that nobody's own matplotlibrc changes a figure."""
        rules: dict[str, Any] = {
            "figure.facecolor": self.background,
            "savefig.facecolor": self.background,
            "axes.facecolor": self.background,
            "axes.edgecolor": self.muted,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "text.color": self.ink,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "grid.color": self.grid,
            "grid.linewidth": 0.6,
            "axes.linewidth": 0.6,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.titlepad": 4.0,
            "axes.labelpad": 2.5,
            "font.family": "DejaVu Sans",
            "font.size": self.font_size,
            "axes.titlesize": self.font_size + 0.5,
            "axes.labelsize": self.font_size,
            "xtick.labelsize": self.font_size - 0.5,
            "ytick.labelsize": self.font_size - 0.5,
            "legend.fontsize": self.font_size - 0.5,
            "legend.frameon": False,
            "lines.linewidth": 1.3,
            # Stories hold dollars and underscores that mean themselves.
            "text.parse_math": False,
            "svg.hashsalt": "storyteller",
            "svg.fonttype": "path",
            "pdf.fonttype": 42,
            "axes.unicode_minus": True,
        }
        return _plain_defaults() | rules

    def layer(self, place: int) -> dict[str, Any]:
        """Colour and line of layer ``place``: dashes tell layers apart where colour does not."""
        return {"color": self.series[place % len(self.series)], "linestyle": LAYER_LINES[place % len(LAYER_LINES)]}

    def readable(self, color: str) -> tuple[float, ...]:
        """``color`` for small letters: nearer to the ink."""
        return tuple(0.6 * np.array(to_rgb(color)) + 0.4 * np.array(to_rgb(self.ink)))

    def diverging(self) -> ListedColormap:
        """From ``low`` through the background to ``high``, in even steps of perceived difference (Oklab)."""
        ends = [_oklab(color) for color in (self.low, self.background, self.high)]
        steps = np.linspace(0, 1, 128)[:, None]
        ramp = np.concatenate([ends[0] + (ends[1] - ends[0]) * steps, ends[1] + (ends[2] - ends[1]) * steps[1:]])
        return ListedColormap(_srgb(ramp), name=f"{self.name}-diverging")


LIGHT = Theme(
    name="light",
    background="#ffffff",
    ink="#1b1e23",
    muted="#6b7280",
    grid="#e5e7eb",
    series=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7b3294", "#8c510a", "#e69f00", "#3f4650"),
    low="#0b5aa2",
    high="#b24700",
    sequential="cividis",
    font_size=7.5,
)
DARK = Theme(
    name="dark",
    background="#14171c",
    ink="#e8eaee",
    muted="#9aa3af",
    grid="#2b3038",
    series=("#56b4e9", "#f28e4b", "#2fc296", "#e59ac3", "#e6c229", "#9bd3f5", "#b79cf0", "#c98f55", "#f0b441", "#c3c8cf"),
    low="#6cb8ff",
    high="#ff9a4d",
    sequential="cividis",
    font_size=7.5,
)
PAPER = Theme(
    name="paper",
    background="#ffffff",
    ink="#000000",
    muted="#4d4d4d",
    grid="#dddddd",
    series=LIGHT.series,
    low="#08407a",
    high="#8f3600",
    sequential="cividis",
    font_size=7.0,
)
THEMES: Mapping[str, Theme] = {theme.name: theme for theme in (LIGHT, DARK, PAPER)}


def theme_named(name: str) -> Theme:
    """The theme ``name``; raises :class:`~storyteller.errors.UsageInvalid` naming those that there are."""
    if name not in THEMES:
        raise UsageInvalid(f"there is no theme {name!r}", f"themes: {', '.join(THEMES)}")
    return THEMES[name]


@contextmanager
def styled(theme: Theme) -> Iterator[None]:
    """Draw and save in ``theme``; what matplotlib was set to before comes back afterwards."""
    with matplotlib.rc_context(theme.params()):  # type: ignore[arg-type]  # its stubs list the names one by one
        yield


class Page(Figure):
    """A whole figure, which knows its ``title`` and ``caption``."""

    title = ""
    caption = ""


def framed(title: str, caption: str, height: float, theme: Theme) -> tuple[Page, SubFigure]:
    """A figure of :data:`WIDTH` with ``title`` over and ``caption`` under a body of ``height`` inches, and that body.

    The caption is wrapped; its paragraphs are parted by line breaks.
    """
    title = drawable(title)
    lines = [line for part in drawable(caption).split("\n") for line in textwrap.wrap(part, CAPTION_CHARACTERS) or [""]]
    heads = textwrap.wrap(title, 88)
    head, foot = 0.12 + 0.18 * len(heads), 0.16 + LINE * len(lines)
    figure = Page(figsize=(WIDTH, head + height + foot), layout="constrained")
    figure.title, figure.caption = title, drawable(caption)
    FigureCanvasAgg(figure)
    top, body, bottom = stacked(figure, [head, height, foot])
    inset = 0.1 / WIDTH
    top.text(inset, 0.5, "\n".join(heads), va="center", ha="left", fontsize=theme.font_size + 2.5, fontweight="bold")
    bottom.text(
        inset, 1 - 0.06 / foot, "\n".join(lines), va="top", ha="left", fontsize=theme.font_size - 0.5, color=theme.muted, linespacing=1.25
    )
    return figure, body


def settle(page: Figure) -> None:
    """Lay ``page`` out for good, to a ten-thousandth of a pixel: the solver's last digits differ from run to run."""
    if page.get_layout_engine() is None or isinstance(page.get_layout_engine(), PlaceHolderLayoutEngine):
        return
    page.draw_without_rendering()
    page.set_layout_engine("none")
    for part in page.subfigs:
        _round(part)
    for ax in page.axes:
        ax.set_position(tuple(np.round(ax.get_position(original=True).bounds, DIGITS).tolist()), which="original")
        ax.apply_aspect()


def _round(part: SubFigure) -> None:
    part.bbox_relative.p0 = np.round(part.bbox_relative.p0, DIGITS)
    part.bbox_relative.p1 = np.round(part.bbox_relative.p1, DIGITS)
    for inner in part.subfigs:
        _round(inner)


def stacked(figure: Figure | SubFigure, heights: Sequence[float]) -> list[SubFigure]:
    """Parts of ``figure`` of these relative heights, from the top."""
    return list(np.atleast_1d(np.asarray(figure.subfigures(len(heights), 1, height_ratios=list(heights)), object)))


def drawable(text: str) -> str:
    """``text`` with □ for every character that the font does not have; line breaks stay."""
    has = _characters()
    return "".join(char if char == "\n" or ord(char) in has else "□" for char in text)


def elided(text: str, most: int) -> str:
    """``text`` in at most ``most`` characters, with … for what is left out of its middle."""
    text = drawable(text)
    if len(text) <= most:
        return text
    head = (most - 1) - (most - 1) // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


@cache
def _characters() -> frozenset[int]:
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return frozenset(code for code in font.get_charmap() if code >= 0x20 and not 0x7F <= code < 0xA0)


@cache
def _plain_defaults() -> dict[str, Any]:
    """Matplotlib's own defaults but for what belongs to a session: its backend, windows and keys."""
    return {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith(SESSION)}


def _oklab(color: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Ottosson 2020, "A perceptual color space for image processing"."""
    values = np.array(to_rgb(color))
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    result: np.ndarray[Any, np.dtype[np.float64]] = _LMS_TO_LAB @ np.cbrt(_RGB_TO_LMS @ linear)
    return result


def _srgb(lab: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    linear = np.clip((np.linalg.inv(_RGB_TO_LMS) @ (np.linalg.inv(_LMS_TO_LAB) @ lab.T) ** 3).T, 0, 1)
    result: np.ndarray[Any, np.dtype[np.float64]] = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return result.clip(0, 1)


_RGB_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]]
)
_LMS_TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099], [0.0259040371, 0.7827717662, -0.8086757660]]
)
