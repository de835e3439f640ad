from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storyteller.checkpoint.graph import PRECISIONS, step_graph
from storyteller.engine import prefill
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.generate import prime, stream, stream_batch
from storyteller.engine.model import GRULM
from storyteller.engine.onnx_runtime import OnnxRuntime
from storyteller.engine.params import SamplingParams
from storyteller.engine.steps import Step
from storyteller.engine.torch_runtime import TorchRuntime
from storyteller.errors import UsageInvalid

TEXT = 'David saw a dragon 🐉 . " I didn \' t see D av id ! " said Zoë . They went home . THE END. And so on. '
PROMPTS = st.lists(st.sampled_from(["", "Once upon a time", "Once ", "Zoë 🐉", 'She said, "']), max_size=6)
PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.8, 1.5]),
    top_k=st.sampled_from([0, 20]),
    top_p=st.sampled_from([1.0, 0.9]),
    min_p=st.sampled_from([0.0, 0.01]),
    typical_p=st.sampled_from([1.0, 0.9]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    dry_multiplier=st.sampled_from([0.0, 0.8]),
    no_repeat_ngram=st.sampled_from([0, 4]),
    ban=st.sampled_from([(), ("home",)]),
    stop=st.sampled_from([(), ("THE END",)]),
    until=st.sampled_from(["length", "sentence"]),
    max_len=st.integers(1, 40),
)
fixtures_are_pure = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)


def rows_of(batch) -> dict[int, list[Step]]:
    rows = defaultdict(list)
    for row, step in batch:
        rows[row].append(step)
    return dict(rows)


