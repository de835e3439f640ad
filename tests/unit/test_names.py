from __future__ import annotations

from itertools import islice

import pytest

from storyteller.engine import lexicon
from storyteller.engine.names import FIRST_PART, name_drift, names
from storyteller.training.sample import sample_stories

START = (
    "Once upon a time there was a girl named Lily. Lily had a friend, and they went to the park to play with a big red ball every day. "
    "They ran, they jumped, and they laughed until the sun went down. "
)


def introduced(text: str) -> dict[str, str | None]:
    """How each name is made known at its first place."""
    first: dict[str, str | None] = {}
    for seen in names(text):
        first.setdefault(seen.name, seen.introduced)
    return first


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("There was a boy named Tom.", {"Tom": "named"}),
        ("There were two friends named Tom and Lily.", {"Tom": "named", "Lily": "named"}),
        ("Three cats named Tom, Lily, and Max sat.", {"Tom": "named", "Lily": "named", "Max": "named"}),
        ("A boy was here. His name was Ben.", {"Ben": "named"}),
        ("She had a dog called Max.", {"Max": "called"}),
        ('"Hello, Sam," he said.', {"Sam": "greeting"}),
        ('"Hi! I am Sue," she said.', {"Sue": "greeting"}),
        ('"I\'m Sue," she said.', {"Sue": "greeting"}),
        ("She saw her best friend, Mia, there.", {"Mia": "role"}),
        ("Her brother Ben was there.", {"Ben": "role"}),
        ("Anna the fox was there.", {"Anna": "role"}),
        ("One day Anna, a small fox, was there.", {"Anna": "role"}),
        ("Mr. Ben and Miss Rose were there.", {"Ben": "role", "Rose": "role"}),
        ("Then Anna went home.", {"Anna": None}),
        ("There was a dragon named Zorbo. Zorbo was big.", {"Zorbo": "named"}),
        ("Hope is good. Will you go? They had a lily and a rose.", {}),
        ("He likes Hope. Hope is good.", {"Hope": None}),
        ("On Monday Mom and Dad saw London.", {}),
        ("Anna's hat was red. It was Tim’s.", {"Anna": None, "Tim": None}),
        ("", {}),
    ],
)
def test_names_are_found_with_their_introduction(text: str, first: dict[str, str | None]) -> None:
    assert introduced(text) == first


def test_places_are_characters_without_the_possessive() -> None:
    text = "Then Anna’s dog saw Tim."
    assert [(seen.name, text[seen.start : seen.end]) for seen in names(text)] == [("Anna", "Anna"), ("Tim", "Tim")]
    assert [seen.share for seen in names(text)] == [1 / 5, 4 / 5]


@pytest.mark.parametrize(
    ("text", "subjects"),
    [
        ("Tom ran home.", ["Tom"]),
        ("Then Tom ran home.", ["Tom"]),
        ("Tom and Mia ran home.", ["Tom", "Mia"]),
        ('"Go!" said Tom.', ["Tom"]),
        ("One day, Tom was sad because Mia left.", ["Tom", "Mia"]),
        ("She saw Tom.", []),
        ("She went with Tom to the park.", []),
        ("Tom's hat was red.", []),
        ('"Tom, come here!"', []),
    ],
)
def test_the_subject_of_a_clause_is_seen(text: str, subjects: list[str]) -> None:
    assert [seen.name for seen in names(text) if seen.subject] == subjects


@pytest.mark.parametrize(
    ("end", "drifted"),
    [
        ("Tom ran home and was sad.", ["Tom"]),
        ("Then Tom and Max ran home.", ["Tom", "Max"]),
        ('"I am sad," said Tom.', ["Tom"]),
        ("Suddenly, Sue was gone. Sue cried.", ["Sue"]),
        ("Lily ran home and was sad.", []),
        ("There she met a boy named Tom. Tom ran home.", []),
        ("There was a cat called Max. Max ran home.", []),
        ('"Hi, Tom!" she said. Tom ran home.', []),
        ("Her friend Tom ran home.", []),
        ("Tom, a small boy, ran home.", []),
        ("She saw Tom there. Tom ran home.", []),
        ("Spring ran into the house. Rose petals fell.", []),
        ("Mom ran home.", []),
    ],
)
def test_a_late_subject_without_introduction_drifts(end: str, drifted: list[str]) -> None:
    text = START + end
    drifts = name_drift(text)
    assert [drift.name for drift in drifts] == drifted
    for drift in drifts:
        assert text[drift.start : drift.end] == drift.name
        assert FIRST_PART < drift.share < 1


def test_who_comes_early_does_not_drift() -> None:
    assert name_drift("Tom ran home. " + START) == []


def test_written_stories_hardly_drift_and_changed_heroes_do() -> None:
    kept = swapped = stories = 0
    for story in islice(sample_stories(), 0, 600, 4):
        hero = story.who[0].split()[0]
        if not lexicon.is_name(hero) or lexicon.is_word(hero):
            continue
        stories += 1
        kept += not name_drift(story.text)
        half = len(story.text) // 2
        swapped += "Edmund" in [drift.name for drift in name_drift(story.text[:half] + story.text[half:].replace(hero, "Edmund"))]
    assert stories > 100
    assert kept / stories > 0.98
    assert swapped / stories > 0.7


def test_the_lists_are_clean() -> None:
    assert all(name[0].isupper() and name[1:].islower() and name.isascii() for name in lexicon.names())
    assert not lexicon.names() & {word for word in lexicon.words() if word[0].isupper()}
    assert {"Lily", "Tim", "David", "Fluffy"} <= lexicon.names()
    assert {"the", "yarn", "Mom", "I"} <= lexicon.words()
    assert not {"s", "t", "ll", "av"} & lexicon.words()
