"""Names that drift into a story: the detector against fifty stories that were labelled by hand.

The stories are a small model's own, cut after some ninety tokens. A label lists, in order, the names first seen after the first third of
the story's words, as the subject of a clause, and introduced by nothing ("named", "called", a greeting, a role beside it).
"""

from __future__ import annotations

import json
from pathlib import Path

from storyteller.engine.names import name_drift

STORIES = [json.loads(line) for line in (Path(__file__).parent / "data" / "drift.jsonl").read_text(encoding="utf-8").splitlines()]
LEAST = 0.9


def test_the_detector_agrees_with_a_reader() -> None:
    assert len(STORIES) == 50
    assert sum(bool(story["drift"]) for story in STORIES) >= 10
    found = [[drift.name for drift in name_drift(story["text"])] for story in STORIES]
    wrong = [(names, story["drift"]) for names, story in zip(found, STORIES, strict=True) if names != story["drift"]]
    assert 1 - len(wrong) / len(STORIES) >= LEAST, wrong


def test_labels_are_words_of_their_stories() -> None:
    for story in STORIES:
        assert all(name in story["text"] for name in story["drift"])
