"""What the model says in the course of a training, from fixed prompts and a fixed seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from storyteller.engine.model import GRULM
from storyteller.engine.tokenizer import Tokenizer
from storyteller.engine.torch_runtime import TorchRuntime

LENGTH = 120
TEMPERATURE = 0.7


def tell_samples(model: GRULM, tokenizer: Tokenizer, prompts: Sequence[str], seed: int) -> tuple[tuple[str, str], ...]:
    """Each prompt with its continuation of at most ``LENGTH`` tokens; torch's random generators are left alone."""
    device = model.embedding.weight.device
    was_training = model.training
    runtime = TorchRuntime(model, device)
    rng = np.random.default_rng(seed)
    told = []
    for prompt in prompts:
        ids = np.array([[tokenizer.end_id, *tokenizer.encode(prompt)]], np.int64)
        logits, state = runtime.prefill(ids, runtime.initial_state(1))
        row, continuation = logits[0, -1], []
        for _ in range(LENGTH):
            perturbed = row[: tokenizer.vocab_size] / TEMPERATURE + rng.gumbel(size=tokenizer.vocab_size)
            choice = int(perturbed.argmax())
            if choice == tokenizer.end_id:
                break
            continuation.append(choice)
            step_logits, state = runtime.step(np.array([choice], np.int64), state)
            row = step_logits[0]
        told.append((prompt, tokenizer.decode(continuation)))
    model.train(was_training)
    return tuple(told)
