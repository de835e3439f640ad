"""What is known about a model without running it, and whether it is whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storyteller import paths
from storyteller.checkpoint.derived import made_graphs
from storyteller.checkpoint.difference import difference, sample_ids
from storyteller.checkpoint.format import CARD, CONFIG, TOKENIZER, WEIGHTS, Checkpoint, read_checkpoint
from storyteller.checkpoint.reference import reference_logits
from storyteller.checkpoint.registry import ModelEntry
from storyteller.errors import CheckpointInvalid, StorytellerError


@dataclass(frozen=True, slots=True)
class Facts:
    """One line of a list of models: ``size`` in bytes, ``precisions`` those that are made for this computer already.

    ``problem`` says why a model cannot be used; all but name, path, origin and size are None or empty then.
    """

    name: str
    path: Path
    origin: str
    default: bool
    size: int
    parameters: int | None = None
    vocab_size: int | None = None
    precisions: tuple[str, ...] = ()
    bits_per_byte: float | None = None
    sha256: str | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self) | {"path": str(self.path), "precisions": list(self.precisions)}


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was examined and found right."""

    what: str
    found: str


def facts(entry: ModelEntry) -> Facts:
    """What is known about a model; a damaged one has a ``problem`` instead of an exception."""
    size = directory_size(entry.path)
    try:
        checkpoint = read_checkpoint(entry.path)
    except StorytellerError as error:
        return Facts(entry.name, entry.path, entry.origin, entry.default, size, problem=error.message)
    return Facts(
        entry.name,
        entry.path,
        entry.origin,
        entry.default,
        size,
        parameters=checkpoint.config.parameters,
        vocab_size=checkpoint.config.vocab_size,
        precisions=tuple(made_graphs(checkpoint.sha256, paths.cache_dir())),
        bits_per_byte=bits_per_byte(checkpoint),
        sha256=checkpoint.sha256,
    )


def bits_per_byte(checkpoint: Checkpoint) -> float | None:
    """What ``training.json`` says of the held-out stories, None if it says nothing."""
    figures = checkpoint.training.get("figures")
    value = figures.get("bits_per_byte") if isinstance(figures, dict) else None
    return value if isinstance(value, float) and math.isfinite(value) else None


def directory_size(path: Path) -> int:
    """Bytes of all files below ``path``."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def card(checkpoint: Checkpoint) -> str:
    """The model card, empty if there is none."""
    path = checkpoint.path / CARD
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def checks(path: Path) -> Iterator[Check]:
    """Examine a model, all of its bytes, and the graphs that were made of it; raises :class:`CheckpointInvalid` if something is wrong."""
    checkpoint = read_checkpoint(path)
    yield Check(CONFIG, f"{checkpoint.config.parameters:,} parameters, {'sealed' if checkpoint.sealed else 'being trained: not sealed'}")
    _check_tokenizer(checkpoint)
    yield Check(TOKENIZER, f"sha256 as promised; {checkpoint.tokenizer.vocab_size:,} tokens fit {checkpoint.config.vocab_size:,} outputs")
    weights = checkpoint.weights()
    promise = "sha256 as promised" if checkpoint.sealed else "digest of its tensors as written with them"
    yield Check(WEIGHTS, f"{promise}; {len(weights)} tensors of the right shapes, all numbers finite")
    ids = sample_ids(checkpoint)
    expected = reference_logits(checkpoint.config, weights, ids[:-1])
    for precision, graph in made_graphs(checkpoint.sha256, paths.cache_dir()).items():
        found = difference(checkpoint, precision, _told_by(graph, ids[:-1]), expected, ids[1:])
        yield Check(f"{precision} graph", f"logits within {found.logits:.1e}, loss {found.loss:+.1e} nats per token of the weights'")


def _check_tokenizer(checkpoint: Checkpoint) -> None:
    """Every token is bytes, and one of the ids ends a story."""
    if len(checkpoint.tokenizer.token_bytes) > checkpoint.config.vocab_size:
        raise CheckpointInvalid(f"{checkpoint.path / TOKENIZER} has ids that the network does not know")


def _told_by(graph: Path, ids: Any) -> Any:
    from storyteller.engine.onnx_runtime import OnnxRuntime

    runtime = OnnxRuntime(graph, threads=1)
    state, logits = runtime.initial_state(ids.shape[1]), []
    for row in ids:
        after, state = runtime.step(row, state)
        logits.append(after)
    return np.stack(logits)
