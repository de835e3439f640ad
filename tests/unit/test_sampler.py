"""A choice is a pure function of ids, logits, parameters, seed and position: alone, in a batch, resumed, with parameters set on the way."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from storyteller.engine import logits as formulas
from storyteller.engine.ban import bans
from storyteller.engine.dry import breaker_ids, dry
from storyteller.engine.logits import ORDER
from storyteller.engine.noise import gumbel, key
from storyteller.engine.params import SamplingParams
from storyteller.engine.past import Past
from storyteller.engine.sampler import Sampler, choose_batch
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid, InvalidParams

TOKENIZER = Tokenizer.train(['The fox ran to the hill. "Oh," said the ball, "the owl was not ill."\n'] * 3, 300)
VOCAB = TOKENIZER.vocab_size
END = TOKENIZER.end_id
IDS = st.lists(st.integers(1, VOCAB - 1) | st.integers(60, 75), max_size=40).map(lambda ids: [END, *ids])
OFF_OR = {
    "temperature": st.sampled_from([0.0, 0.3, 0.8, 1.5]),
    "top_k": st.just(0) | st.integers(1, 350),
    "top_p": st.just(1.0) | st.floats(0.05, 0.99),
    "min_p": st.just(0.0) | st.floats(0.001, 0.5),
    "typical_p": st.just(1.0) | st.just(1.0) | st.floats(0.05, 0.99),
    "repetition_penalty": st.sampled_from([1.0, 1.3, 0.7]),
    "presence_penalty": st.sampled_from([0.0, 0.5, -0.5]),
    "frequency_penalty": st.sampled_from([0.0, 0.25]),
    "penalty_window": st.sampled_from([0, 1, 8, 64]),
    "dry_multiplier": st.sampled_from([0.0, 0.8]),
    "dry_allowed_length": st.integers(1, 3),
    "dry_window": st.sampled_from([0, 5, 1024]),
    "no_repeat_ngram": st.integers(0, 3),
    "ban": st.sampled_from([(), ("the",), (" h", "é", "\n")]),
    "gentle": st.booleans(),
    "ignore_end": st.booleans(),
}
PARAMS = st.fixed_dictionaries({}, optional=OFF_OR).map(lambda values: SamplingParams(**values))
SEEDS = st.integers(0, 2**63 - 1)


def random_rows(seed, count=1, spread=3.0):
    return (np.random.default_rng(seed).normal(size=(count, VOCAB)) * spread).astype(np.float32)


def pure_stages(logits, ids, params, only=None):
    """Every stage of ORDER by its own formula, one after the other, from the ids alone."""
    stages = {}
    past = Past(ids, VOCAB, END)
    counts = past.counts(params.penalty_window)
    left = formulas.repetition_penalty(logits, counts, params.repetition_penalty)
    left = formulas.presence_penalty(left, counts, params.presence_penalty)
    stages["penalties"] = left = formulas.frequency_penalty(left, counts, params.frequency_penalty)
    if params.dry_multiplier:
        window = past.last(params.dry_window)
        left = dry(left, window, params.dry_multiplier, params.dry_base, params.dry_allowed_length, breaker_ids(TOKENIZER))
    stages["dry"] = left
    if params.no_repeat_ngram:
        left = formulas.ban(left, past.followers(params.no_repeat_ngram))
    stages["no_repeat_ngram"] = left
    if only is not None:
        left = formulas.only(left, only)
    rules = bans(TOKENIZER, params.ban, params.gentle)
    left = formulas.ban(left, rules.completing(rules.after(ids)))
    if params.ignore_end:
        left = formulas.ban(left, np.array([END]))
    elif left.max() == -np.inf:
        left = formulas.only(stages["no_repeat_ngram"], np.array([END]))
    stages["ban"] = left
    stages["temperature"] = left = formulas.temperature(left, params.temperature)
    if params.top_k:
        left = formulas.top_k(left, params.top_k)
    stages["top_k"] = left
    if params.typical_p < 1:
        left = formulas.typical_p(left, params.typical_p)
    stages["typical_p"] = left
    if params.top_p < 1:
        left = formulas.top_p(left, params.top_p)
    stages["top_p"] = left
    if params.min_p:
        left = formulas.min_p(left, params.min_p)
    stages["min_p"] = left
    assert tuple(stages) == ORDER
    return list(stages.values())


def seen(choice):
    return choice.id, choice.prob, choice.kept.tolist()


@given(
    IDS,
    PARAMS,
    SEEDS,
    st.integers(0, 2**32),
    st.sampled_from([0.01, 3.0, 20.0]),
    st.none() | st.sets(st.integers(0, VOCAB - 1), min_size=1),
)
@settings(deadline=None)
def test_choice_is_the_best_of_what_the_pure_functions_keep(ids, params, seed, noise, spread, allowed):
    logits = random_rows(noise, spread=spread)[0]
    only = None if allowed is None else np.array(sorted(allowed))
    try:
        stages = pure_stages(logits, ids, params, only)
    except InvalidParams:
        with pytest.raises(InvalidParams):
            Sampler(TOKENIZER, ids, params).choose(logits, seed, len(ids), only=only)
        return
    choice = Sampler(TOKENIZER, ids, params).choose(logits, seed, len(ids), trace=True, only=only)
    kept = np.flatnonzero(stages[-1] > -np.inf)
    assert choice.kept.tolist() == kept.tolist()
    assert choice.survivors == tuple(np.count_nonzero(stage > -np.inf) for stage in stages)
    left = stages[-1][kept].astype(np.float64)
    probs = np.exp(left - left.max())
    probs /= probs.sum()
    best = 0 if params.temperature == 0 else int((left + gumbel(key(seed, len(ids)), kept)).argmax())
    assert choice.id == kept[best]
    assert choice.prob == pytest.approx(probs[best], rel=1e-9, abs=1e-12)


@given(IDS, PARAMS, SEEDS, st.integers(0, 2**32))
@settings(deadline=None)
def test_trace_changes_nothing_and_nothing_writes_into_the_logits(ids, params, seed, noise):
    logits = random_rows(noise)[0]
    before = logits.copy()
    logits.flags.writeable = False
    sampler = Sampler(TOKENIZER, ids, params)
    assert seen(sampler.choose(logits, seed, 5)) == seen(sampler.choose(logits, seed, 5, trace=True))
    choose_batch([sampler], logits[None], [seed], [5])
    assert logits.tolist() == before.tolist()


@given(st.lists(st.tuples(IDS, st.integers(0, 1), SEEDS), min_size=1, max_size=11), PARAMS, PARAMS, st.integers(0, 2**32))
@settings(deadline=None)
def test_batch_is_row_by_row(rows, params, others, noise):
    logits = random_rows(noise, len(rows))
    samplers = [Sampler(TOKENIZER, ids, (params, others)[which]) for ids, which, _ in rows]
    seeds = [seed for _, _, seed in rows]
    positions = [len(ids) for ids, _, _ in rows]
    together = choose_batch(samplers, logits, seeds, positions)
    alone = [sampler.choose(row, seed, position) for sampler, row, seed, position in zip(samplers, logits, seeds, positions, strict=True)]
    assert [seen(choice) for choice in together] == [seen(choice) for choice in alone]


@pytest.mark.parametrize("batch", [2, 4, 5, 16, 64])
@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(top_k=40, top_p=0.95),
        SamplingParams(top_p=0.9),
        SamplingParams(min_p=0.02, repetition_penalty=1.2),
    ],
    ids=["plain", "top_k", "top_p", "min_p"],
)
def test_large_batch_is_row_by_row(batch, params):
    logits = random_rows(batch, batch)
    samplers = [Sampler(TOKENIZER, [END, *range(row, row + 9)], params) for row in range(batch)]
    together = choose_batch(samplers, logits, range(batch), [10] * batch)
    alone = [sampler.choose(logits[row], row, 10) for row, sampler in enumerate(samplers)]
    assert [seen(choice) for choice in together] == [seen(choice) for choice in alone]


@given(IDS, st.lists(st.tuples(st.integers(1, VOCAB - 1) | st.integers(60, 75), PARAMS), min_size=1, max_size=12), SEEDS)
@settings(deadline=None)
def test_pushed_is_resumed_whatever_the_parameters_were(begin, steps, seed):
    running = Sampler(TOKENIZER, begin, steps[0][1])
    ids = list(begin)
    for id, params in steps:
        running.params = params
        logits = random_rows(id)[0]
        resumed = Sampler(TOKENIZER, ids, params)
        assert seen(running.choose(logits, seed, len(ids))) == seen(resumed.choose(logits, seed, len(ids)))
        running.push(id)
        ids.append(id)


@given(IDS, PARAMS, SEEDS, SEEDS)
@settings(deadline=None)
def test_greedy_ignores_the_seed(ids, params, one, other):
    sampler = Sampler(TOKENIZER, ids, dataclasses.replace(params, temperature=0))
    logits = random_rows(1)[0]
    assert seen(sampler.choose(logits, one, 3)) == seen(sampler.choose(logits, other, 9))


def test_frequencies_are_the_probabilities():
    logits = np.full(VOCAB, -np.inf, np.float32)
    logits[[3, 50, 51, 200]] = [0.0, 1.0, 2.0, -1.0]
    sampler = Sampler(TOKENIZER, [END], SamplingParams(temperature=1))
    draws = 20_000
    observed = np.bincount([sampler.choose(logits, 42, position).id for position in range(draws)], minlength=VOCAB)[[3, 50, 51, 200]]
    expected = np.exp([0.0, 1.0, 2.0, -1.0]) / np.exp([0.0, 1.0, 2.0, -1.0]).sum() * draws
    # Chi-square of 3 degrees of freedom: 21 is passed by 1 in 10,000.
    assert ((observed - expected) ** 2 / expected).sum() < 21


@given(SEEDS, st.sampled_from(["top_k", "min_p"]))
def test_noise_of_a_survivor_does_not_depend_on_who_else_survives(seed, stage):
    logits = random_rows(8)[0]
    wide = Sampler(TOKENIZER, [END], SamplingParams()).choose(logits, seed, 4)
    params = SamplingParams(top_k=60) if stage == "top_k" else SamplingParams(min_p=0.01)
    narrow = Sampler(TOKENIZER, [END], params).choose(logits, seed, 4)
    assume(wide.id in narrow.kept)
    assert narrow.id == wide.id


@given(SEEDS)
def test_the_penalties_spare_the_end_token(seed):
    params = SamplingParams(repetition_penalty=5, presence_penalty=9, frequency_penalty=9, penalty_window=0, no_repeat_ngram=1)
    logits = np.zeros(VOCAB, np.float32)
    logits[END] = 1
    sampler = Sampler(TOKENIZER, [END, 5, 6], params)
    assert sampler.choose(logits, seed, 3).kept.tolist() == [id for id in range(VOCAB) if id not in (5, 6)]
    assert Sampler(TOKENIZER, [END, 5], dataclasses.replace(params, temperature=0)).choose(logits, seed, 2).id == END


def test_every_way_to_tell_a_banned_string_is_closed():
    params = SamplingParams(temperature=2, ban=("the", "o", "\n"), gentle=True)
    sampler = Sampler(TOKENIZER, [END], params)
    ids = []
    for position in range(400):
        ids.append(sampler.choose(random_rows(position)[0], 1, position).id)
        sampler.push(ids[-1])
    text = b"".join(TOKENIZER.token_bytes[id] for id in ids if id != END)
    assert not any(banned in text for banned in (b"o", b"\n"))
    parts = b"".join(TOKENIZER.token_bytes[id] or b"\0" for id in ids)
    assert b"the" not in parts


@given(st.text(alphabet="abc", min_size=1, max_size=12), st.lists(st.text(alphabet="abc", min_size=1, max_size=3), min_size=1, max_size=3))
def test_bans_follow_what_is_pushed(text, banned):
    params = SamplingParams(ban=tuple(banned))
    sampler = Sampler(TOKENIZER, [END], params)
    logits = np.zeros(VOCAB, np.float32)
    told = ""
    for char in text:
        (id,) = TOKENIZER.encode(char)
        choice = sampler.choose(logits, 1, 1)
        assert (id in choice.kept) == (not any((told + char).endswith(each) for each in banned))
        sampler.push(id)
        told += char


def test_only_and_bans_that_leave_nothing_leave_the_end_token():
    only = np.array(TOKENIZER.encode("a"))
    sampler = Sampler(TOKENIZER, [END], SamplingParams(ban=("a",)))
    choice = sampler.choose(random_rows(1)[0], 1, 1, only=only)
    assert (choice.id, choice.prob, choice.kept.tolist()) == (END, 1.0, [END])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_where_the_end_token_is_masked_too_it_is_an_error_in_words(temperature):
    only = np.array(TOKENIZER.encode("a"))
    sampler = Sampler(TOKENIZER, [END], SamplingParams(temperature=temperature, ban=("a",), ignore_end=True))
    with pytest.raises(InvalidParams, match="no token is left"):
        sampler.choose(random_rows(1)[0], 1, 1, only=only)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_model_that_answers_with_no_numbers_is_an_error_in_words(temperature, bad):
    logits = random_rows(1, 3)
    logits[1, 7] = bad
    samplers = [Sampler(TOKENIZER, [END], SamplingParams(temperature=temperature))] * 3
    with pytest.raises(CheckpointInvalid, match="not finite"):
        choose_batch(samplers, logits, [1, 2, 3], [1, 1, 1])


def test_ignore_end_never_chooses_the_end():
    logits = random_rows(1)[0]
    logits[END] = 100
    assert END not in Sampler(TOKENIZER, [END], SamplingParams(ignore_end=True)).choose(logits, 1, 1).kept
    assert Sampler(TOKENIZER, [END], SamplingParams()).choose(logits, 1, 1).id == END


def test_breakers_of_dry():
    breaking = {TOKENIZER.token_bytes[id] for id in np.flatnonzero(breaker_ids(TOKENIZER))}
    assert {b"", b"\n", b'"', b":", b"*"} <= breaking
    assert not {b"a", b".", b" the", b","} & breaking
