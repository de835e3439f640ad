"""The directory that a training fills: at once a model, and all that the training needs to go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from storyteller.checkpoint.format import WEIGHTS, begin_checkpoint, read_checkpoint, seal, unseal
from storyteller.checkpoint.weights import save_weights
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.params import SamplingParams
from storyteller.engine.tokenizer import Tokenizer
from storyteller.training.card import write_card, write_record
from storyteller.training.events import TrainEvent
from storyteller.training.journal import Journal
from storyteller.training.state import TrainerState, save_trainer


class ModelDirectory:
    """Writes everything, in an order in which a crash at any moment leaves a model that can be loaded and a training that can go on.

    In a distributed training only the main process has one that ``writes``; the others' keep silent.
    """

    def __init__(self, path: Path, architecture: GRUConfig, *, writes: bool = True) -> None:
        self.path = path
        self.architecture = architecture
        self.writes = writes
        self.journal = Journal(path)

    def begin(self, tokenizer: Tokenizer, weights: Mapping[str, Tensor], state: TrainerState) -> None:
        """Make the directory, with the first weights as its model."""

        def fill(_: Path) -> None:
            self.save_best(weights)
            self.save_state(state)
            self.journal.begin(0)

        if self.writes:
            begin_checkpoint(self.path, self.architecture, tokenizer, SamplingParams(), fill)

    def reopen(self, iteration: int) -> None:
        """Open the directory of a training that goes on at ``iteration``."""
        if self.writes:
            unseal(self.path)
            self.journal.begin(iteration)

    def save_best(self, weights: Mapping[str, Tensor]) -> None:
        """Make these weights the model."""
        if self.writes:
            arrays = {name: tensor.detach().float().cpu().numpy() for name, tensor in weights.items()}
            save_weights(self.path / WEIGHTS, arrays, self.architecture.shapes())

    def best(self) -> dict[str, Tensor]:
        """The weights of the model."""
        return {name: torch.from_numpy(array) for name, array in read_checkpoint(self.path).weights().items()}

    def save_state(self, state: TrainerState) -> None:
        """Keep everything that the training needs to go on."""
        if self.writes:
            save_trainer(self.path, state)

    def note(self, event: TrainEvent) -> None:
        """Keep what ``train.jsonl`` keeps of ``event``."""
        if self.writes:
            self.journal.take(event)

    def describe(self, record: Mapping[str, Any]) -> None:
        """Bring journal, ``training.json`` and model card up to date."""
        if self.writes:
            self.journal.close()
            write_record(self.path, record)
            write_card(self.path, self.architecture, record)

    def close(self) -> None:
        """The training is over: ``config.json`` vouches for the weights from now on."""
        if self.writes:
            self.journal.close()
            seal(self.path)
