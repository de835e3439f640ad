"""How much of a bare training loop's speed the trainer keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from storyteller.bench.timing import Patience, Work, race
from storyteller.engine.architecture import PRESETS
from storyteller.engine.model import GRULM
from storyteller.training.batches import Batches
from storyteller.training.config import Config
from storyteller.training.session import Session

BATCH, LENGTH, TOKENS = 32, 64, 200_000


def training_throughput(preset: str, patience: Patience) -> dict[str, Any]:
    """Tokens per second of the trainer's iterations and of a bare loop (nn.GRU, cross-entropy, backward, AdamW) of the same shapes.

    ``share`` is the trainer's part of the bare loop's speed. Both on the CPU, with torch's own number of threads.
    """
    from accelerate import Accelerator

    config = Config(preset=preset, batch_size=BATCH, seq_len=LENGTH, device="cpu", precision="float32")
    tokens = np.random.default_rng(0).integers(0, PRESETS[preset].vocab_size, TOKENS).astype(np.uint16)
    tokens[:: LENGTH * 3] = 0
    batches = Batches(tokens, 0, batch_size=BATCH, seq_len=LENGTH, seed=0)
    session = Session(config, GRULM(config.architecture), batches, 0, Accelerator(cpu=True))

    def iterate() -> int:
        nats, _ = session.iterate()
        nats.item()
        return BATCH * LENGTH

    outcome = race({"trainer": iterate, "bare": _bare_loop(config, batches)}, patience)
    return {
        "share": outcome.ratio("trainer", "bare"),
        "preset": preset,
        "trainer_tokens_per_second": outcome.rate("trainer").to_dict(),
        "bare_tokens_per_second": outcome.rate("bare").to_dict(),
        "threads": torch.get_num_threads(),
    }


def _bare_loop(config: Config, batches: Batches) -> Work:
    model = GRULM(config.architecture).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    state = model.initial_state(BATCH)
    number = 0

    def iterate() -> int:
        nonlocal state, number
        batch = batches.batch(number)
        number += 1
        logits, state = model(torch.from_numpy(batch.ids), state.detach())
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        return BATCH * LENGTH

    return iterate
