"""What happens in a training, as plain records: the one stream that display, log and library users read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

EndReason = Literal["complete", "time limit", "no improvement", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is going to happen: the first event.

    ``total`` is None while only the time limit says when to stop; ``seconds_expected`` comes from a few trial iterations,
    None where none were made. ``settings`` are those of the training, ``notes`` what a person should know about them.
    """

    out: Path
    device: str
    precision: str
    processes: int
    threads: int
    parameters: int
    vocab_size: int
    train_tokens: int
    train_stories: int
    valid_stories: int
    tokens_per_iteration: int
    iterations_per_epoch: int
    total: int | None
    first_iteration: int
    seconds_expected: float | None
    settings: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something a person should know, in a sentence."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterated:
    """Updates of the weights were made, ``iteration`` of them so far. ``loss``: nats per token since the last such event."""

    iteration: int
    total: int | None
    epoch: float
    tokens: int
    seconds: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Held-out stories were scored, each from an empty memory, end token included (DESIGN's law 9).

    ``nats_per_token``, ``perplexity`` and ``bits_per_byte`` are those of the better of the last weights and their average (``averaged``
    says which); ``last_nats_per_token`` and ``average_nats_per_token`` are theirs. ``best`` says that these weights are kept as the model.
    ``train_loss``: nats per token in training since the last evaluation, None before the first iteration. ``final`` marks the last
    evaluation, of the kept model on all held-out stories. Without held-out stories the figures are None.
    """

    iteration: int
    tokens: int
    seconds: float
    train_loss: float | None
    nats_per_token: float | None
    perplexity: float | None
    bits_per_byte: float | None
    last_nats_per_token: float | None
    average_nats_per_token: float | None
    averaged: bool
    best: bool
    final: bool
    stories: int
    learning_rate: float
    grad_norm: float | None
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The model went on from each prompt; pairs of prompt and continuation."""

    iteration: int
    samples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Everything that a resumed training needs is on the disk, in ``path``."""

    iteration: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a training ended. ``path`` is a model; the figures are those of its weights on all held-out stories, None if it was stopped."""

    path: Path
    reason: EndReason
    iterations: int
    tokens: int
    seconds: float
    best_iteration: int
    nats_per_token: float | None
    perplexity: float | None
    bits_per_byte: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last event."""

    result: TrainResult


TrainEvent = Planned | Noted | Iterated | Evaluated | Sampled | Saved | Finished
