"""The ban list of ``--gentle``. No list makes a model safe for a child alone."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

WORD_START = "^"


@cache
def gentle_bans() -> tuple[str, ...]:
    """Texts for :attr:`SamplingParams.ban`, from ``data/gentle.txt``; a word's beginning is a space before it, or its capital letter."""
    bans: list[str] = []
    for line in (files("storyteller.engine") / "data" / "gentle.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            word = line.removeprefix(WORD_START)
            bans += [f" {word}" if line.startswith(WORD_START) else word, word.capitalize()]
    return tuple(bans)
