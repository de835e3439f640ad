import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storyteller.engine import prefill
from storyteller.engine.generate import generate, prime, sample_seeds, stream
from storyteller.engine.params import SamplingParams
from storyteller.engine.postprocess import StoryFilter
from storyteller.engine.steps import Snapshot, Step
from storyteller.errors import UsageInvalid

DAMAGED = 'David saw a dragon 🐉 . " I didn \' t see D av id ! " said Zoë , and 🐉 laughed . They went home . THE END. And so on. '
PLAIN = SamplingParams(temperature=0, max_len=200)
EVERYTHING = SamplingParams(
    temperature=1.3,
    top_k=40,
    top_p=0.95,
    min_p=0.001,
    typical_p=0.98,
    repetition_penalty=1.1,
    presence_penalty=0.1,
    frequency_penalty=0.1,
    penalty_window=12,
    dry_multiplier=0.5,
    dry_allowed_length=2,
    no_repeat_ngram=5,
    ban=("home", "zz"),
    stop=("THE END", "ends here", "🐉🐉🐉"),
    max_len=60,
)
fixtures_are_pure = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
SEED = st.integers(0, 2**63 - 1)


def text_of(steps: list[Step]) -> str:
    return "".join(step.text for step in steps)


def told_at_once(model, prompt: str, ids: list[int], *, cut: bool) -> str:
    story_filter = StoryFilter().prime(prompt)
    return story_filter.feed(model.tokenizer.decode(ids)) + story_filter.finish(cut=cut)


def told_for_good(steps: list[Step]) -> str:
    pieces = [piece for step in steps for piece in step.pieces]
    return "".join(text for text, _ in pieces[: len(pieces) - steps[-1].flushed])


def from_step(steps: list[Step], place: int) -> Snapshot:
    snapshot = steps[place].snapshot
    assert snapshot is not None
    return snapshot


# Law 1


@fixtures_are_pure
@given(SEED, st.sampled_from([0.0, 4.0, 8.0, 100.0]), st.integers(1, 80), st.sampled_from(["", "Once upon", "D av", 'She said, "']))
def test_steps_join_to_the_filtered_text_of_their_ids(scripted, seed: int, pull: float, max_len: int, prompt: str) -> None:
    model = scripted(DAMAGED, pull=pull)
    steps = list(stream(model, prompt, SamplingParams(temperature=1, max_len=max_len), seed))
    assert text_of(steps) == told_at_once(model, prompt, [step.id for step in steps], cut=steps[-1].finish_reason == "length")


@fixtures_are_pure
@given(SEED, st.sampled_from([0.0, 6.0]), st.integers(1, 80))
def test_raw_steps_join_to_the_decoded_text_and_pieces_tell_where_each_character_is_from(scripted, seed, pull, max_len) -> None:
    model = scripted(DAMAGED, pull=pull)
    steps = list(stream(model, "", SamplingParams(temperature=1, max_len=max_len), seed, post_process=False))
    assert text_of(steps) == model.tokenizer.decode([step.id for step in steps])
    texts: dict[int, str] = {}
    for text, index in itertools.chain.from_iterable(step.pieces for step in steps):
        texts[index] = texts.get(index, "") + text
    for step in steps:
        whole = model.tokenizer.token_texts[step.id]
        if whole is not None and "\ufffd" not in texts.get(step.index, ""):
            assert texts.get(step.index, "").startswith(whole)


@fixtures_are_pure
@given(SEED, st.booleans())
def test_every_sampled_id_is_one_step_and_only_the_last_finishes(scripted, seed: int, post_process: bool) -> None:
    model = scripted(DAMAGED, pull=5.0)
    steps = list(stream(model, "Once", EVERYTHING, seed, post_process=post_process))
    first = len(prime(model, "Once").ids)
    assert [step.index for step in steps] == list(range(first, first + len(steps)))
    assert [step.finish_reason is None for step in steps] == [True] * (len(steps) - 1) + [False]
    assert (steps[-1].id == model.tokenizer.end_id) == (steps[-1].finish_reason == "end")
    indices = [index for step in steps for _, index in step.pieces]
    assert indices == sorted(indices)
    assert all(index <= step.index for step in steps for _, index in step.pieces)


# How stories finish


