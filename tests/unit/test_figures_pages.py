"""Every figure, drawn: panels that show something, words that stay on the page and off each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from storyteller.analysis.confidence import Calibration, calibration, token_confidence
from storyteller.analysis.diversity import generation_diversity
from storyteller.analysis.dynamics import generation_dynamics
from storyteller.analysis.embedding import EmbeddingMap
from storyteller.analysis.forgetting import forgetting_curve
from storyteller.analysis.growth import training_growth
from storyteller.analysis.heroes import name_tracking
from storyteller.analysis.importance import token_importance
from storyteller.analysis.lens import logit_lens
from storyteller.checkpoint.load import load
from storyteller.engine.params import SamplingParams
from storyteller.figures.confidence import confidence_figure
from storyteller.figures.diversity import diversity_figure
from storyteller.figures.dynamics import dynamics_figure
from storyteller.figures.embedding import draw_embedding, embedding_figure
from storyteller.figures.forgetting import forgetting_figure
from storyteller.figures.gallery import save_page
from storyteller.figures.growth import growth_figure
from storyteller.figures.heroes import names_figure
from storyteller.figures.importance import importance_figure
from storyteller.figures.lens import lens_figure
from storyteller.figures.report import report
from storyteller.figures.theme import LIGHT, THEMES, Page, Theme, drawable, elided, framed, styled, theme_named

TEXT = "The fox found a red ball and the owl said it is here"
PROMPT = "Once upon a time there was"
FREE = SamplingParams(temperature=0.9, ignore_end=True)
STORIES = ["The fox found a red ball.", "They played.", "Where is it?", "The owl said so.", "Once upon a time."]
Draw = Callable[[Theme], Page]


@pytest.fixture(scope="module")
def draws(tiny_checkpoint: Path) -> dict[str, Draw]:
    model = load(tiny_checkpoint)
    random = np.random.default_rng(0)
    words = [f"{first}{second}en" for first in "bdfghklmnprstvw" for second in "aeiou"]
    groups = ["names", "animals", "family", "feelings", "verbs", "places", "food", "things", "qualities", "function", "other"]
    embedded = EmbeddingMap(
        model="tiny",
        method="tsne",
        seed=0,
        words=tuple(words),
        groups=tuple(groups[place % 11] for place in range(len(words))),
        neighbourhood=10,
        trustworthiness=0.9,
        kept=0.5,
        explained=(),
        queries=("baen", "longestofall"),
        neighbours=(tuple(words[:6]), tuple(words[6:12])),
        ids=np.arange(len(words)),
        points=random.normal(size=(len(words), 2)),
        cosines=np.full((2, 6), 0.5),
    )
    dynamics = generation_dynamics(model, PROMPT, params=FREE, new_tokens=30)
    importance = token_importance(model, TEXT)
    contrast = token_importance(model, TEXT, target="a", contrast="the")
    one = token_importance(model, TEXT, methods=["retention"])
    confidence = token_confidence(model, [PROMPT, "The fox", "It is", "A very long prompt " * 12])
    measured = calibration(model, STORIES)
    diversity = generation_diversity(model, "The fox", samples=6, new_tokens=25)
    forgetting = forgetting_curve(model, [TEXT * 3] * 4)
    named = name_tracking(model, "Lily was sad. Then Tom came. " * 12)
    lines = [
        {"iteration": place, "tokens": place * 1000, "train_loss": 3.0 / (place + 1), "nats_per_token": 2.0 / (place + 1)}
        for place in range(9)
    ]
    lines = [line | {"samples": [{"prompt": "The fox", "text": " ran to the ball and $ said_so." * 9}]} for line in lines]
    growth = training_growth(lines, model="tiny")
    lens = logit_lens(model, TEXT)
    return {
        "embedding": lambda theme: embedding_figure(embedded, theme),
        "dynamics": lambda theme: dynamics_figure(dynamics, theme),
        "importance": lambda theme: importance_figure(importance, theme),
        "importance, one method": lambda theme: importance_figure(one, theme),
        "contrast": lambda theme: importance_figure(contrast, theme),
        "confidence": lambda theme: confidence_figure(confidence, None, theme, model="tiny"),
        "calibration": lambda theme: confidence_figure(confidence, measured, theme, model="tiny", text="stories, which it never saw"),
        "diversity": lambda theme: diversity_figure(diversity, theme, model="tiny"),
        "forgetting": lambda theme: forgetting_figure(forgetting, theme),
        "names": lambda theme: names_figure(named, theme),
        "growth": lambda theme: growth_figure(growth, theme),
        "lens": lambda theme: lens_figure(lens, theme),
    }


NAMES = (
    "embedding",
    "dynamics",
    "importance",
    "importance, one method",
    "contrast",
    "confidence",
    "calibration",
    "diversity",
    "forgetting",
    "names",
    "growth",
    "lens",
)


def tick_labels(ax: Axes) -> Iterator[Text]:
    for axis in (ax.xaxis, ax.yaxis):
        if ax.axison and axis.get_visible():
            # The ticks of this axis that are drawn: others are kept in store, with labels of before.
            yield from (tick.label1 for tick in axis._update_ticks() if tick.label1.get_visible())  # type: ignore[attr-defined]
            yield axis.label


def parts(figure: Page | SubFigure) -> Iterator[SubFigure]:
    for part in figure.subfigs:
        yield part
        yield from parts(part)


def written(page: Page) -> list[tuple[str, Bbox]]:
    """All that stands on the page, with its box in pixels."""
    page.draw_without_rendering()
    renderer = page.canvas.get_renderer()  # type: ignore[attr-defined]
    found = [text for part in parts(page) for text in part.texts]
    for ax in page.axes:
        found += [*ax.texts, ax.title, ax._left_title, *tick_labels(ax)]  # type: ignore[attr-defined]
        legend = ax.get_legend()
        if legend is not None:
            found += legend.get_texts()
    seen = {id(text): text for text in found if text.get_visible() and text.get_text().strip()}
    return [(text.get_text(), text.get_window_extent(renderer)) for text in seen.values()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("theme", ["light", "paper"])
def test_all_words_are_on_the_page_and_off_each_other(draws: dict[str, Draw], name: str, theme: str) -> None:
    with styled(THEMES[theme]):
        page = draws[name](THEMES[theme])
        boxes = written(page)
    assert len(boxes) > 10
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= page.bbox.x1, text
        assert box.y1 <= page.bbox.y1, text
    for (one, first), (other, second) in combinations(boxes, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        up = min(first.y1, second.y1) - max(first.y0, second.y0)
        # Boxes hold the line's full height: letters may share a pixel or two of air.
        assert across <= 1.5 or up <= 2.5, (one, other)


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_is_empty(draws: dict[str, Draw], name: str) -> None:
    with styled(LIGHT):
        page = draws[name](LIGHT)
    shown = [ax for ax in page.axes if (ax.axison or ax.texts) and ax.get_label() != "<colorbar>"]
    assert shown
    for ax in shown:
        assert ax.has_data() or ax.texts, ax.get_title(loc="left")
        assert ax.get_window_extent().width > 20
        assert ax.get_window_extent().height > 20


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_figure_is_the_same_bytes(draws: dict[str, Draw], tmp_path: Path, form: str) -> None:
    contents = []
    for place in range(2):
        with styled(LIGHT):
            page = draws["contrast"](LIGHT)
        path = tmp_path / f"{place}.{form}"
        save_page(page, path, dpi=60)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert contents[0].startswith(start[form])
    assert len(contents[0]) > 5000


def test_nobodys_own_settings_change_a_figure(draws: dict[str, Draw], tmp_path: Path) -> None:
    contents = []
    for size in (10.0, 25.0):
        with matplotlib.rc_context({"font.size": size, "axes.grid": size > 20, "lines.linewidth": size}):
            with styled(LIGHT):
                page = draws["contrast"](LIGHT)
            save_page(page, tmp_path / "one.png", dpi=60)
            assert matplotlib.rcParams["font.size"] == size
        contents.append((tmp_path / "one.png").read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", list(THEMES))
def test_words_can_be_read_on_every_background(name: str) -> None:
    theme = theme_named(name)

    def luminance(color: str) -> float:
        values = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(one: str, other: str) -> float:
        bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
        return (bright + 0.05) / (dark + 0.05)

    assert contrast(theme.ink, theme.background) > 12
    assert contrast(theme.muted, theme.background) > 4.5
    for color in theme.series:
        assert contrast(matplotlib.colors.to_hex(theme.readable(color)), theme.background) > 4.5
        assert contrast(color, theme.background) > 2


@pytest.mark.parametrize("name", list(THEMES))
def test_the_diverging_colours_are_even(name: str) -> None:
    """The lightness (CIE L*) runs straight from both ends to the background."""
    theme = theme_named(name)
    colors = theme.diverging()(np.linspace(0, 1, 9))[:, :3]
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    for half in (lightness[:5], lightness[4:]):
        steps = np.diff(half)
        assert np.abs(steps - steps.mean()).max() < 0.5 * abs(steps.mean())
    assert matplotlib.colors.to_hex(theme.diverging()(0.5)) == pytest.approx(theme.background) or np.allclose(
        colors[4], matplotlib.colors.to_rgb(theme.background), atol=0.02
    )


def test_labels_are_as_many_as_fit(draws: dict[str, Draw]) -> None:
    random = np.random.default_rng(1)
    crowded = EmbeddingMap(
        model="m",
        method="pca",
        seed=0,
        words=("first", *(f"word{place}" for place in range(199))),
        groups=("animals",) * 200,
        neighbourhood=3,
        trustworthiness=1.0,
        kept=1.0,
        explained=(0.5, 0.25),
        queries=(),
        neighbours=(),
        ids=np.arange(200),
        points=random.normal(0, 1e-3, (200, 2)),
        cosines=np.zeros((0, 0)),
    )
    with styled(LIGHT):
        page = Page(figsize=(2, 2), layout="constrained")
        ax = page.subplots()
        draw_embedding(ax, crowded)
    labels = [text.get_text() for text in ax.texts]
    assert 5 < len(labels) < 100
    assert "50.0%" in ax.get_xlabel()


def test_what_the_font_lacks_is_a_box_and_dollars_are_dollars(tmp_path: Path) -> None:
    assert drawable("a🐉b\x1b\n") == "a□b□\n"
    assert drawable("⟨start⟩ ‖hₜ₋₁‖ ⊙ Σ − zₛ nₛ ≥ ␣ ↵ … “”") == "⟨start⟩ ‖hₜ₋₁‖ ⊙ Σ − zₛ nₛ ≥ ␣ ↵ … “”"
    with styled(LIGHT):
        page, _ = framed("It cost $5 and $6 $", "a 🐉", 1.0, LIGHT)
        save_page(page, tmp_path / "one.png", dpi=60)
    assert (page.title, page.caption) == ("It cost $5 and $6 $", "a □")


def test_long_labels_keep_both_ends() -> None:
    assert elided("abcdefghij", 10) == "abcdefghij"
    short = elided("abcdefghijk", 10)
    assert len(short) == 10
    assert short.startswith("abc")
    assert short.endswith("k")
    assert "…" in short


def test_the_report_holds_everything(draws: dict[str, Draw]) -> None:
    with styled(LIGHT):
        page = draws["contrast"](LIGHT)
    html = report([("importance", page)], LIGHT, model="<tiny>")
    assert html.count("data:image/png;base64,") == 1
    assert "http" not in html
    assert "<script" not in html
    assert "&lt;tiny&gt;" in html
    assert "Adebayo" in html


def test_calibration_without_text_says_so(draws: dict[str, Draw]) -> None:
    with styled(LIGHT):
        assert "No held-out text" in draws["confidence"](LIGHT).caption
        assert "stories, which it never saw" in draws["calibration"](LIGHT).caption
    assert Calibration.__doc__
