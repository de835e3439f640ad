"""All figures on one self-contained HTML page, each with its explanation."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

from storyteller.figures.theme import Page, Theme, styled

MEANINGS: Mapping[str, str] = {
    "embedding": (
        "The model knows each token as a list of numbers, its embedding. Tokens that are used alike end up with alike numbers. The map "
        "puts neighbours near each other on paper; the table below it gives neighbours exactly."
    ),
    "dynamics": (
        "While it reads and tells, all that the model remembers is one list of numbers for each layer, the state. The figure follows the "
        "state from token to token: where it moves, how far, how much each token is let in, and how soon it fades."
    ),
    "importance": (
        "Every row asks why the model would say this token, every column is a token that it had read. Four methods answer, for none is "
        "right by itself; the small maps show what they say of a network whose weights are shuffled. A method that "
        "says the same of both says nothing."
    ),
    "confidence": (
        "After a beginning, the model gives every token a probability. Bars show the likeliest ones. A model is well calibrated if what it "
        "holds to be 70 % likely happens in 70 of 100 cases: the closer the curve to the diagonal, the better."
    ),
    "diversity": (
        "Temperature sharpens or flattens the choice of the next token. Low: the stories are alike and repeat themselves. High: they "
        "differ, and lose their thread. The figure measures both sides of this bargain."
    ),
    "forgetting": (
        "Each token writes something into the state, and each later token overwrites a part of it. The curves say how much is left after "
        "so many tokens. A kind of word whose curve falls slowly is one that the network has learned to keep."
    ),
    "names": (
        "Small models forget whom they tell about. At each place where a name could come, the figure shows how likely the model held the "
        "hero's name, and the likeliest other. Where the lines cross, a new hero may walk into the story."
    ),
    "growth": (
        "During training the model was measured again and again, and told a little from the same words each time. The curve says how "
        "surprised it was by stories; the samples say what that number means."
    ),
    "lens": (
        "Only the top layer speaks. If the layers below had to speak in its place, with the same voice, this is what they would say: a "
        "look at what is decided where."
    ),
}
STYLE = """
body {{ margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: {background}; color: {ink};
  font: 16px/1.5 system-ui, sans-serif; }}
img {{ width: 100%; height: auto; border: 1px solid {grid}; border-radius: 6px; }}
figcaption, .small {{ color: {muted}; font-size: 0.9rem; }}
figure {{ margin: 0 0 1rem; }}
h2 {{ margin-top: 3rem; }}
nav a {{ color: inherit; margin-right: 1rem; }}
"""


def report(pages: Sequence[tuple[str, Page]], theme: Theme, *, model: str, dpi: int = 150) -> str:
    """HTML of the named ``pages``, with everything inside: no script, nothing to fetch."""
    links = " ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name, _ in pages)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>How {escape(model)} tells stories</title>",
        f"<style>{STYLE.format(background=theme.background, ink=theme.ink, grid=theme.grid, muted=theme.muted)}</style></head><body>",
        f"<h1>How {escape(model)} tells stories</h1>",
        f"<nav>{links}</nav>",
    ]
    for name, page in pages:
        picture = base64.b64encode(_png(page, theme, dpi)).decode("ascii")
        parts += [
            f'<section id="{escape(name)}"><h2>{escape(page.title)}</h2>',
            f"<p>{escape(MEANINGS.get(name, ''))}</p>",
            f'<figure><img alt="{escape(page.title)}" src="data:image/png;base64,{picture}">',
            f"<figcaption>{escape(page.caption)}</figcaption></figure></section>",
        ]
    return "\n".join([*parts, "</body></html>", ""])


def _png(page: Page, theme: Theme, dpi: int) -> bytes:
    picture = io.BytesIO()
    with styled(theme):
        page.savefig(picture, format="png", dpi=dpi, metadata={"Software": None})
    return picture.getvalue()