def test_a_story_ends_with_a_step_for_its_end_token_that_releases_what_was_held_back(scripted) -> None:
    model = scripted('"I see," said D av id')
    *others, last = stream(model, "", PLAIN, 0)
    assert (last.id, last.finish_reason, last.flushed) == (model.tokenizer.end_id, "end", 0)
    assert text_of(others) + last.text == '"I see," said David'
    assert last.text != ""
    assert model.runtime.batches == [1] * len(others)


def test_a_story_cut_by_length_closes_its_quote(scripted) -> None:
    model = scripted('He said, "we go home now"')
    tokens = len(model.tokenizer.encode('He said, "we go'))
    steps = list(stream(model, "", replace(PLAIN, max_len=tokens), 0))
    assert text_of(steps) == 'He said, "we go"'
    assert (len(steps), steps[-1].finish_reason) == (tokens, "length")
    assert "".join(text for text, _ in steps[-1].pieces[-steps[-1].flushed :]).endswith('"')


def test_half_a_character_at_the_cut_is_replaced(scripted) -> None:
    model = scripted("a🐲b")
    for max_len in range(1, 5):
        steps = list(stream(model, "", replace(PLAIN, max_len=max_len), 0, post_process=False))
        assert text_of(steps) == model.tokenizer.decode(model.tokenizer.encode("a🐲b")[:max_len])
    assert text_of(list(stream(model, "", replace(PLAIN, max_len=2), 0, post_process=False))) == "a\ufffd"


def test_max_len_counts_the_new_tokens_of_this_call(scripted) -> None:
    model = scripted(DAMAGED)
    steps = list(stream(model, "Once upon a time", replace(PLAIN, max_len=3), 0, snapshots=True))
    assert len(steps) == 3
    assert len(list(stream(model, from_step(steps, 2), replace(PLAIN, max_len=4), 0))) == 4


@pytest.mark.parametrize("post_process", [True, False])
@pytest.mark.parametrize("stop", [("THE END",), ("HE E",), ("THE END.", "END"), ("went", "THE"), ("home. TH", "zzz")])
def test_text_ends_before_a_stop_string_and_nothing_of_it_leaks(scripted, stop: tuple[str, ...], post_process: bool) -> None:
    text = "They went home. THE END. And so on."
    model = scripted(text)
    steps = list(stream(model, "", replace(PLAIN, stop=stop), 0, post_process=post_process))
    ends = sorted((text.index(word) + len(word), text.index(word)) for word in stop if word in text)
    assert text_of(steps) == text[: ends[0][1]]
    assert steps[-1].finish_reason == "stop"
    assert all(text_of(steps[:place]) == text[: len(text_of(steps[:place]))] for place in range(len(steps)))


def test_stop_strings_are_looked_for_in_the_text_as_it_is_told(scripted) -> None:
    steps = list(stream(scripted("I saw D av id today."), "", replace(PLAIN, stop=("David",)), 0))
    assert (text_of(steps), steps[-1].finish_reason) == ("I saw ", "stop")


def test_the_beginning_of_a_stop_string_is_told_at_the_end(scripted) -> None:
    steps = list(stream(scripted("They went home. THE"), "", replace(PLAIN, stop=("THE END",)), 0))
    assert (text_of(steps), steps[-1].finish_reason) == ("They went home. THE", "end")


def test_a_stop_string_in_what_is_held_back_counts_at_the_end(scripted) -> None:
    steps = list(stream(scripted("They saw D av id"), "", replace(PLAIN, stop=("David",)), 0))
    assert (text_of(steps), steps[-1].finish_reason) == ("They saw ", "stop")


@pytest.mark.parametrize(
    ("text", "told", "reason"),
    [
        ("They all went home. The end.", "They all went home.", "length"),
        ('He said, "We go home." Then he ran.', 'He said, "We go home."', "length"),
        ("We go 3.5 miles! Then", "We go 3.5 miles!", "length"),
        ("We met Mr. Fox?! Then", "We met Mr. Fox?!", "length"),
        ("We go home.\n\nThe end.", "We go home.\n\n", "length"),
        ("We go home.", "We go home.", "end"),
        ("We go home", "We go home", "end"),
    ],
)
@pytest.mark.parametrize("post_process", [True, False])
def test_until_sentence_goes_on_to_the_end_of_the_sentence(scripted, text: str, told: str, reason: str, post_process: bool) -> None:
    model = scripted(text)
    steps = list(stream(model, "", replace(PLAIN, max_len=2, until="sentence"), 0, post_process=post_process))
    assert (text_of(steps).rstrip("\n"), steps[-1].finish_reason) == (told.rstrip("\n"), reason)


