"""Each formula is that of ``transformers`` (run in float64, so that only the formula counts), exact on ties, and writes to no input."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from storyteller.engine import logits as formulas
from storyteller.engine.dry import dry
from storyteller.engine.past import Past
from storyteller.errors import CheckpointInvalid, InvalidParams

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import (
        MinPLogitsWarper,
        NoRepeatNGramLogitsProcessor,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
        TypicalLogitsWarper,
    )

SEEDS = range(10)
MASKED = np.float32(-np.inf)
# Few different values, so that ties are everywhere; some ids masked.
TIED = hnp.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 0.5, 3.0]))
ANY = hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-30, 30, width=32) | st.just(-np.inf))
SHARES = st.floats(0.01, 0.99)


def random_logits(seed, size=500):
    return (np.random.default_rng(seed).normal(size=size) * 3).astype(np.float32)


def theirs(processor, logits, ids=(0,)):
    return processor(torch.tensor([list(ids)]), torch.tensor(logits, dtype=torch.float64)[None])[0].numpy()


def same(ours, expected):
    assert ours.dtype == np.float32
    assert ours == pytest.approx(expected, rel=1e-6, abs=1e-6)


def survivors(logits):
    return np.flatnonzero(logits > -np.inf).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_temperature(seed):
    logits = random_logits(seed)
    for value in (0.1, 0.8, 1.0, 2.5):
        same(formulas.temperature(logits, value), theirs(TemperatureLogitsWarper(value), logits))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 2, 40, 499, 500, 9999])
def test_top_k(seed, k):
    logits = random_logits(seed)
    same(formulas.top_k(logits, k), theirs(TopKLogitsWarper(k), logits))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.999])
def test_top_p(seed, p):
    logits = random_logits(seed)
    same(formulas.top_p(logits, p), theirs(TopPLogitsWarper(p), logits))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 1.0])
def test_min_p(seed, share):
    logits = random_logits(seed)
    same(formulas.min_p(logits, share), theirs(MinPLogitsWarper(share), logits))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_typical_p(seed, p):
    logits = random_logits(seed)
    same(formulas.typical_p(logits, p), theirs(TypicalLogitsWarper(p), logits))


@pytest.mark.parametrize("formula", ["top_k", "top_p", "min_p", "typical_p"])
@pytest.mark.parametrize("seed", SEEDS)
def test_truncation_of_a_row_that_is_partly_masked(formula, seed):
    value, processor = {
        "top_k": (7, TopKLogitsWarper(7)),
        "top_p": (0.8, TopPLogitsWarper(0.8)),
        "min_p": (0.1, MinPLogitsWarper(0.1)),
        "typical_p": (0.8, TypicalLogitsWarper(0.8)),
    }[formula]
    logits = random_logits(seed)
    logits[np.random.default_rng(seed).random(500) < 0.9] = -np.inf
    result = getattr(formulas, formula)(logits, value)
    assert survivors(result) == np.flatnonzero(theirs(processor, logits) > -np.inf).tolist()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("penalty", [0.5, 1.2, 10.0])
def test_repetition_penalty(seed, penalty):
    logits = random_logits(seed)
    ids = np.random.default_rng(seed).integers(0, 500, 80)
    counts = np.bincount(ids, minlength=500)
    same(formulas.repetition_penalty(logits, counts, penalty), theirs(RepetitionPenaltyLogitsProcessor(penalty), logits, ids))


@given(ANY, st.data(), st.floats(-5, 5, width=32), st.floats(-5, 5, width=32))
def test_presence_and_frequency_penalty(logits, data, presence, frequency):
    # OpenAI's definition: mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence
    counts = data.draw(hnp.arrays(np.int64, len(logits), elements=st.integers(0, 9)))
    ours = formulas.frequency_penalty(formulas.presence_penalty(logits, counts, presence), counts, frequency)
    expected = logits.astype(np.float64) - counts * frequency - (counts > 0) * presence
    assert ours == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 3, 4])
def test_no_repeat_ngram(seed, n):
    logits = random_logits(seed, 6)
    ids = np.random.default_rng(seed).integers(1, 6, 40).tolist()
    ours = formulas.ban(logits, Past(ids, 6, 0).followers(n))
    same(ours, theirs(NoRepeatNGramLogitsProcessor(n), logits, ids))


def definition_of_dry(logits, ids, multiplier, base, allowed_length, breakers):
    """p-e-w's words: for each place that is followed by an id, the longest run of equal ids that ends there and at the end of the input."""
    expected = logits.astype(np.float64)
    lengths = {}
    for place in range(len(ids) - 1):
        length = 0
        while length < 50 and length <= place and ids[place - length] == ids[-1 - length] and not breakers[ids[-1 - length]]:
            length += 1
        follower = ids[place + 1]
        if length and not breakers[follower]:
            lengths[follower] = max(length, lengths.get(follower, 0))
    for follower, length in lengths.items():
        if length >= allowed_length:
            expected[follower] -= min(multiplier * base ** (length - allowed_length), 1e6)
    return expected


