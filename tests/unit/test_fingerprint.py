"""A fingerprint tells how much of a text was trained on, exactly for small corpora and nearly for large ones."""

import json

import numpy as np
import pytest

from storyteller.errors import DataInvalid
from storyteller.training.cleaning import story_keys
from storyteller.training.fingerprint import SKETCH_SIZE, Fingerprint


def tales(first: int, last: int) -> list[str]:
    return [f"Tale number {number} is told." for number in range(first, last)]


def fingerprint(texts: list[str]) -> Fingerprint:
    return Fingerprint.of_keys(np.array([story_keys(text).whole for text in texts], np.uint64), {"abc": "tales.txt"})


def test_small_corpora_are_known_exactly() -> None:
    known = fingerprint(tales(0, 100))
    assert known.overlap(tales(0, 100)) == 1.0
    assert known.overlap(tales(50, 150)) == 0.5
    assert known.overlap(tales(100, 120)) == 0.0
    assert known.overlap([" TALE number 7 is told!\r\n"]) == 1.0, "what the key does not see does not matter"
    assert known.overlap([]) == 0.0
    assert [fingerprint(tales(number, number + 1)).overlap(tales(0, 10)) for number in range(10)] == [0.1] * 10


def test_large_corpora_are_estimated_from_a_sample() -> None:
    known = fingerprint(tales(0, 40_000))
    assert len(known.keys) == SKETCH_SIZE
    assert known.overlap(tales(0, 10_000)) == 1.0
    assert known.overlap(tales(40_000, 50_000)) == 0.0
    assert known.overlap(tales(35_000, 45_000)) == pytest.approx(0.5, abs=0.06)


def test_survives_json_and_stays_small() -> None:
    known = fingerprint(tales(0, 10_000))
    text = json.dumps(known.to_json())
    assert len(text) < 45_000
    again = Fingerprint.from_json(json.loads(text))
    assert again.files == {"abc": "tales.txt"}
    assert again.stories == 10_000
    assert (again.keys == known.keys).all()


@pytest.mark.parametrize(
    "value",
    [{}, {"files": {}, "stories": 1, "keys": "?"}, {"files": {}, "stories": 1, "keys": "AAA="}, {"files": 3, "stories": 1, "keys": ""}],
)
def test_other_json_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(DataInvalid, match="not the fingerprint"):
        Fingerprint.from_json(value)
