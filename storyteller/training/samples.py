"""What the model says in the course of a training, from fixed prompts and a fixed seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storyteller.engine.generate import sample_seeds, stream_batch
from storyteller.engine.model import GRULM
from storyteller.engine.params import SamplingParams
from storyteller.engine.tokenizer import Tokenizer
from storyteller.engine.torch_runtime import TorchRuntime

PARAMS = SamplingParams(temperature=0.7, max_len=120)


@dataclass(frozen=True, slots=True)
class _Model:
    runtime: TorchRuntime
    tokenizer: Tokenizer


def tell_samples(model: GRULM, tokenizer: Tokenizer, prompts: Sequence[str], seed: int) -> tuple[tuple[str, str], ...]:
    """Each prompt with its continuation of at most 120 tokens, sample i with ``seed + i``; torch's random generators are left alone."""
    was_training = model.training
    teller = _Model(TorchRuntime(model, model.embedding.weight.device), tokenizer)
    told = [""] * len(prompts)
    for row, step in stream_batch(teller, prompts, PARAMS, sample_seeds(seed, len(prompts)), alternatives=0):
        told[row] += step.text
    model.train(was_training)
    return tuple(zip(prompts, told, strict=True))
