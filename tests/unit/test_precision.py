"""What "auto" means: measured figures decide, and nothing else."""

import shutil
from pathlib import Path

import pytest

from storyteller.checkpoint.format import read_checkpoint
from storyteller.checkpoint.load import load
from storyteller.checkpoint.precision import choose_precision, keep_precisions, measure_precisions


def kept(weights="w", **figures):
    return {
        "precisions": {
            "weights": weights,
            "figures": {name: {"loss_difference": loss, "tokens_per_second": speed} for name, (loss, speed) in figures.items()},
        }
    }


def test_the_fastest_that_costs_little_is_taken():
    figures = {"float32": (0.0, 400), "int8": (0.0001, 2500), "int4": (0.005, 3000)}
    assert choose_precision(kept(**figures), "w").precision == "int4"
    assert choose_precision(kept(**{**figures, "int4": (0.0101, 3000)}), "w").precision == "int8"
    assert choose_precision(kept(**{**figures, "int4": (0.005, 2400)}), "w").precision == "int8"
    assert "+0.0050" in choose_precision(kept(**figures), "w").reason


def test_figures_of_other_weights_do_not_count():
    assert choose_precision(kept(int8=(0.0, 9)), "other").precision == "float32"


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"precisions": None},
        {"precisions": []},
        {"precisions": {"weights": "w"}},
        {"precisions": {"weights": "w", "figures": [1]}},
        {"precisions": {"weights": "w", "figures": {"int8": None, "int4": {"loss_difference": 0}}}},
        {"precisions": {"weights": "w", "figures": {"int8": {"loss_difference": "0", "tokens_per_second": "fast"}}}},
        kept(int8=(float("nan"), 9)),
    ],
)
def test_missing_or_damaged_figures_give_float32(training):
    assert choose_precision(training, "w").precision == "float32"


def test_measured_figures_are_kept_and_used(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORYTELLER_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, path)
    assert load(path).precision == "float32"
    checkpoint = read_checkpoint(path)
    figures = measure_precisions(checkpoint, ["The fox found a red ball.", "They played all day."], tmp_path / "cache")
    assert figures["figures"]["float32"]["loss_difference"] == 0
    assert 0 < abs(figures["figures"]["int8"]["loss_difference"]) < 0.05
    assert figures["stories"] == 2 and figures["figures"]["int4"]["tokens_per_second"] > 0
    figures["figures"]["int8"] = {"loss_difference": 0.0, "tokens_per_second": 1e9}
    keep_precisions(checkpoint, figures)
    assert read_checkpoint(path).training["data"] == checkpoint.training["data"]
    assert load(path).precision == "int8"
    assert load(path, precision="float32").precision == "float32"
