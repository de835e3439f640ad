"""Forgetting, names, growth and the logit lens, against independent computations."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from storyteller.analysis.forgetting import ForgettingCurve, forgetting_curve, token_groups
from storyteller.analysis.growth import TrainingGrowth, training_growth
from storyteller.analysis.heroes import NameTracking, name_tracking
from storyteller.analysis.lens import LogitLens, logit_lens
from storyteller.checkpoint.format import write_checkpoint
from storyteller.checkpoint.load import LoadedModel, load
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.names import names
from storyteller.engine.params import SamplingParams
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import DataInvalid, UsageInvalid

TEXT = "The fox found a red ball, and the ball rolled down the hill."
STORY = "Lily had a red ball. The fox saw it. She ran home to the wood, and in the evening Tom said Lily was his mother."


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> LoadedModel:
    return load(tiny_checkpoint)


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Two layers that keep 90 and 50 per cent of everything at every token."""
    tokenizer = Tokenizer.train([f" {TEXT}"] * 20, 330)
    config = GRUConfig(vocab_size=tokenizer.vocab_size, embed_dim=4, hidden_dim=3, num_layers=2, dropout=0.0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    weights["gru.bias_ih_l0"][3:6] = math.log(9)
    for layer in range(2):
        weights[f"gru.bias_ih_l{layer}"][6:] = 1
    path = tmp_path_factory.mktemp("even") / "made"
    write_checkpoint(path, config, weights, tokenizer, SamplingParams(), {}, "# made\n")
    return load(path)


def test_even_forgetting_is_a_straight_decay(even: LoadedModel) -> None:
    record = forgetting_curve(even, [TEXT * 3] * 3, lags=8)
    assert record.stories == 3
    assert record.curves.shape == (2, len(record.groups), 8)
    for group in range(len(record.groups)):
        assert record.curves[0, group] == pytest.approx(0.9 ** np.arange(8), rel=1e-4)
        assert record.curves[1, group] == pytest.approx(0.5 ** np.arange(8), rel=1e-4)
    assert record.half_life[0] == pytest.approx(math.log(0.5) / math.log(0.9), rel=1e-4)
    assert record.half_life[1] == pytest.approx(1, rel=1e-4)
    assert (record.low <= record.half_life).all()
    assert (record.half_life <= record.high).all()


def test_tokens_are_counted_by_kind(even: LoadedModel) -> None:
    ids = [even.tokenizer.end_id, *even.tokenizer.encode(f" {TEXT}")]
    kinds = dict(zip([even.tokenizer.token_texts[id] for id in ids], token_groups(even.tokenizer, ids), strict=True))
    assert kinds[" fox"] == "animals"
    assert kinds[" ball"] == "things"
    assert kinds[" the"] == "function"
    assert kinds["."] == "punctuation"
    record = forgetting_curve(even, [TEXT * 3] * 4, lags=4)
    assert record.counts.sum() <= 4 * 3 * len(ids)
    assert (record.counts >= 10).all()


def test_texts_too_short_to_forget_in_are_refused(even: LoadedModel) -> None:
    with pytest.raises(UsageInvalid, match="too short"):
        forgetting_curve(even, ["The fox"])
    with pytest.raises(UsageInvalid, match="lags"):
        forgetting_curve(even, [TEXT], lags=1)


def test_the_lens_on_the_top_layer_is_the_model(tiny: LoadedModel) -> None:
    record = logit_lens(tiny, TEXT)
    ids = [tiny.tokenizer.end_id, *tiny.tokenizer.encode(TEXT)]
    logits, _ = tiny.runtime.prefill(np.array([ids]), tiny.runtime.initial_state(1))
    values = logits[0].astype(np.float64)
    probabilities = np.exp(values) / np.exp(values).sum(-1, keepdims=True)
    assert record.probabilities[-1] == pytest.approx(probabilities.max(-1), abs=1e-5)
    assert record.final[-1] == pytest.approx(record.probabilities[-1])
    assert record.divergence[-1] == pytest.approx(np.zeros(len(ids)), abs=1e-9)
    assert (record.divergence[0] > 0).all()


def test_the_lens_reads_lower_layers_through_the_same_output_layer(tiny: LoadedModel) -> None:
    record = logit_lens(tiny, TEXT)
    model = tiny.torch_model()
    weights = tiny.checkpoint.weights()
    state = tiny.runtime.initial_state(1)
    for place, id in enumerate([tiny.tokenizer.end_id, *tiny.tokenizer.encode(TEXT)]):
        logits, state = tiny.runtime.step(np.array([id]), state)
        lower = (weights["output.weight"] @ state[0, 0] + weights["output.bias"]).astype(np.float64)
        own = np.exp(lower) / np.exp(lower).sum()
        top = np.exp(logits[0].astype(np.float64)) / np.exp(logits[0].astype(np.float64)).sum()
        assert record.probabilities[0, place] == pytest.approx(own.max(), abs=1e-5)
        assert record.final[0, place] == pytest.approx(own[top.argmax()], abs=1e-5)
        assert record.divergence[0, place] == pytest.approx((top * np.log(top / own)).sum(), abs=1e-4)
    assert model.config.num_layers == len(record.top) == 2


@pytest.mark.parametrize("text", ["", "x" * 400])
def test_the_lens_needs_a_text_of_some_length(tiny: LoadedModel, text: str) -> None:
    with pytest.raises(UsageInvalid, match="layer by layer"):
        logit_lens(tiny, text)


def test_every_name_that_stands_is_a_place(tiny: LoadedModel) -> None:
    record = name_tracking(tiny, STORY)
    assert record.hero == "Lily"
    standing = [(start, name) for start, name in zip(record.starts.tolist(), record.said, strict=True) if name]
    assert standing == [(seen.start, seen.name) for seen in names(STORY)]
    assert [name for _, name in standing] == ["Lily", "Tom", "Lily"]
    assert (np.diff(record.places) > 0).all()


def test_the_heros_probability_is_that_of_all_tokens_of_the_name(tiny: LoadedModel) -> None:
    record = name_tracking(tiny, STORY, hero="Tom")
    ids = [tiny.tokenizer.end_id, *tiny.tokenizer.encode(STORY)]
    for row, place in enumerate(record.places.tolist()):
        total = 0.0
        for spelling in (" Tom", "Tom"):
            name = tiny.tokenizer.encode(spelling)
            whole = [*ids[: place + 1], *name]
            logits, _ = tiny.runtime.prefill(np.array([whole]), tiny.runtime.initial_state(1))
            values = logits[0].astype(np.float64)
            logprobs = values - np.log(np.exp(values).sum(-1, keepdims=True))
            total += math.exp(sum(logprobs[at, id] for at, (_, id) in enumerate(pairwise(whole)) if at >= place))
        assert record.hero_probability[row] == pytest.approx(total, rel=1e-3, abs=1e-9)
    assert len(tiny.tokenizer.encode(" Tom")) > 1


def test_a_likely_name_makes_a_place_and_a_rival(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train([" Lily Tom The fox ran home to"] * 30, 320)
    config = GRUConfig(vocab_size=tokenizer.vocab_size, embed_dim=2, hidden_dim=2, num_layers=1, dropout=0.0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    (tom,), (lily,) = tokenizer.encode(" Tom"), tokenizer.encode(" Lily")
    weights["output.bias"][tom], weights["output.bias"][lily] = 6, 5
    write_checkpoint(tmp_path / "made", config, weights, tokenizer, SamplingParams(), {}, "# made\n")
    record = name_tracking(load(tmp_path / "made"), " The fox ran home to Lily")
    total = math.exp(6) + math.exp(5) + config.vocab_size - 2
    assert len(record.places) == record.tokens
    assert set(record.rivals) == {"Tom"}
    assert record.rival_probability == pytest.approx(math.exp(6) / total, rel=1e-5)
    assert record.hero_probability == pytest.approx(math.exp(5) / total, rel=1e-2)


def test_a_text_without_a_name_is_refused(tiny: LoadedModel) -> None:
    with pytest.raises(UsageInvalid, match="no name in this text"):
        name_tracking(tiny, "The fox ran home.")


LINES = [
    {"iteration": 0, "tokens": 0, "train_loss": None, "nats_per_token": 8.0, "final": False, "samples": [{"prompt": "One", "text": " xx"}]},
    {"iteration": 50, "tokens": 500, "train_loss": 4.0, "nats_per_token": 3.0, "final": False},
    {
        "iteration": 90,
        "tokens": 900,
        "train_loss": 3.0,
        "nats_per_token": None,
        "final": False,
        "samples": [{"prompt": "One", "text": " day"}, {"prompt": "Two", "text": " dogs"}],
    },
    {"iteration": 90, "tokens": 900, "train_loss": None, "nats_per_token": 2.0, "final": True},
]


def test_growth_reads_the_journal() -> None:
    record = training_growth(LINES)
    assert record.iterations.tolist() == [0, 50, 90]
    assert record.tokens.tolist() == [0, 500, 900]
    assert np.array_equal(record.train_loss, [np.nan, 4, 3], equal_nan=True)
    assert np.array_equal(record.valid_loss, [8, 3, np.nan], equal_nan=True)
    assert (record.prompt, record.samples) == ("One", (" xx", "", " day"))
    assert training_growth(LINES, prompt="Two").samples == ("", "", " dogs")


def test_growth_without_a_journal_is_refused() -> None:
    with pytest.raises(DataInvalid, match="no journal"):
        training_growth(LINES[:1])
    with pytest.raises(DataInvalid, match="nothing was told from 'Three'"):
        training_growth(LINES, prompt="Three")


def test_they_come_back_from_the_disk(tiny: LoadedModel, even: LoadedModel, tmp_path: Path) -> None:
    growth = training_growth(LINES)
    growth.save(tmp_path / "growth")
    assert TrainingGrowth.load(tmp_path / "growth").samples == growth.samples
    logit_lens(tiny, TEXT).save(tmp_path / "lens")
    assert len(LogitLens.load(tmp_path / "lens").top) == 2
    name_tracking(tiny, STORY).save(tmp_path / "names")
    assert NameTracking.load(tmp_path / "names").hero == "Lily"
    forgetting_curve(even, [TEXT * 3] * 3).save(tmp_path / "forgetting")
    assert ForgettingCurve.load(tmp_path / "forgetting").stories == 3
