"""The whole of ``storyteller bench``: every figure with its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storyteller.bench.cold import cold_start
from storyteller.bench.machine import machine
from storyteller.bench.probes import arithmetic_probe, operations_per_token, read_probes, weight_bytes_per_token
from storyteller.bench.speed import (
    Contender,
    against_plain,
    best_threads,
    open_runtimes,
    plain_prefills,
    plain_telling,
    prefilling,
    stepping,
    telling,
    text_alone,
)
from storyteller.bench.subject import subject
from storyteller.bench.timing import Patience, race
from storyteller.checkpoint.derived import derived_onnx
from storyteller.checkpoint.format import Checkpoint
from storyteller.checkpoint.graph import PRECISIONS, Precision
from storyteller.checkpoint.load import network
from storyteller.checkpoint.precision import FIGURES, choose_precision
from storyteller.engine.onnx_runtime import OnnxRuntime, processors
from storyteller.engine.runtime import Runtime

SCHEMA_VERSION = 1
MANY = 16
BATCHES = (1, 4, 16, 64)
Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure: patience with each race, tokens in a round, the sizes of batches, and how many processes are started."""

    patience: Patience = field(default_factory=lambda: Patience(9))
    tokens: int = 100
    batches: tuple[int, ...] = BATCHES
    starts: int = 7
    grid: bool = True


FULL = Effort()
QUICK = Effort(patience=Patience(3, seconds=2), tokens=30, batches=(1, MANY), starts=2, grid=False)