@fixtures_are_pure
@given(PROMPTS, PARAMS, st.integers(0, 2**62), st.booleans(), st.booleans(), st.sampled_from([0.0, 5.0]))
def test_each_row_of_a_batch_is_its_own_stream(scripted, prompts, params, seed, snapshots, trace, pull) -> None:
    model = scripted(TEXT, pull=pull)
    seeds = range(seed, seed + len(prompts))
    rows = rows_of(stream_batch(model, prompts, params, seeds, snapshots=snapshots, trace=trace, alternatives=3))
    alone = [
        list(stream(model, prompt, params, seed, snapshots=snapshots, trace=trace, alternatives=3))
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    assert rows == dict(enumerate(alone))
    for row, steps in rows.items():
        for mine, other in zip(steps, alone[row], strict=True):
            if snapshots:
                assert mine.snapshot.ids == other.snapshot.ids
                assert np.array_equal(mine.snapshot.state, other.snapshot.state)
                assert np.array_equal(mine.snapshot.logits, other.snapshot.logits)
                assert mine.snapshot.state.shape == other.snapshot.state.shape
                assert (mine.snapshot.detokenizer, mine.snapshot.stops) == (other.snapshot.detokenizer, other.snapshot.stops)


@fixtures_are_pure
@given(PARAMS, st.integers(0, 2**62))
def test_a_row_goes_on_from_its_snapshot_alone_or_in_another_batch(scripted, params, seed) -> None:
    model = scripted(TEXT, pull=5.0)
    params = replace(params, max_len=20)
    rows = rows_of(stream_batch(model, ["Once", "", "Once "], params, [seed, seed + 1, seed + 2], snapshots=True))
    middle = [steps[len(steps) // 2] for steps in rows.values()]
    left = replace(params, max_len=40)
    again = rows_of(stream_batch(model, [step.snapshot for step in middle], left, [seed, seed + 1, seed + 2]))
    for row, step in enumerate(middle):
        assert again.get(row, []) == list(stream(model, step.snapshot, left, seed + row))


def test_steps_come_token_by_token_with_the_rows_in_order(scripted) -> None:
    model = scripted(TEXT, pull=3.0)
    seen = [(step.index, row) for row, step in stream_batch(model, [""] * 4, SamplingParams(max_len=30), range(4))]
    assert seen == sorted(seen)
    assert {row for _, row in seen} == {0, 1, 2, 3}


def test_rows_that_are_over_leave_the_batch(scripted) -> None:
    model = scripted("They went home.", pull=9.0)
    rows = rows_of(stream_batch(model, [""] * 6, SamplingParams(temperature=1.2, max_len=60), range(6)))
    lengths = sorted(len(steps) for steps in rows.values())
    assert lengths[0] < lengths[-1]
    # A story of n tokens needs n - 1 steps of the model.
    assert model.runtime.batches == [sum(length - 1 > step for length in lengths) for step in range(lengths[-1] - 1)]


def test_equal_prompts_are_read_once_and_others_each_by_itself(scripted) -> None:
    model = scripted(TEXT)
    ids = {prompt: len(prime(model, prompt).ids) for prompt in ("Once upon", "Zoë")}
    model.runtime.prefills.clear()
    next(stream_batch(model, ["Once upon", "Zoë", "Once upon", "Once upon"], SamplingParams(), range(4)))
    assert model.runtime.prefills == [ids["Once upon"], ids["Zoë"]]


def test_snapshots_are_not_read_again_and_ended_ones_stay_silent(scripted) -> None:
    model = scripted("The end.")
    params = SamplingParams(temperature=0)
    ended = list(stream(model, "", params, 0, snapshots=True))[-1].snapshot
    begin = prime(model, "")
    model.runtime.prefills.clear()
    assert set(rows_of(stream_batch(model, [ended, begin, ended], params, range(3)))) == {1}
    assert list(stream_batch(model, [ended], params, [0])) == []
    assert model.runtime.prefills == []


def test_snapshots_of_a_batch_do_not_keep_their_neighbours(scripted) -> None:
    model = scripted(TEXT)
    for _, step in stream_batch(model, ["", ""], SamplingParams(max_len=3), [0, 1], snapshots=True):
        assert step.snapshot.state.base is None
        assert step.snapshot.logits.base is None


def test_an_empty_batch_tells_nothing(scripted) -> None:
    assert list(stream_batch(scripted(), [], SamplingParams(), [])) == []


def test_every_story_needs_a_seed(scripted) -> None:
    with pytest.raises(UsageInvalid, match="2 stories need as many seeds, not 1"):
        stream_batch(scripted(), ["", ""], SamplingParams(), [0])


def test_parameters_change_for_all_rows_at_once(scripted) -> None:
    hot, cold = SamplingParams(temperature=3), SamplingParams(temperature=0)
    now = [hot]
    for row, step in stream_batch(scripted(), ["", ""], lambda: now[0], [0, 1]):
        assert step.params is (hot if step.index < 5 else cold)
        assert step.params is hot or step.rank == 0
        if (row, step.index) == (1, 4):
            now[0] = cold
        if step.index == 9:
            break


@pytest.fixture(scope="module")
def network(small_tokenizer) -> GRULM:
    torch.manual_seed(3)
    network = GRULM(GRUConfig(vocab_size=small_tokenizer.vocab_size, embed_dim=16, hidden_dim=32, num_layers=2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return network


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_of_a_real_network_are_their_own_streams_in_every_precision(network, small_tokenizer, precision, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    path.write_bytes(step_graph(network.config, weights, precision).SerializeToString())
    model = SimpleNamespace(runtime=OnnxRuntime(path), tokenizer=small_tokenizer)
    prompts = ["", "Once ", "Zoë", "", "Once upon a time, David said, "] * 2
    params = SamplingParams(top_p=0.95, repetition_penalty=1.2, max_len=40, until="sentence")
    rows = rows_of(stream_batch(model, prompts, params, range(10), snapshots=True))
    assert len({len(steps) for steps in rows.values()}) > 1
    for row, steps in rows.items():
        assert steps == list(stream(model, prompts[row], params, row))
    for row, steps in rows.items():
        place = min(row, len(steps) - 2)
        rest = stream(model, steps[place].snapshot, replace(params, max_len=40 - place - 1), row)
        assert [replace(step, params=params) for step in rest] == steps[place + 1 :]


def test_a_prompt_read_in_one_or_many_pieces_leaves_the_same_state(network, small_tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SimpleNamespace(runtime=TorchRuntime(network), tokenizer=small_tokenizer)
    whole = prime(model, TEXT * 3)
    for chunk in (1, 7, 64):
        monkeypatch.setattr(prefill, "CHUNK", chunk)
        pieces = prime(model, TEXT * 3)
        assert np.abs(pieces.state - whole.state).max() < 1e-5
        assert np.abs(pieces.logits - whole.logits).max() < 1e-5
