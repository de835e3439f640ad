import math

import pytest

from storyteller.engine import prefill as module
from storyteller.engine.readings import read
from storyteller.engine.score import score

TEXT = "Zoë saw 🐉. David didn't."


def test_every_id_and_the_end_token_are_scored(scripted) -> None:
    model = scripted()
    end = model.tokenizer.end_id
    steps = list(score(model, TEXT))
    assert [step.id for step in steps] == [*model.tokenizer.encode(TEXT), end]
    assert [step.index for step in steps] == list(range(1, len(steps) + 1))
    assert "".join(step.text for step in steps) == TEXT
    assert [step.finish_reason for step in steps] == [None] * (len(steps) - 1) + ["end"]
    assert all(piece[0] and piece[1] <= step.index for step in steps for piece in step.pieces)


def test_figures_are_those_of_stepping_through_the_text(scripted) -> None:
    model = scripted()
    state = model.runtime.initial_state(1)
    before = model.tokenizer.end_id
    for step in score(model, TEXT, alternatives=3):
        logits, state = model.runtime.step(module.np.array([before]), state)
        (reading,) = read(logits, [step.id], 3)
        assert (step.logprob, step.entropy, step.rank) == reading[:3]
        assert [(likely.id, likely.logprob) for likely in step.alternatives] == reading.top
        assert all(likely.kept for likely in step.alternatives)
        assert step.chosen_prob == pytest.approx(math.exp(step.logprob))
        before = step.id


def test_long_texts_are_read_in_pieces_of_constant_size(scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scripted()
    whole = list(score(model, TEXT))
    monkeypatch.setattr(module, "CHUNK", 4)
    model.runtime.prefills.clear()
    assert list(score(model, TEXT)) == whole
    assert set(model.runtime.prefills[:-1]) == {4}
    assert sum(model.runtime.prefills) == len(whole)


def test_an_empty_text_is_one_end_token(scripted) -> None:
    steps = list(score(scripted(), ""))
    assert [(step.text, step.finish_reason) for step in steps] == [("", "end")]


def test_no_alternatives_are_listed_where_none_are_wanted(scripted) -> None:
    assert all(step.alternatives == () for step in score(scripted(), TEXT, alternatives=0))
