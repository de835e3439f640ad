"""The checkpoint directory: read, write, verify. No torch and no pickle.

``config.json`` (architecture, ``format_version``, sha256 of weights and tokenizer) · ``model.safetensors`` · ``tokenizer.json`` ·
``generation_config.json`` · ``training.json`` · ``README.md``; a training adds ``trainer.safetensors`` and ``train.jsonl``.

While a model is being trained its weights are replaced again and again, and ``config.json`` never is: it is then *unsealed*, names
the tokenizer's sha256 alone, and the weights are vouched for by the digest inside their own file. :func:`seal` adds the sha256.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyteller.checkpoint.files import check_plain, replace_text, sync_directory
from storyteller.checkpoint.weights import Stored, Weights, check_header, load_weights, path_sha256, save_weights
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.params import SamplingParams
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid, ConfigInvalid, InvalidParams, ModelNotFound

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
GENERATION = "generation_config.json"
TRAINING = "training.json"
CARD = "README.md"
TRAINER = "trainer.safetensors"

MODEL_TYPE = "storyteller-gru"
FORMAT_VERSION = 1
LARGEST_JSON = 64 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint directory that was read and found whole; :meth:`weights` reads the tensors.

    ``sha256`` is that of ``model.safetensors``; ``sealed`` says that ``config.json`` vouches for it.
    """

    path: Path
    config: GRUConfig
    tokenizer: Tokenizer
    generation: SamplingParams
    styles: Mapping[str, SamplingParams]
    training: Mapping[str, Any]
    sha256: str
    sealed: bool

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    def weights(self) -> Weights:
        """The tensors as float32 by the names of :meth:`GRUConfig.shapes`; raises :class:`CheckpointInvalid` if a bit is wrong."""
        return load_weights(self.path / WEIGHTS, self.config.shapes(), self.sha256 if self.sealed else None)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint directory, all but the tensors, whose header and size are checked.

    Raises :class:`ModelNotFound` where none is, :class:`CheckpointInvalid` where one is damaged, of another architecture or newer.
    """
    path = Path(path).resolve()
    if not (path / CONFIG).is_file():
        raise ModelNotFound(f"{path} holds no model: there is no {CONFIG} in it", "storyteller models list")
    values = _read_config(path)
    try:
        config = GRUConfig.from_dict(values)
    except ConfigInvalid as error:
        raise CheckpointInvalid(f"{path / CONFIG} is not usable: {error.message}") from error
    digests = values.get("sha256")
    if not isinstance(digests, dict) or not _is_sha256(digests.get("tokenizer")):
        raise CheckpointInvalid(f"{path / CONFIG} does not name the sha256 of its tokenizer")
    weights_digest = digests.get("weights")
    if weights_digest is not None and not _is_sha256(weights_digest):
        raise CheckpointInvalid(f"{path / CONFIG} has a damaged sha256")
    check_header(path / WEIGHTS, config.shapes())
    generation, styles = _read_generation(path)
    return Checkpoint(
        path=path,
        config=config,
        tokenizer=_read_tokenizer(path, config, digests["tokenizer"]),
        generation=generation,
        styles=styles,
        training=_read_json(path / TRAINING) if (path / TRAINING).exists() else {},
        sha256=weights_digest or path_sha256(path / WEIGHTS),
        sealed=weights_digest is not None,
    )


def verify(path: Path) -> Checkpoint:
    """Read all of a checkpoint, tensors included, and return it; raises what :func:`read_checkpoint` and :meth:`Checkpoint.weights` do."""
    checkpoint = read_checkpoint(path)
    checkpoint.weights()
    return checkpoint


def write_checkpoint(
    path: Path,
    config: GRUConfig,
    weights: Mapping[str, NDArray[np.float32]],
    tokenizer: Tokenizer,
    generation: SamplingParams | None = None,
    training: Mapping[str, Any] | None = None,
    card: str = "",
    dtype: Stored = "float32",
    styles: Mapping[str, SamplingParams] | None = None,
) -> None:
    """Write a sealed checkpoint directory, which appears under ``path`` by one rename; nothing may be there before.

    Raises :class:`CheckpointInvalid` if something is, or if the weights are not those of ``config``.
    """
    path = Path(path)
    if path.exists():
        raise CheckpointInvalid(f"{path} is already there", "choose another directory, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new-{os.getpid()}")

    def fill(folder: Path) -> None:
        save_weights(folder / WEIGHTS, weights, config.shapes(), dtype)
        replace_text(folder / TRAINING, to_json(training or {}))
        replace_text(folder / CARD, card)

    try:
        begin_checkpoint(fresh, config, tokenizer, generation or SamplingParams(), fill, styles)
        seal(fresh)
        fresh.rename(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    sync_directory(path.parent)


def begin_checkpoint(
    path: Path,
    config: GRUConfig,
    tokenizer: Tokenizer,
    generation: SamplingParams,
    fill: Callable[[Path], object],
    styles: Mapping[str, SamplingParams] | None = None,
) -> None:
    """Make ``path`` an unsealed checkpoint; ``fill`` writes its weights, and whatever else belongs to it, into the directory.

    ``config.json`` comes last: a directory without one is no checkpoint yet, and may be begun again.
    """
    path.mkdir(parents=True, exist_ok=True)
    text = tokenizer.to_str()
    replace_text(path / TOKENIZER, text)
    replace_text(path / GENERATION, to_json(generation_values(generation, styles or {})))
    fill(path)
    values = {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        **config.to_dict(),
        "end_id": tokenizer.end_id,
        "sha256": {"tokenizer": hashlib.sha256(text.encode("utf-8")).hexdigest()},
    }
    replace_text(path / CONFIG, to_json(values))


def seal(path: Path) -> str:
    """Write the sha256 of ``model.safetensors`` into ``config.json`` and return it."""
    digest = path_sha256(path / WEIGHTS)
    values = _read_config(path)
    values["sha256"]["weights"] = digest
    replace_text(path / CONFIG, to_json(values))
    return digest


def unseal(path: Path) -> None:
    """Take the sha256 of the weights out of ``config.json``, so that they may be replaced."""
    values = _read_config(path)
    if values["sha256"].pop("weights", None) is not None:
        replace_text(path / CONFIG, to_json(values))


def generation_values(generation: SamplingParams, styles: Mapping[str, SamplingParams]) -> dict[str, Any]:
    """What ``generation_config.json`` holds: the default parameters, and the named styles beside them."""
    values = generation.to_dict()
    if styles:
        values["styles"] = {name: style.to_dict() for name, style in styles.items()}
    return values


def to_json(values: Mapping[str, Any]) -> str:
    """JSON as it stands in a checkpoint: readable, with a final newline."""
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


def _is_sha256(value: Any) -> bool:
    # Files of the cache are named by it: anything else could name a file elsewhere.
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointInvalid(f"{path} is not readable JSON") from error
    if not isinstance(values, dict):
        raise CheckpointInvalid(f"{path} must hold a JSON object")
    return values


def _read_bytes(path: Path) -> bytes:
    try:
        check_plain(path)
        if path.stat().st_size > LARGEST_JSON:
            raise CheckpointInvalid(f"{path} is too large to be what it should be")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointInvalid(f"{path} cannot be read: {error.strerror or error}") from error


def _read_config(path: Path) -> dict[str, Any]:
    values = _read_json(path / CONFIG)
    if values.get("model_type") != MODEL_TYPE:
        raise CheckpointInvalid(f"{path} holds a model of another kind ({values.get('model_type')!r}), not {MODEL_TYPE!r}")
    version = values.get("format_version")
    if type(version) is not int or version < 1:
        raise CheckpointInvalid(f"{path / CONFIG} has no format_version")
    if version > FORMAT_VERSION:
        raise CheckpointInvalid(
            f"{path} has format version {version}; this storyteller reads up to {FORMAT_VERSION}",
            "pip install --upgrade storyteller",
        )
    return values


def _read_tokenizer(path: Path, config: GRUConfig, digest: str) -> Tokenizer:
    file = path / TOKENIZER
    raw = _read_bytes(file)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise CheckpointInvalid(f"{file} is damaged: its bytes are not those that {CONFIG} names (sha256)")
    tokenizer = Tokenizer.from_str(raw.decode("utf-8", errors="replace"))
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointInvalid(f"{file} has {tokenizer.vocab_size} tokens, but the network knows {config.vocab_size}")
    return tokenizer


def _read_generation(path: Path) -> tuple[SamplingParams, dict[str, SamplingParams]]:
    file = path / GENERATION
    if not file.exists():
        return SamplingParams(), {}
    values = _read_json(file)
    styles = values.pop("styles", {})
    try:
        if not isinstance(styles, dict) or not all(isinstance(style, dict) for style in styles.values()):
            raise InvalidParams("styles must be an object of objects")
        return SamplingParams.from_dict(values), {name: SamplingParams.from_dict(style) for name, style in styles.items()}
    except (InvalidParams, TypeError) as error:
        raise CheckpointInvalid(f"{file} is not usable: {error}") from error
