"""Buckets of confidence, and whether everybody can tell their colours apart."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from storyteller.palette import ENTROPY, PROBABILITY, RANK, SURPRISAL, TONES, Scale, Tone

COLORED = [tone for tone in TONES if tone.color]
CUBE = (0, 95, 135, 175, 215, 255)

# Machado, Oliveira and Fernandes 2009, severity 1.0, for linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> NDArray[np.float64]:
    values = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISIONS)
def test_every_two_colours_stay_apart_for_every_eye(vision: str) -> None:
    seen = {tone.name: lab(VISIONS[vision] @ linear(tone.color)) for tone in COLORED}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 30, (one, other)


@pytest.mark.parametrize("tone", COLORED, ids=lambda tone: tone.name)
def test_every_colour_can_be_read_on_black_and_on_white(tone: Tone) -> None:
    luminance = TO_XYZ[1] @ linear(tone.color)
    assert (luminance + 0.05) / 0.05 >= 3
    assert 1.05 / (luminance + 0.05) >= 2.8


@pytest.mark.parametrize("tone", COLORED, ids=lambda tone: tone.name)
def test_the_terminal_colour_is_the_same_colour(tone: Tone) -> None:
    place = tone.ansi - 16
    levels = (CUBE[place // 36], CUBE[place // 6 % 6], CUBE[place % 6])
    assert "#{:02x}{:02x}{:02x}".format(*levels) == tone.color


def test_marks_alone_tell_the_tones_apart() -> None:
    assert len({tone.mark for tone in TONES}) == len(TONES)


@pytest.mark.parametrize(
    ("scale", "value", "name"),
    [
        (PROBABILITY, 1.0, "sure"),
        (PROBABILITY, 0.7, "sure"),
        (PROBABILITY, 0.6999, "likely"),
        (PROBABILITY, 0.3, "likely"),
        (PROBABILITY, 0.1, "open"),
        (PROBABILITY, 0.02, "unlikely"),
        (PROBABILITY, 0.0199, "surprising"),
        (PROBABILITY, 0.0, "surprising"),
        (RANK, 0, "sure"),
        (RANK, 1, "likely"),
        (RANK, 9, "likely"),
        (RANK, 10, "open"),
        (RANK, 999, "unlikely"),
        (RANK, 1000, "surprising"),
        (ENTROPY, 0.0, "sure"),
        (ENTROPY, 8.0, "surprising"),
    ],
)
def test_a_value_has_its_tone(scale: Scale, value: float, name: str) -> None:
    assert scale.tone(value).name == name


@pytest.mark.parametrize("probability", [0.95, 0.71, 0.5, 0.31, 0.2, 0.11, 0.05, 0.021, 0.01])
def test_surprisal_and_probability_agree(probability: float) -> None:
    assert SURPRISAL.tone(-math.log(probability)) == PROBABILITY.tone(probability)


@pytest.mark.parametrize("scale", [PROBABILITY, RANK, ENTROPY, SURPRISAL], ids=lambda scale: scale.name)
def test_the_legend_explains_every_tone_with_its_own_range(scale: Scale) -> None:
    legend = scale.legend()
    assert [tone for tone, _ in legend] == list(TONES)
    assert len({words for _, words in legend}) == len(TONES)
    first, last = legend[0][1], legend[-1][1]
    assert (first, last) == (
        (f"from {scale.limits[-1]:g}", f"below {scale.limits[0]:g}")
        if scale.falling
        else (f"below {scale.limits[0]:g}", f"from {scale.limits[-1]:g}")
    )