def test_until_sentence_goes_on_for_forty_tokens_at_most(scripted) -> None:
    model = scripted("z" * 100 + ".")
    steps = list(stream(model, "", replace(PLAIN, max_len=5, until="sentence"), 0))
    assert (len(steps), steps[-1].finish_reason) == (45, "length")


def test_until_sentence_never_stops_before_max_len(scripted) -> None:
    model = scripted("One. Two. Three. Four. Five. Six.")
    tokens = len(model.tokenizer.encode("One. Two. Three"))
    steps = list(stream(model, "", replace(PLAIN, max_len=tokens, until="sentence"), 0))
    assert text_of(steps) == "One. Two. Three."


def test_the_end_of_the_prompt_s_sentence_is_none_of_the_story(scripted) -> None:
    steps = list(stream(scripted("We go home.\n\nThe end. They"), "We go home.", replace(PLAIN, max_len=1, until="sentence"), 0))
    assert text_of(steps) == "\n\nThe end."


# Law 2 and 3


@fixtures_are_pure
@given(SEED, st.sampled_from(["", "Once upon ", "Zoë 🐉"]))
def test_the_same_seed_tells_the_same_story(scripted, seed: int, prompt: str) -> None:
    first = list(stream(scripted(DAMAGED, pull=4.0), prompt, EVERYTHING, seed))
    assert list(stream(scripted(DAMAGED, pull=4.0), prompt, EVERYTHING, seed)) == first


def test_seeds_matter_and_greedy_ignores_them(scripted) -> None:
    model = scripted()
    stories = {tuple(step.id for step in stream(model, "", SamplingParams(max_len=10), seed)) for seed in range(5)}
    assert len(stories) == 5
    stories = {tuple(step.id for step in stream(model, "", replace(PLAIN, max_len=10), seed)) for seed in range(5)}
    assert len(stories) == 1


def test_neither_snapshots_nor_alternatives_nor_traces_change_the_story(scripted) -> None:
    model = scripted(DAMAGED, pull=4.0)
    plain = list(stream(model, "Once ", EVERYTHING, 3, alternatives=0))
    full = list(stream(model, "Once ", EVERYTHING, 3, alternatives=10, trace=True, snapshots=True))
    assert [replace(step, alternatives=(), survivors=None) for step in full] == plain
    assert all(step.snapshot is None for step in plain)


@settings(fixtures_are_pure, max_examples=12)
@given(SEED, st.sampled_from([0.0, 5.0]), st.booleans(), st.sampled_from(["length", "sentence"]), st.sampled_from(["", "Once ", "D av"]))
def test_the_stream_from_any_snapshot_is_the_rest(scripted, seed, pull, post_process, until, prompt) -> None:
    model = scripted(DAMAGED, pull=pull)
    params = replace(EVERYTHING, until=until, max_len=20)
    begin = prime(model, prompt, post_process=post_process)
    steps = list(stream(model, begin, params, seed, trace=True, snapshots=True))
    assert list(stream(model, begin, params, seed, trace=True)) == steps
    for place in range(min(len(steps), 19) - (steps[-1].finish_reason != "end")):
        left = replace(params, max_len=20 - place - 1)
        rest = stream(model, from_step(steps, place), left, seed, trace=True)
        assert [replace(step, params=params) for step in rest] == steps[place + 1 :]


@fixtures_are_pure
@given(SEED, st.integers(1, 40), st.booleans())
def test_a_story_cut_by_length_goes_on_as_if_it_had_not_been(scripted, seed: int, cut: int, post_process: bool) -> None:
    model = scripted(DAMAGED, pull=5.0)
    params = replace(EVERYTHING, stop=("e",))
    whole = list(stream(model, "", params, seed, post_process=post_process))
    begun = list(stream(model, "", replace(params, max_len=cut), seed, post_process=post_process, snapshots=True))
    if begun[-1].finish_reason == "length":
        rest = list(stream(model, from_step(begun, -1), params, seed))
        assert (told_for_good(begun) + told_for_good(rest)).startswith(told_for_good(whole))


