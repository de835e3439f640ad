"""``trainer.safetensors``: all that a training needs to go on to the last bit, in one file that is replaced in one move."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyteller.checkpoint.files import replace_file
from storyteller.checkpoint.format import TRAINER
from storyteller.errors import CheckpointInvalid
from storyteller.training.events import EndReason

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1


@dataclass(slots=True)
class Progress:
    """The counters of a training. ``seconds`` are those of training, evaluation included, over all its sessions.

    ``total`` is the number of iterations, None until it is known; ``total_fixed`` says that a time limit needs no more look at it.
    ``best_nats`` is the lowest held-out loss (of the stories that are read in the course of training); ``evaluated`` the last iteration
    whose weights were scored; ``loss_sum`` that of ``loss_count`` iterations since then; ``done`` the reason why the training is over.
    """

    iteration: int = 0
    tokens: int = 0
    seconds: float = 0.0
    total: int | None = None
    total_fixed: bool = False
    best_nats: float | None = None
    best_iteration: int = 0
    best_averaged: bool = False
    evaluations_since_best: int = 0
    evaluated: int = -1
    loss_sum: float = 0.0
    loss_count: int = 0
    done: EndReason | None = None


@dataclass(frozen=True, slots=True)
class TrainerState:
    """What the file holds: tensors by name, the counters, the settings, the key of the corpus, and the scale of fp16 gradients."""

    tensors: Mapping[str, Tensor]
    progress: Progress
    settings: Mapping[str, Any]
    corpus_key: str
    processes: int
    scaler: Mapping[str, Any]


def save_trainer(folder: Path, state: TrainerState) -> Path:
    """Replace the file in ``folder`` and return its path."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in state.tensors.items()}
    about = {
        "version": VERSION,
        "progress": asdict(state.progress),
        "settings": dict(state.settings),
        "corpus_key": state.corpus_key,
        "processes": state.processes,
        "scaler": dict(state.scaler),
    }
    text = json.dumps(about)
    metadata = {"trainer": text, "digest": _digest(tensors, text)}
    path = folder / TRAINER
    replace_file(path, lambda fresh: save_file(tensors, str(fresh), metadata=metadata))
    return path


def load_trainer(folder: Path) -> TrainerState:
    """Read the file in ``folder``; raises :class:`CheckpointInvalid` if it is damaged or of a newer version."""
    from safetensors import SafetensorError, safe_open

    path = folder / TRAINER
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        about = json.loads(metadata["trainer"])
        if about["version"] > VERSION:
            raise CheckpointInvalid(f"{path} was written by a newer storyteller", "pip install --upgrade storyteller")
        if metadata["digest"] != _digest(tensors, metadata["trainer"]):
            raise CheckpointInvalid(f"{path} is damaged: its tensors do not have the digest that was written with them")
        return TrainerState(
            tensors=tensors,
            progress=Progress(**about["progress"]),
            settings=about["settings"],
            corpus_key=about["corpus_key"],
            processes=about["processes"],
            scaler=about["scaler"],
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointInvalid(f"{path} is damaged or no training state: {error}") from error


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    import torch

    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
