"""``storyteller bench``: its arithmetic, its record and its table; the figures themselves belong to the computer."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from storyteller.bench import report as bench_report
from storyteller.bench.baseline import PlainLoop, _sample
from storyteller.bench.probes import operations_per_token, weight_bytes_per_token
from storyteller.bench.report import Effort, bench, thread_counts
from storyteller.bench.timing import Patience, Race, race
from storyteller.bench.training import training_throughput
from storyteller.checkpoint.graph import PRECISIONS, step_graph
from storyteller.cli.bench import table
from storyteller.cli.main import app
from storyteller.engine.architecture import PRESETS, GRUConfig
from storyteller.engine.model import GRULM

KEYS = ("speedup_one_stream", "speedup_batch16", "speedup_prefill", "cold_start_s", "step_overhead", "roofline_share")
SMALLEST = Effort(patience=Patience(1), tokens=4, batches=(1, 2), starts=1)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict:
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORYTELLER_CACHE_DIR", str(cache))
        threads = torch.get_num_threads()
        result = bench("tiny", SMALLEST, cache)
        torch.set_num_threads(threads)
    return result


def test_the_record_is_json_with_a_number_for_each_headline(figures):
    assert json.loads(json.dumps(figures)) == figures
    for key in KEYS:
        assert isinstance(figures[key], float), key
    assert figures["cold_start_s"] == figures["parts"]["cold_start"]["seconds"] > 0
    assert figures["precision"] in PRECISIONS
    assert figures["speedup_one_stream"] == figures["parts"]["one_stream"]["ratio"][figures["precision"]] > 0
    assert figures["machine"]["versions"]["onnxruntime"]


def test_the_grid_has_every_runtime_thread_count_and_batch(figures):
    cells = {(cell["runtime"], cell["threads"], cell["rows"]) for cell in figures["parts"]["grid"]}
    assert cells == {(name, threads, rows) for name in ("torch", *PRECISIONS) for threads in thread_counts() for rows in (1, 2)}


def test_the_table_names_every_headline(figures):
    lines = table({**figures, "training": {"preset": "tiny"}, "training_share": 0.93})
    for words in ("one story", "16 stories at once", "torch, ", "int4", "first word after", "share of the roofline", "93% of a bare loop"):
        assert words in lines
    assert max(map(len, lines.splitlines())) <= 120


def test_a_pipe_gets_json(monkeypatch, figures):
    asked = []

    def measured(preset, effort, cache, *, train, notify):
        asked.append((preset, effort, train))
        return figures

    monkeypatch.setattr(bench_report, "bench", measured)
    result = CliRunner().invoke(app, ["bench", "--quick", "--train", "--preset", "small"])
    assert result.exit_code == 0 and json.loads(result.stdout) == figures
    assert asked == [("small", bench_report.QUICK, True)]
    assert CliRunner().invoke(app, ["bench", "--preset", "huge"]).exit_code == 2


def test_contestants_take_turns_and_ratios_are_medians_of_rounds():
    order: list[str] = []
    now = [0.0]

    def contestant(name, seconds):
        def work():
            order.append(name)
            now[0] += seconds[min(order.count(name), len(seconds)) - 1]
            return 10

        return work

    outcome = race({"ours": contestant("ours", [1, 1, 2, 5]), "theirs": contestant("theirs", [9, 2, 6, 5])}, Patience(3), lambda: now[0])
    assert order == ["ours", "theirs"] * 4
    assert outcome.rates == {"ours": (10, 5, 2), "theirs": (5, 10 / 6, 2)}
    assert outcome.ratio("ours", "theirs") == 2
    rate = outcome.rate("ours")
    assert (rate.median, rate.slowest, rate.fastest) == (5, 2, 10)


def test_patience_ends_a_race_but_not_before_its_first_round():
    now = [0.0]

    def work():
        now[0] += 4
        return 1

    assert len(race({"slow": work}, Patience(9, seconds=10), lambda: now[0]).rates["slow"]) == 2
    assert len(race({"slow": work}, Patience(9, seconds=1), lambda: now[0]).rates["slow"]) == 1


def test_a_ratio_does_not_mix_rounds():
    # A computer that slowed down in the middle slowed both.
    assert Race({"a": (10, 1, 10), "b": (5, 0.5, 5)}).ratio("a", "b") == 2


@pytest.mark.parametrize("config", [GRUConfig(vocab_size=300, embed_dim=32, hidden_dim=64, num_layers=2), PRESETS["tiny"]])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_bytes_a_token_are_those_of_the_graph(config, precision):
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in config.shapes().items()}
    constants = step_graph(config, weights, precision).graph.initializer
    looked_up = {"embedding", "inputs_l0.table"}
    stored = sum(len(constant.raw_data) for constant in constants if constant.name not in looked_up and len(constant.raw_data) > 64)
    row = sum(len(constant.raw_data) // config.vocab_size for constant in constants if constant.name in looked_up)
    assert weight_bytes_per_token(config, precision) == pytest.approx(stored + row, rel=0.002)


def test_operations_count_the_products_after_the_table():
    config = GRUConfig(vocab_size=7, embed_dim=3, hidden_dim=5, num_layers=2)
    assert operations_per_token(config) == 3 * (3 * 5 * 5) + 7 * 5


def test_the_plain_loop_samples_within_top_k_and_top_p():
    torch.manual_seed(0)
    logits = torch.full((1, 60), -9.0)
    logits[0, :3] = torch.tensor([4.0, 3.9, 1.0])
    drawn = {int(_sample(logits.expand(200, 60))[row]) for row in range(200)}
    assert drawn == {0, 1}
    threads = torch.get_num_threads()
    network = GRULM(GRUConfig(vocab_size=60, embed_dim=4, hidden_dim=8, num_layers=1, dropout=0.0))
    assert PlainLoop(network, 1).tell(5, rows=2) == 10
    assert PlainLoop(network, 1).prefill(torch.zeros(7, 1, dtype=torch.long)) == 7
    torch.set_num_threads(threads)


def test_training_throughput_races_the_trainer_and_a_bare_loop(tmp_path: Path):
    result = training_throughput("tiny", Patience(1))
    assert result["share"] > 0.05
    assert set(result["trainer_tokens_per_second"]) == {"median", "slowest", "fastest"}
