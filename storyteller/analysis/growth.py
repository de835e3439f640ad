"""How a model grew up: its loss, and what it told, from the journal of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.record import Record
from storyteller.errors import DataInvalid


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingGrowth(Record):
    """E evaluations in the course of a training.

    ``iterations``, ``tokens`` (E,): updates made and tokens read by then. ``train_loss``, ``valid_loss``: float64 (E,), nats per token, the
    latter of held-out stories; nan where not measured. ``prompt`` and ``samples`` (E): what the model went on to tell from it ("" = none).
    """

    model: str
    prompt: str
    samples: tuple[str, ...]
    iterations: NDArray[np.int64]
    tokens: NDArray[np.int64]
    train_loss: NDArray[np.float64]
    valid_loss: NDArray[np.float64]


def training_growth(lines: Sequence[Mapping[str, Any]], *, model: str = "", prompt: str | None = None) -> TrainingGrowth:
    """Read the ``lines`` of a ``train.jsonl``; ``prompt`` chooses among the prompts that samples were told from (None: the first).

    Raises :class:`~storyteller.errors.DataInvalid` with fewer than two evaluations, or for a prompt that nothing was told from.
    """
    evaluations = [line for line in lines if isinstance(line.get("iteration"), int) and not line.get("final")]
    if len(evaluations) < 2:
        raise DataInvalid("the training left no journal of two evaluations or more", "a model that storyteller train made has one")
    told = [{sample["prompt"]: sample["text"] for sample in line.get("samples", ())} for line in evaluations]
    prompts = list(dict.fromkeys(begin for samples in told for begin in samples))
    if prompt is not None and prompt not in prompts:
        raise DataInvalid(f"nothing was told from {prompt!r} during the training", f"prompts: {', '.join(map(repr, prompts)) or 'none'}")
    chosen = prompt if prompt is not None else prompts[0] if prompts else ""
    return TrainingGrowth(
        model=model,
        prompt=chosen,
        samples=tuple(samples.get(chosen, "") for samples in told),
        iterations=np.array([line["iteration"] for line in evaluations]),
        tokens=np.array([line["tokens"] for line in evaluations]),
        train_loss=_numbers(evaluations, "train_loss"),
        valid_loss=_numbers(evaluations, "nats_per_token"),
    )


def _numbers(lines: Sequence[Mapping[str, Any]], field: str) -> NDArray[np.float64]:
    return np.array([np.nan if line.get(field) is None else float(line[field]) for line in lines])
