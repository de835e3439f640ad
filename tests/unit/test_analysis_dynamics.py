from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storyteller.analysis.dynamics import GenerationDynamics, generation_dynamics
from storyteller.analysis.labels import END, START, token_label, token_labels
from storyteller.analysis.network import Network
from storyteller.analysis.retention import half_lives, memory
from storyteller.checkpoint.load import LoadedModel, load
from storyteller.engine.generate import stream
from storyteller.engine.params import SamplingParams
from storyteller.errors import UsageInvalid

PROMPT = "Once upon a time the fox"
PARAMS = SamplingParams(temperature=0.9, ignore_end=True)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> LoadedModel:
    return load(tiny_checkpoint)


@pytest.fixture(scope="module")
def record(tiny: LoadedModel) -> GenerationDynamics:
    return generation_dynamics(tiny, PROMPT, params=PARAMS, seed=5, new_tokens=12)


def test_the_story_is_the_one_that_is_told(tiny: LoadedModel, record: GenerationDynamics) -> None:
    params = SamplingParams(temperature=0.9, ignore_end=True, max_len=12)
    told = [step.id for step in stream(tiny, PROMPT, params, 5, post_process=False)]
    assert record.ids.tolist()[record.prompt_len :] == told
    assert record.text == tiny.tokenizer.decode(record.ids.tolist())
    assert record.text.startswith(PROMPT)
    assert len(record.tokens) == len(record.ids) == record.prompt_len + 12
    assert record.tokens[0] == START


def test_states_are_those_of_the_runtime(tiny: LoadedModel, record: GenerationDynamics) -> None:
    state = tiny.runtime.initial_state(1)
    before = np.zeros_like(state)
    for place, id in enumerate(record.ids):
        _, state = tiny.runtime.step(np.array([id]), state)
        assert np.abs(record.states[:, place] - state[:, 0]).max() < 1e-5
        assert record.norms[:, place] == pytest.approx(np.linalg.norm(state[:, 0], axis=-1), abs=1e-5)
        assert record.movement[:, place] == pytest.approx(np.linalg.norm((state - before)[:, 0], axis=-1), abs=1e-5)
        before = state


def test_openness_and_half_lives_come_from_the_gates(tiny: LoadedModel, record: GenerationDynamics) -> None:
    trace = Network.of(tiny).read_ids(record.ids.tolist())
    assert record.openness == pytest.approx(1 - trace.update.mean(-1), abs=1e-6)
    for layer in range(2):
        assert np.array_equal(record.half_life[layer], half_lives(memory(trace, layer)))
    assert (record.half_life > 0).all()
    assert np.isinf(record.half_life[:, -1]).all()


def test_points_are_the_principal_components(record: GenerationDynamics) -> None:
    for layer in range(2):
        states = record.states[layer].astype(np.float64)
        states -= states.mean(0)
        values = np.linalg.eigvalsh(states.T @ states)[::-1]
        assert np.square(record.points[layer]).sum(0) == pytest.approx(values[:2], rel=1e-6)
        assert record.explained[layer] == pytest.approx(values[:2] / values.sum(), rel=1e-6)
        assert (record.points[layer].max(0) >= -record.points[layer].min(0) - 1e-12).all()


def test_active_units_vary_most_and_stand_in_the_order_of_their_peaks(record: GenerationDynamics) -> None:
    top = record.states[-1]
    spread = top.std(0)
    assert len(record.active) == min(24, top.shape[1])
    assert (
        set(np.delete(np.arange(top.shape[1]), record.active)) == set()
        or spread[record.active].min() >= np.delete(spread, record.active).max()
    )
    assert (np.diff(top[:, record.active].argmax(0)) >= 0).all()


def test_a_prompt_alone_can_be_looked_at(tiny: LoadedModel) -> None:
    record = generation_dynamics(tiny, PROMPT, new_tokens=0)
    assert record.text == PROMPT
    assert len(record.ids) == record.prompt_len


def test_what_is_too_short_or_too_long_is_refused(tiny: LoadedModel) -> None:
    with pytest.raises(UsageInvalid, match="fewer than 3 tokens"):
        generation_dynamics(tiny, "", new_tokens=0)
    with pytest.raises(UsageInvalid, match="1024 can be looked at"):
        generation_dynamics(tiny, PROMPT, new_tokens=2000)


def test_it_comes_back_from_the_disk(record: GenerationDynamics, tmp_path: Path) -> None:
    record.save(tmp_path / "dynamics")
    again = GenerationDynamics.load(tmp_path / "dynamics")
    assert again.tokens == record.tokens
    assert np.array_equal(again.half_life, record.half_life)
    assert again.states.dtype == np.float32


def test_labels_of_tokens(tiny: LoadedModel) -> None:
    tokenizer = tiny.tokenizer
    ids = [tokenizer.end_id, *tokenizer.encode("The fox, zebra\n\n“No"), tokenizer.end_id]
    labels = token_labels(tokenizer, ids)
    assert labels[0] == START
    assert labels[-1] == END
    assert "fox" in labels
    assert "," in labels
    assert not any(" " in label or "\n" in label for label in labels)
    assert not labels[1].startswith("-")
    assert any(label.startswith("-") for label in labels)
    byte = tokenizer.encode("🐉")[0]
    assert token_label(tokenizer, byte).startswith("\\x")
