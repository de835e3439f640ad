"""Scoring held-out stories in the course of a training, each from the end token and a zero state (DESIGN's law 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch.nn import functional

from storyteller.engine.model import GRULM
from storyteller.engine.tokenizer import Tokenizer
from storyteller.training.batches import Tokens, shuffled, story_starts
from storyteller.training.network import recur

ROWS = 64
STEPS = 64


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over stories: nats of all ids with the end tokens, number of ids, UTF-8 bytes, stories."""

    nats: float
    tokens: int
    bytes: int
    stories: int

    @property
    def nats_per_token(self) -> float:
        """Mean of nats over ids."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """exp(nats per token)."""
        return math.exp(min(self.nats_per_token, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Nats / ln 2 / bytes: comparable between tokenizers."""
        return self.nats / math.log(2) / self.bytes


class HeldOut:
    """The held-out stories of a corpus, grouped by length so that little padding is computed."""

    def __init__(self, tokens: Tokens, tokenizer: Tokenizer, *, seed: int) -> None:
        self.tokens: NDArray[np.uint16] = np.asarray(tokens)
        self.starts = story_starts(tokens, tokenizer.end_id)
        self.order = shuffled(max(0, len(self.starts) - 1), seed, 0)
        self.bytes_of = np.array([len(raw) for raw in tokenizer.token_bytes], np.int64)

    def __len__(self) -> int:
        return len(self.order)

    @torch.no_grad()
    def score(self, model: GRULM, accelerator: Accelerator, most: int | None = None) -> Score:
        """Score ``most`` of the stories (always the same ones), or all; the processes share the work and get the same sums."""
        chosen = self.order[:most]
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        chosen = chosen[np.argsort(-lengths, kind="stable")]
        sums = torch.zeros(3, dtype=torch.float64)
        was_training = model.training
        model.eval()
        groups = [chosen[place : place + ROWS] for place in range(0, len(chosen), ROWS)]
        for group in groups[accelerator.process_index :: accelerator.num_processes]:
            sums += torch.tensor(self._score_group(model, accelerator, group), dtype=torch.float64)
        model.train(was_training)
        if accelerator.num_processes > 1:
            sums = accelerator.reduce(sums.to(accelerator.device), "sum").cpu()
        return Score(float(sums[0]), int(sums[1]), int(sums[2]), len(chosen))

    def _score_group(self, model: GRULM, accelerator: Accelerator, group: NDArray[np.int64]) -> tuple[float, int, int]:
        stories = [self.tokens[self.starts[story] : self.starts[story + 1] + 1].astype(np.int64) for story in group]
        lengths = np.array([len(story) - 1 for story in stories])
        padded = np.zeros((lengths[0] + 1, len(stories)), np.int64)
        for row, story in enumerate(stories):
            padded[: len(story), row] = story
        ids = torch.from_numpy(padded).to(accelerator.device)
        state = model.initial_state(len(stories))
        nats = 0.0
        for begin in range(0, int(lengths[0]), STEPS):
            rows = int((lengths > begin).sum())
            end = min(begin + STEPS, int(lengths[0]))
            with accelerator.autocast():
                hidden, state = recur(model.gru, model.embedding(ids[begin:end, :rows]), state[:, :rows].contiguous())
                state = state.float()
                within = torch.from_numpy(np.arange(begin, end)[:, None] < lengths[:rows]).to(accelerator.device)
                logits = model.output(model.projection(hidden[within])).float()
            nats += float(functional.cross_entropy(logits, ids[begin + 1 : end + 1, :rows][within], reduction="sum"))
        return nats, int(lengths.sum()), int(sum(self.bytes_of[story].sum() for story in stories))