@given(
    st.lists(st.integers(0, 3) | st.integers(0, 7), min_size=1, max_size=200),
    st.floats(0.1, 3),
    st.floats(1, 2),
    st.integers(1, 6),
    st.sets(st.integers(0, 7), max_size=2),
)
def test_dry(ids, multiplier, base, allowed_length, breaking):
    logits = random_logits(1, 8)
    breakers = np.isin(np.arange(8), list(breaking))
    ours = dry(logits, np.array(ids), multiplier, base, allowed_length, breakers)
    assert ours == pytest.approx(definition_of_dry(logits, ids, multiplier, base, allowed_length, breakers), rel=1e-6, abs=1e-4)


def test_dry_penalises_no_breaker_and_reaches_over_none():
    logits = np.zeros(4, np.float32)
    breakers = np.array([False, False, True, False])
    assert dry(logits, np.array([1, 2, 1]), 1.0, 2.0, 1, breakers).tolist() == [0, 0, 0, 0]
    assert dry(logits, np.array([1, 3, 1]), 1.0, 2.0, 1, breakers).tolist() == [0, 0, 0, -1]
    assert dry(logits, np.array([2, 1, 3, 2, 1]), 1.0, 2.0, 1, breakers).tolist() == [0, 0, 0, -1]
    assert dry(logits, np.array([0, 1, 3, 0, 1]), 1.0, 2.0, 1, breakers).tolist() == [0, 0, 0, -2]
    assert dry(logits, np.array([1, 3, 2]), 1.0, 2.0, 1, breakers).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("repeats", [10, 49, 50, 51, 120])
def test_dry_counts_a_repetition_up_to_its_limit(repeats):
    logits = np.zeros(3, np.float32)
    ids = np.array([1] * repeats)
    ours = dry(logits, ids, 1.0, 1.1, 2, np.zeros(3, bool))
    assert ours == pytest.approx(definition_of_dry(logits, ids.tolist(), 1.0, 1.1, 2, np.zeros(3, bool)), rel=1e-5)


def test_dry_of_an_endless_loop_stays_finite():
    ours = dry(np.zeros(3, np.float32), np.array([1] * 500), 100.0, 10.0, 1, np.zeros(3, bool))
    assert np.isfinite(formulas.temperature(ours, 2e-6)).all()


@given(TIED, st.integers(1, 45))
def test_top_k_keeps_exactly_k_lowest_id_first(logits, k):
    assume((logits > -np.inf).any())
    alive = survivors(logits)
    expected = sorted(alive, key=lambda id: (-logits[id], id))[:k]
    assert survivors(formulas.top_k(logits, k)) == sorted(expected)


@given(TIED, SHARES)
def test_top_p_keeps_the_smallest_set_lowest_id_first(logits, p):
    assume((logits > -np.inf).any())
    kept = survivors(formulas.top_p(logits, p))
    order = sorted(survivors(logits), key=lambda id: (-logits[id], id))
    assert kept == sorted(order[: len(kept)])
    probs = np.exp(logits.astype(np.float64) - logits.max())
    probs /= probs.sum()
    assert len(kept) == 1 or probs[order[: len(kept) - 1]].sum() < p + 1e-9
    assert len(kept) == len(order) or probs[kept].sum() >= p - 1e-9


