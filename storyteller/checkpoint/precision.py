"""Which precision "auto" means for a model: the fastest one that was measured to cost next to nothing.

The figures are kept with the model, under ``precisions`` in ``training.json``::

    {"weights": "<sha256 of model.safetensors>", "stories": 400, "tokens": 81234,
     "figures": {"int8": {"loss_difference": 0.0001, "tokens_per_second": 3100.0}, ...}}

``loss_difference`` is in nats per token against float32 on held-out stories; ``tokens_per_second`` is the speed of one story's bare steps
where it was measured. So a model is told in the same precision on every computer, and a model without figures in float32.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from storyteller.checkpoint.derived import derived_onnx
from storyteller.checkpoint.files import replace_text
from storyteller.checkpoint.format import TRAINING, Checkpoint, to_json
from storyteller.checkpoint.graph import PRECISIONS, Precision
from storyteller.engine.evaluate import evaluate
from storyteller.engine.onnx_runtime import OnnxRuntime
from storyteller.engine.runtime import Runtime
from storyteller.engine.tokenizer import Tokenizer

MOST_LOSS = 0.01
"""In nats per token: what a faster precision may cost."""
FIGURES = "precisions"
ROUNDS, STEPS = 9, 20


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """A precision, and why it was taken, in words."""

    precision: Precision
    reason: str


def choose_precision(training: Mapping[str, Any], sha256: str) -> PrecisionChoice:
    """What "auto" means for the model with this ``training.json`` and these weights.

    Figures of other weights, or none, or damaged ones, give float32: the file is free to edit, and not trusted to be well formed.
    """
    kept = training.get(FIGURES)
    if not isinstance(kept, Mapping):
        return PrecisionChoice("float32", "the model has no figures of other precisions: storyteller precisions --data FILE")
    if kept.get("weights") != sha256:
        return PrecisionChoice("float32", "the figures of other precisions are not of these weights: storyteller precisions --data FILE")
    figures = kept.get("figures")
    best: Precision = "float32"
    speed = loss = 0.0
    for precision in PRECISIONS:
        difference, tokens_per_second = (_number(figures, precision, key) for key in ("loss_difference", "tokens_per_second"))
        if difference <= MOST_LOSS and tokens_per_second > speed:
            best, speed, loss = precision, tokens_per_second, difference
    return PrecisionChoice(best, f"the fastest that costs at most {MOST_LOSS} nats per token; measured: {loss:+.4f}")


def _number(figures: Any, precision: Precision, key: str) -> float:
    """A kept figure; nan, which is neither small nor large, where there is none."""
    entry = figures.get(precision) if isinstance(figures, Mapping) else None
    number = entry.get(key) if isinstance(entry, Mapping) else None
    return number if isinstance(number, int | float) else math.nan


@dataclass(frozen=True, slots=True)
class _Model:
    runtime: Runtime
    tokenizer: Tokenizer


def measure_precisions(
    checkpoint: Checkpoint, texts: Sequence[str], cache_dir: Path, notify: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure every precision on held-out ``texts`` and return what ``training.json`` keeps.

    Raises :class:`~storyteller.errors.CorpusEmpty` if there is no text, :class:`~storyteller.errors.CheckpointInvalid` if the weights
    cannot be used.
    """
    runtimes = {precision: OnnxRuntime(derived_onnx(checkpoint, precision, cache_dir, notify)) for precision in PRECISIONS}
    losses = {}
    for precision, runtime in runtimes.items():
        notify(f"reading {len(texts)} stories in {precision}")
        evaluation = evaluate(_Model(runtime, checkpoint.tokenizer), texts)
        losses[precision] = evaluation.nats_per_token
    seconds = _seconds_per_step(runtimes)
    return {
        "weights": checkpoint.sha256,
        "stories": evaluation.stories,
        "tokens": evaluation.tokens,
        "figures": {
            precision: {
                "loss_difference": round(losses[precision] - losses["float32"], 6),
                "tokens_per_second": round(1 / seconds[precision], 1),
            }
            for precision in PRECISIONS
        },
    }


def keep_precisions(checkpoint: Checkpoint, figures: Mapping[str, Any]) -> None:
    """Write ``figures`` into the model's ``training.json``."""
    replace_text(checkpoint.path / TRAINING, to_json({**checkpoint.training, FIGURES: dict(figures)}))


def _seconds_per_step(runtimes: Mapping[Precision, Runtime]) -> dict[Precision, float]:
    """Median seconds of one row's step, the precisions taking turns, so that a busy computer slows all of them."""
    taken: dict[Precision, list[float]] = {precision: [] for precision in runtimes}
    for _ in range(ROUNDS):
        for precision, runtime in runtimes.items():
            state = runtime.initial_state(1)
            _, state = runtime.step(np.array([0]), state)
            begin = time.perf_counter()
            for id in range(STEPS):
                _, state = runtime.step(np.array([id % runtime.vocab_size]), state)
            taken[precision].append((time.perf_counter() - begin) / STEPS)
    return {precision: median(times) for precision, times in taken.items()}