def bench(preset: str, effort: Effort, cache_dir: Path, *, train: bool = False, notify: Notify = lambda _: None) -> dict[str, Any]:
    """Measure everything on a model of ``preset``'s sizes; the record is plain JSON.

    Contestants take turns, so a busy computer slows all of them: ratios are medians of the rounds' ratios, rates have their spread.
    """
    notify("preparing a model with random weights")
    checkpoint = subject(preset, cache_dir)
    paths = {precision: derived_onnx(checkpoint, precision, cache_dir, notify) for precision in PRECISIONS}
    runtimes = open_runtimes(paths)
    models = {precision: Contender(runtime, checkpoint.tokenizer) for precision, runtime in runtimes.items()}
    plain = network(checkpoint)
    counts = thread_counts()

    threads = best_threads(plain, counts, max(5, effort.tokens // 10))

    notify("one story")
    one = against_plain(
        {precision: telling(model, effort.tokens) for precision, model in models.items()},
        plain_telling(plain, threads, effort.tokens),
        effort.patience,
    )
    auto = _auto(checkpoint, runtimes, one)
    notify(f"{MANY} stories at once")
    many = against_plain(
        {precision: telling(models[precision], effort.tokens, rows=MANY) for precision in ("int8", "int4")},
        plain_telling(plain, threads, effort.tokens),
        effort.patience,
    )
    notify("reading a prompt")
    prompt = against_plain(
        {precision: prefilling(runtime) for precision, runtime in runtimes.items()},
        plain_prefills(plain, counts),
        effort.patience,
    )
    notify("what records cost")
    records = _records(models[auto], effort)
    notify("the computer's limits")
    limits = _limits(checkpoint, runtimes, auto, effort)
    notify("starting from nothing")
    cold = cold_start(checkpoint.path, auto, effort.starts)
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "preset": preset,
        "precision": auto,
        "speedup_one_stream": one["ratio"][auto],
        "speedup_batch16": many["ratio"]["int8"],
        "speedup_prefill": prompt["ratio"][auto],
        "cold_start_s": cold["seconds"],
        "step_overhead": records["overhead"],
        "roofline_share": limits["roofline_share"],
        "parts": {"one_stream": one, "batch16": many, "prefill": prompt, "records": records, "limits": limits, "cold_start": cold},
        "machine": machine(),
    }
    if effort.grid:
        notify("threads and batches")
        report["parts"]["grid"] = _grid(checkpoint, paths, effort)
    if train:
        from storyteller.bench.training import training_throughput

        notify("training")
        report["training"] = training_throughput("tiny" if effort is QUICK else "small", effort.patience)
        report["training_share"] = report["training"]["share"]
    return report


def thread_counts() -> list[int]:
    """1, 2, 4, … and the number of processors."""
    most = processors()
    return sorted({1 << power for power in range(most.bit_length()) if 1 << power <= most} | {most})


def _auto(checkpoint: Checkpoint, runtimes: dict[Precision, OnnxRuntime], one: dict[str, Any]) -> Precision:
    """What "auto" would pick with the speeds measured here and the losses on the sample text that stand in the graphs."""
    figures = {
        precision: {
            "loss_difference": float(runtime.metadata["loss_difference"]),
            "tokens_per_second": one["tokens_per_second"][precision]["median"],
        }
        for precision, runtime in runtimes.items()
    }
    return choose_precision({FIGURES: {"weights": checkpoint.sha256, "figures": figures}}, checkpoint.sha256).precision


def _records(model: Contender, effort: Effort) -> dict[str, Any]:
    outcome = race(
        {
            "text alone": text_alone(model, effort.tokens),
            "no alternatives": telling(model, effort.tokens),
            "full": telling(model, effort.tokens, alternatives=10),
        },
        effort.patience,
    )
    return {
        "overhead": outcome.ratio("text alone", "full") - 1,
        "overhead_of_alternatives": outcome.ratio("no alternatives", "full") - 1,
        "tokens_per_second": {name: outcome.rate(name).to_dict() for name in outcome.rates},
    }


def _limits(checkpoint: Checkpoint, runtimes: dict[Precision, OnnxRuntime], auto: Precision, effort: Effort) -> dict[str, Any]:
    """Share of the read bandwidth that one row's steps reach, and of the arithmetic peak that 64 rows' steps in int8 reach, one thread."""
    single = open_runtimes({precision: runtime.path for precision, runtime in runtimes.items()}, threads=1)
    sizes = {precision: weight_bytes_per_token(checkpoint.config, precision) for precision in single}
    shares, bandwidths = {}, {}
    for precision, runtime in single.items():
        probes = read_probes(sizes[precision])
        outcome = race({"step": stepping(runtime, effort.tokens, 1), **probes}, effort.patience)
        best = max(probes, key=lambda name: outcome.rate(name).median)
        shares[precision] = outcome.ratio("step", best) * sizes[precision]
        bandwidths[precision] = {"probe": best, "bytes_per_second": outcome.rate(best).to_dict()}
    outcome = race({"step": stepping(single["int8"], max(2, effort.tokens // 10), 64), "peak": arithmetic_probe()}, effort.patience)
    return {
        "roofline_share": shares[auto],
        "roofline_shares": shares,
        "bytes_per_token": sizes,
        "bandwidth": bandwidths,
        "arithmetic_share": outcome.ratio("step", "peak") * operations_per_token(checkpoint.config),
        "peak_operations_per_second": outcome.rate("peak").to_dict(),
    }


def _grid(checkpoint: Checkpoint, paths: dict[Precision, Path], effort: Effort) -> list[dict[str, Any]]:
    """Bare steps of every runtime, by threads and rows."""
    import torch

    from storyteller.engine.torch_runtime import TorchRuntime

    cells = []
    for threads in thread_counts():
        torch.set_num_threads(threads)
        runtimes: dict[str, Runtime] = {"torch": TorchRuntime(network(checkpoint))}
        runtimes |= {str(precision): runtime for precision, runtime in open_runtimes(paths, threads).items()}
        for rows in effort.batches:
            steps = max(3, effort.tokens // (5 * rows))
            outcome = race({name: stepping(runtime, steps, rows) for name, runtime in runtimes.items()}, effort.patience)
            cells += [
                {"runtime": name, "threads": threads, "rows": rows, "tokens_per_second": outcome.rate(name).to_dict()} for name in runtimes
            ]
    return cells