@given(TIED, SHARES)
def test_typical_p_keeps_at_least_one(logits, p):
    assume((logits > -np.inf).any())
    assert survivors(formulas.typical_p(logits, p))


@pytest.mark.parametrize("p", [0.1, 0.3, 0.6, 0.9, 0.99])
def test_typical_p_of_equals_keeps_the_lowest_ids(p):
    logits = np.random.default_rng(3).integers(0, 5, 600).astype(np.float32)
    kept = survivors(formulas.typical_p(logits, p))
    for value in range(5):
        group = np.flatnonzero(logits == value).tolist()
        among = [id for id in kept if logits[id] == value]
        assert among == group[: len(among)]


@given(TIED)
def test_greedy_takes_the_lowest_of_equals(logits):
    assume((logits > -np.inf).any())
    assert survivors(formulas.temperature(logits, 0.0)) == [min(survivors(logits), key=lambda id: (-logits[id], id))]


@given(TIED, st.integers(1, 45))
def test_most_likely_of_many_rows(logits, k):
    rows = np.stack([logits, logits[::-1]])
    both = formulas.most_likely(rows, k)
    assert both.tolist() == [formulas.most_likely(row, k).tolist() for row in rows]
    assert both[0].tolist() == sorted(range(len(logits)), key=lambda id: (-logits[id], id))[:k]


@given(ANY, ANY)
@settings(deadline=None)
def test_sums_of_mass_do_not_depend_on_the_order(logits, others):
    assume((logits > -np.inf).any())
    masses = formulas.mass(logits, formulas.peak(logits))
    padded = np.concatenate([np.zeros(len(others)), masses])
    assert masses.sum() == masses[::-1].sum() == padded.sum() == masses.cumsum()[-1] == sum(map(int, masses))


def test_mass_of_the_largest_vocabulary_is_exact():
    masses = formulas.mass(np.zeros(65_535, np.float32), np.float32(0))
    assert masses.sum() == 65_535 * 2**36 < 2**53


CALLS = {
    "temperature": lambda logits: formulas.temperature(logits, 0.7),
    "greedy": lambda logits: formulas.temperature(logits, 0.0),
    "top_k": lambda logits: formulas.top_k(logits, 3),
    "top_p": lambda logits: formulas.top_p(logits, 0.5),
    "min_p": lambda logits: formulas.min_p(logits, 0.5),
    "typical_p": lambda logits: formulas.typical_p(logits, 0.5),
    "repetition_penalty": lambda logits: formulas.repetition_penalty(logits, np.ones(len(logits), int), 1.5),
    "presence_penalty": lambda logits: formulas.presence_penalty(logits, np.ones(len(logits), int), 1.5),
    "frequency_penalty": lambda logits: formulas.frequency_penalty(logits, np.ones(len(logits), int), 1.5),
    "ban": lambda logits: formulas.ban(logits, np.array([0])),
    "only": lambda logits: formulas.only(logits, np.array([0])),
    "dry": lambda logits: dry(logits, np.array([0, 0, 0]), 1.0, 1.75, 1, np.zeros(len(logits), bool)),
}
CHOOSING = ["temperature", "greedy", "top_k", "top_p", "min_p", "typical_p"]


@pytest.mark.parametrize("call", CALLS)
def test_input_is_never_written_to(call):
    logits = random_logits(4, 50)
    before = logits.copy()
    logits.flags.writeable = False
    CALLS[call](logits)
    assert logits.tolist() == before.tolist()


@pytest.mark.parametrize("call", CHOOSING)
def test_a_row_that_is_all_masked_is_an_error_in_words(call):
    with pytest.raises(InvalidParams, match="no token is left") as raised:
        CALLS[call](np.full(5, -np.inf, np.float32))
    assert raised.value.hint


@pytest.mark.parametrize("call", CHOOSING)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error_in_words(call, bad):
    logits = random_logits(4, 50)
    logits[7] = bad
    with pytest.raises(CheckpointInvalid, match="not finite"):
        CALLS[call](logits)


@given(ANY, st.sampled_from(CHOOSING))
@settings(deadline=None)
def test_nan_never_comes_out(logits, call):
    assume((logits > -np.inf).any())
    result = CALLS[call](logits)
    assert not np.isnan(result).any()
    assert (result > -np.inf).any()
