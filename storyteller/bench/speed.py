"""Telling and reading, raced against the plain loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storyteller.bench.baseline import TEMPERATURE, TOP_K, TOP_P, PlainLoop
from storyteller.bench.timing import Patience, Work, race
from storyteller.checkpoint.graph import Precision
from storyteller.engine.generate import prime, sample_seeds, stream, stream_batch
from storyteller.engine.model import GRULM
from storyteller.engine.onnx_runtime import OnnxRuntime
from storyteller.engine.params import SamplingParams
from storyteller.engine.postprocess import StoryFilter
from storyteller.engine.runtime import Runtime
from storyteller.engine.sampler import Sampler
from storyteller.engine.tokenizer import Tokenizer

PROMPT = "Once upon a time"
PLAIN = "plain"
PREFILL = 256


@dataclass(frozen=True, slots=True)
class Contender:
    """A runtime with a tokenizer: all that generation asks of a model."""

    runtime: Runtime
    tokenizer: Tokenizer


def params(tokens: int) -> SamplingParams:
    """The baseline's own sampling."""
    return SamplingParams(temperature=TEMPERATURE, top_k=TOP_K, top_p=TOP_P, max_len=tokens)


def telling(model: Contender, tokens: int, *, rows: int = 1, alternatives: int = 0) -> Work:
    """Whole stories through the engine's own door, text and all; returns the number of tokens told."""

    def work() -> int:
        if rows == 1:
            return sum(1 for _ in stream(model, PROMPT, params(tokens), 1, alternatives=alternatives))
        return sum(1 for _ in stream_batch(model, [PROMPT] * rows, params(tokens), sample_seeds(1, rows), alternatives=alternatives))

    return work


def text_alone(model: Contender, tokens: int) -> Work:
    """The same text without records: step, choose, decode, mend."""

    def work() -> int:
        begin = prime(model, PROMPT)
        logits, state, detokenizer, story = begin.logits[None], begin.state, begin.detokenizer, StoryFilter().prime(PROMPT)
        sampler = Sampler(model.tokenizer, begin.ids, params(tokens))
        for index in range(tokens):
            id = sampler.choose(logits[0], 1, begin.prompt_len + index).id
            sampler.push(id)
            detokenizer, pieces = detokenizer.add(id, index)
            story.feed_pieces(pieces)
            logits, state = model.runtime.step(np.array([id], np.int64), state)
        return tokens

    return work


def stepping(runtime: Runtime, steps: int, rows: int) -> Work:
    """The network alone: ``steps`` steps of ``rows`` rows."""
    ids = np.arange(rows, dtype=np.int64)

    def work() -> int:
        state = runtime.initial_state(rows)
        for _ in range(steps):
            _, state = runtime.step(ids, state)
        return steps * rows

    return work


def prefilling(runtime: Runtime) -> Work:
    """Reading a prompt of :data:`PREFILL` ids."""
    ids = np.arange(PREFILL, dtype=np.int64)[None]

    def work() -> int:
        runtime.prefill(ids, runtime.initial_state(1))
        return PREFILL

    return work


def best_threads(network: GRULM, counts: Sequence[int], tokens: int) -> int:
    """The number of threads with which the plain loop is fastest."""
    outcome = race({str(count): _loop(network, count, tokens) for count in counts}, Patience(2))
    return int(max(outcome.rates, key=lambda name: outcome.rate(name).fastest))


def plain_telling(network: GRULM, threads: int, tokens: int) -> dict[str, Work]:
    """The plain loop as a contestant."""
    return {f"{PLAIN} {threads}": _loop(network, threads, tokens)}


def plain_prefills(network: GRULM, counts: Sequence[int]) -> dict[str, Work]:
    """The plain prefill with each number of threads."""
    import torch

    ids = torch.arange(PREFILL)[:, None]

    def contestant(count: int) -> Work:
        loop = PlainLoop(network, count)
        return lambda: loop.prefill(ids)

    return {f"{PLAIN} {count}": contestant(count) for count in counts}


def against_plain(contestants: Mapping[str, Work], plain: Mapping[str, Work], patience: Patience) -> dict[str, Any]:
    """Race ``contestants`` and the plain loop; tokens per second of each, and each one's ratio to the best plain one."""
    outcome = race({**plain, **contestants}, patience)
    best = max(plain, key=lambda name: outcome.rate(name).median)
    return {
        "baseline": best,
        "tokens_per_second": {name: outcome.rate(name).to_dict() for name in outcome.rates},
        "ratio": {name: outcome.ratio(name, best) for name in contestants},
    }


def _loop(network: GRULM, threads: int, tokens: int) -> Work:
    loop = PlainLoop(network, threads)
    return lambda: loop.tell(tokens)


def open_runtimes(paths: Mapping[Precision, Path], threads: int | None = None) -> dict[Precision, OnnxRuntime]:
    """An ONNX runtime for each precision."""
    return {precision: OnnxRuntime(path, threads=threads) for precision, path in paths.items()}
