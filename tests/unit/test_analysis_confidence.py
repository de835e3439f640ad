from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from storyteller.analysis.confidence import BINS, Calibration, TokenConfidence, calibration, token_confidence
from storyteller.checkpoint.load import LoadedModel, load
from storyteller.engine.generate import prime
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CorpusEmpty, UsageInvalid

PROMPTS = ("Once upon a time", "The fox")
LETTERS = Tokenizer.train(["ab"], 257)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> LoadedModel:
    return load(tiny_checkpoint)


class Coin:
    """Gives "a" the probability ``sure``, "b" the rest, whatever it has read."""

    num_layers = hidden_dim = 1
    vocab_size = 257

    def __init__(self, sure: float) -> None:
        (a,), (b,) = LETTERS.encode("a"), LETTERS.encode("b")
        self.row = np.full(257, -60, np.float32)
        self.row[a], self.row[b] = np.log(sure), np.log(1 - sure)

    def initial_state(self, batch: int) -> NDArray[np.float32]:
        return np.zeros((1, batch, 1), np.float32)

    def prefill(self, ids: NDArray[np.int64], state: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.tile(self.row, (*ids.shape, 1)), state

    def step(self, ids: NDArray[np.int64], state: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.tile(self.row, (len(ids), 1)), state


def coin(sure: float) -> SimpleNamespace:
    return SimpleNamespace(runtime=Coin(sure), tokenizer=LETTERS)


def test_the_distribution_is_the_softmax_of_the_logits(tiny: LoadedModel) -> None:
    record = token_confidence(tiny, PROMPTS, top=7)
    for row, prompt in enumerate(PROMPTS):
        logits = prime(tiny, prompt).logits.astype(np.float64)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        ranked = np.sort(probabilities)[::-1]
        assert record.probabilities[row] == pytest.approx(ranked[:7], abs=1e-9)
        assert record.entropy[row] == pytest.approx(-(probabilities * np.log(probabilities)).sum(), abs=1e-9)
        count = int(record.nucleus[row])
        assert ranked[:count].sum() >= 0.9 > ranked[: count - 1].sum()
        assert record.ids[row, 0] == probabilities.argmax()
    assert len(record.tokens[0]) == 7


def test_a_sure_model_needs_one_token() -> None:
    record = token_confidence(coin(0.95), ["x"], top=2)
    assert record.tokens == (("-a", "-b"),)
    assert record.probabilities[0] == pytest.approx([0.95, 0.05])
    assert record.nucleus.tolist() == [1]
    assert record.entropy[0] == pytest.approx(-0.95 * np.log(0.95) - 0.05 * np.log(0.05), abs=1e-6)


def test_calibration_counts_how_often_the_best_guess_was_right() -> None:
    # Of the 10 predictions of each story, its end included, 7 are right; the model is sure at 0.72.
    record = calibration(coin(0.72), ["aaabaaaab"] * 12)
    assert (record.stories, record.predictions) == (12, 120)
    place = int(np.flatnonzero(record.counts)[0])
    assert record.counts.sum() == record.counts[place] == 120
    assert record.edges[place] < 0.72 <= record.edges[place + 1]
    assert record.confidence[place] == pytest.approx(0.72)
    assert record.accuracy[place] == pytest.approx(0.7)
    assert record.error == pytest.approx(0.02, abs=1e-6)
    assert (record.mean_confidence, record.mean_accuracy) == (pytest.approx(0.72), pytest.approx(0.7))
    # All stories are alike, so that resampling them changes nothing.
    assert record.low[place] == pytest.approx(0.7)
    assert record.error_high == pytest.approx(0.02, abs=1e-6)
    assert np.isnan(np.delete(record.accuracy, place)).all()


def test_intervals_hold_the_variation_between_stories() -> None:
    stories = ["a" * 9, "b" * 9] * 10
    record = calibration(coin(0.6), stories, seed=1)
    place = int(np.flatnonzero(record.counts)[0])
    assert record.accuracy[place] == pytest.approx(0.45)
    # Half of 20 stories right: standard error 0.9 × √(0.25 / 20) = 0.10.
    assert record.low[place] == pytest.approx(0.45 - 1.96 * 0.1, abs=0.05)
    assert record.high[place] == pytest.approx(0.45 + 1.96 * 0.1, abs=0.05)
    assert record.error_low <= record.error <= record.error_high


def test_expected_calibration_error_of_a_random_model(tiny: LoadedModel) -> None:
    texts = ["The fox found a red ball.", "They played.", "Where is it?", "The owl said so.", "Once upon a time."]
    record = calibration(tiny, texts)
    confidences, right = [], []
    end = tiny.tokenizer.end_id
    for text in texts:
        ids = [end, *tiny.tokenizer.encode(text), end]
        logits, _ = tiny.runtime.prefill(np.array([ids[:-1]]), tiny.runtime.initial_state(1))
        values = logits[0].astype(np.float64)
        probabilities = np.exp(values) / np.exp(values).sum(-1, keepdims=True)
        confidences += probabilities.max(-1).tolist()
        right += (probabilities.argmax(-1) == ids[1:]).tolist()
    sure, hit = np.array(confidences), np.array(right, float)
    error = 0.0
    for low in np.linspace(0, 1, BINS, endpoint=False):
        inside = (sure > low) & (sure <= low + 1 / BINS)
        if inside.any():
            error += inside.sum() / len(sure) * abs(hit[inside].mean() - sure[inside].mean())
    assert record.error == pytest.approx(error, abs=1e-9)
    assert record.predictions == len(sure)


def test_a_text_longer_than_a_piece_of_reading_is_counted_whole() -> None:
    assert calibration(coin(0.6), ["a" * 300] * 5).predictions == 5 * 301


def test_records_come_back_from_the_disk(tiny: LoadedModel, tmp_path: Path) -> None:
    token_confidence(tiny, PROMPTS).save(tmp_path / "one")
    assert TokenConfidence.load(tmp_path / "one").prompts == PROMPTS
    calibration(coin(0.72), ["aab"] * 5).save(tmp_path / "two")
    assert Calibration.load(tmp_path / "two").stories == 5


def test_what_cannot_be_measured_is_refused(tiny: LoadedModel) -> None:
    with pytest.raises(UsageInvalid, match="no prompt"):
        token_confidence(tiny, [])
    with pytest.raises(UsageInvalid, match="top must be"):
        token_confidence(tiny, PROMPTS, top=0)
    with pytest.raises(CorpusEmpty, match="2 stories are too few"):
        calibration(tiny, ["The fox.", " ", "The owl."])