def test_a_continuation_replays_with_prompt_and_told_ids(scripted) -> None:
    model = scripted(DAMAGED, pull=4.0)
    steps = list(stream(model, "Once", SamplingParams(max_len=30), 11, snapshots=True))
    middle = from_step(steps, 9)
    assert middle.ids == (*prime(model, "Once").ids, *(step.id for step in steps[:10]))
    state = model.runtime.initial_state(1)
    for id in middle.ids:
        logits, state = model.runtime.step(np.array([id]), state)
    assert np.array_equal(middle.state, state)
    assert np.array_equal(middle.logits, logits[0])


def test_snapshots_stay_as_they_are_while_the_story_goes_on(scripted) -> None:
    model = scripted(DAMAGED, pull=4.0)
    steps = stream(model, "Once", EVERYTHING, 5, snapshots=True)
    early = next(step.snapshot for step in itertools.islice(steps, 6, None))
    before = list(stream(model, early, EVERYTHING, 6))
    list(steps)
    assert list(stream(model, early, EVERYTHING, 6)) == before
    assert len(early.ids) == len(prime(model, "Once").ids) + 7


def test_a_story_that_has_ended_has_no_rest(scripted) -> None:
    model = scripted("The end.")
    steps = list(stream(model, "", PLAIN, 0, snapshots=True))
    assert from_step(steps, -1).ended
    assert list(stream(model, from_step(steps, -1), PLAIN, 0)) == []
    assert not prime(model, "").ended


def test_who_goes_on_after_a_stop_string_hears_it(scripted) -> None:
    model = scripted("They went home. THE END. And so on. THE END. Really.")
    params = replace(PLAIN, stop=("THE END",))
    first = list(stream(model, "", params, 0, snapshots=True))
    second = list(stream(model, from_step(first, -1), params, 0, snapshots=True))
    third = list(stream(model, from_step(second, -1), params, 0))
    assert [text_of(steps) for steps in (first, second, third)] == ["They went home. ", "THE END. And so on. ", "THE END. Really."]


# Prompts


def test_trailing_spaces_go_and_the_first_token_brings_its_own(scripted) -> None:
    model = scripted(pull=0)
    space_ids = set(model.tokenizer.space_ids.tolist())
    for seed in range(20):
        first = next(stream(model, "Once upon \t ", SamplingParams(temperature=2), seed))
        assert first.id in space_ids
        assert prime(model, "Once upon \t ").ids == prime(model, "Once upon").ids
    assert any(next(stream(model, "Once upon", SamplingParams(temperature=2), seed)).id not in space_ids for seed in range(20))


@pytest.mark.parametrize("prompt", ["", "  ", "Once.\n  ", "Once"])
def test_other_prompts_leave_the_first_token_free(scripted, prompt: str) -> None:
    model = scripted(pull=0)
    assert not prime(model, prompt).after_space
    space_ids = set(model.tokenizer.space_ids.tolist())
    assert any(next(stream(model, prompt, SamplingParams(temperature=2), seed)).id not in space_ids for seed in range(20))


def test_an_empty_prompt_is_a_story_from_nothing(scripted) -> None:
    model = scripted("Once.")
    assert prime(model, "").ids == (model.tokenizer.end_id,)
    assert prime(model, " \t").ids == (model.tokenizer.end_id,)
    assert generate(model, "", PLAIN, 0) == "Once."


def test_long_prompts_are_read_in_pieces_of_constant_size(scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scripted()
    whole = prime(model, "Once upon a time. " * 9)
    monkeypatch.setattr(prefill, "CHUNK", 7)
    model.runtime.prefills.clear()
    pieces = prime(model, "Once upon a time. " * 9)
    assert np.array_equal(pieces.state, whole.state)
    assert np.array_equal(pieces.logits, whole.logits)
    assert set(model.runtime.prefills[:-1]) == {7}
    assert sum(model.runtime.prefills) == len(whole.ids)


# Records


def test_steps_say_what_the_model_thought_and_what_was_kept(scripted) -> None:
    model = scripted(DAMAGED, pull=3.0)
    params = SamplingParams(top_k=4, max_len=20)
    logits = prime(model, "").logits
    for step in stream(model, "", params, 2, alternatives=6, trace=True, snapshots=True):
        logprobs = logits.astype(float) - np.log(np.exp(logits.astype(float)).sum())
        best = np.argsort(-logits, kind="stable")
        assert [likely.id for likely in step.alternatives] == best[:6].tolist()
        assert [likely.logprob for likely in step.alternatives] == pytest.approx(logprobs[best[:6]].tolist(), abs=1e-5)
        assert [likely.kept for likely in step.alternatives] == [True] * 4 + [False] * 2
        assert step.logprob == pytest.approx(logprobs[step.id], abs=1e-5)
        assert step.rank == best.tolist().index(step.id) < 4
        kept = np.exp(logits[best[:4]].astype(float) / params.temperature)
        assert step.chosen_prob == pytest.approx(float(kept[step.rank] / kept.sum()), abs=1e-5)
        assert step.survivors is not None
        assert step.survivors[-1] == 4
        assert step.params is params
        logits = step.snapshot.logits


def test_parameters_may_change_between_tokens(scripted) -> None:
    model = scripted(DAMAGED, pull=4.0)
    hot = SamplingParams(temperature=3, ignore_end=True)
    cold = replace(hot, temperature=0)
    now = [hot]
    steps = []
    for step in stream(model, "", lambda: now[0], 1, snapshots=True):
        steps.append(step)
        if len(steps) == 8:
            now[0] = cold
        if len(steps) == 16:
            break
    assert [step.params for step in steps] == [hot] * 8 + [cold] * 8
    assert [step.rank for step in steps[8:]] == [0] * 8
    assert any(step.rank > 0 for step in steps[:8])
    rest = itertools.islice(stream(model, from_step(steps, 7), cold, 99), 8)
    assert list(rest) == steps[8:]


def test_parameters_are_asked_for_once_a_token(scripted) -> None:
    asked = []

    def current() -> SamplingParams:
        asked.append(1)
        return PLAIN

    steps = list(stream(scripted("They went home."), "", current, 0))
    assert len(asked) == len(steps)


def test_a_step_is_yielded_before_the_model_reads_on(scripted) -> None:
    model = scripted(DAMAGED)
    steps = stream(model, "", PLAIN, 0)
    next(steps)
    assert model.runtime.batches == []
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)


@pytest.mark.parametrize("seed", [-1, 2**63, True, 1.0, "1"])
def test_seeds_out_of_range_are_errors_in_words(scripted, seed) -> None:
    with pytest.raises(UsageInvalid, match="from 0 to 9223372036854775807"):
        stream(scripted(), "", PLAIN, seed)
    with pytest.raises(UsageInvalid):
        sample_seeds(seed, 2)


def test_the_greatest_seed_works_and_samples_count_on_from_it(scripted) -> None:
    next(stream(scripted(), "", SamplingParams(), 2**63 - 1))
    assert sample_seeds(7, 3) == (7, 8, 9)
    assert sample_seeds(2**63 - 1, 2) == (2**63 - 1, 0)


# generate


def test_generate_gives_prompt_and_story(scripted) -> None:
    model = scripted(DAMAGED, pull=5.0)
    params = SamplingParams(max_len=20)
    for prompt in ("Once upon a time", "Once \t", "🐉 é", ""):
        assert generate(model, prompt, params, 4) == prompt.rstrip() + text_of(list(stream(model, prompt, params, 4)))


def test_generate_raw_keeps_the_model_s_own_spaces(scripted) -> None:
    assert generate(scripted("D av id , I"), "", PLAIN, 0, post_process=False) == "D av id , I"


@pytest.mark.parametrize(
    ("text", "max_len", "trimmed"),
    [
        ("They went home. They sat", 500, "They went home. They sat"),
        ("They went home. They sat down there", 9, "They went home."),
        ("They went", 2, None),
    ],
)
def test_generate_trims_only_what_was_cut(scripted, text: str, max_len: int, trimmed: str | None) -> None:
    model = scripted(text)
    params = replace(PLAIN, max_len=max_len)
    untrimmed = generate(model, "", params, 0)
    assert generate(model, "", params, 0, trim=True) == (untrimmed if trimmed is None else trimmed)


def test_generate_never_trims_the_prompt_and_closes_quotes(scripted) -> None:
    text = 'Zoë said, "I went home. They'
    model = scripted(text + " all laughed and laughed")
    tokens = len(model.tokenizer.encode(text))
    assert generate(model, "", replace(PLAIN, max_len=tokens), 0, trim=True) == 'Zoë said, "I went home."'
    story = generate(scripted(" dragon" * 20), "A prompt. With", replace(PLAIN, max_len=9), 0, trim=True)
    assert story.startswith("A prompt. With")


def test_streams_are_iterators(scripted) -> None:
    assert isinstance(stream(scripted(), "", PLAIN, 0), Iterator)
