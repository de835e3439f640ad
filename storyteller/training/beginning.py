"""How a training begins: settings and directory settled, fresh or resumed, before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

from storyteller.checkpoint.format import CONFIG, TRAINER, Checkpoint, read_checkpoint
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import ConfigInvalid, UsageInvalid
from storyteller.paths import models_dir
from storyteller.training.config import ARCHITECTURE, CHANGEABLE, RULES, Config
from storyteller.training.state import TrainerState, load_trainer


def output_directory(config: Config) -> Path:
    """Where the model is made: ``out``, or a directory among the user's models that is named by data and preset."""
    if config.out is not None:
        return Path(config.out).expanduser()
    named = [config.custom_text_file, config.train_csv_path, *config.files, *config.dataset]
    data = next((Path(name).stem for name in named if name), "tinystories")
    return models_dir() / f"my-{data}-{config.preset}"


def is_main_process() -> bool:
    """Whether this process is the one that tells and writes, among those that ``accelerate launch`` or ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


def settle(config: Config) -> tuple[Config, TrainerState | None]:
    """The settings to train with, and the state to go on from, if ``config`` resumes a training that is there.

    What was not assigned in ``config`` is taken from the training that is resumed. Raises :class:`ConfigInvalid` where the two differ,
    and :class:`UsageInvalid` where something is in the way.
    """
    out = output_directory(config)
    if out.exists() and not out.is_dir():
        raise UsageInvalid(f"{out} is a file, not a directory", "storyteller train … --out DIR")
    if not (out / CONFIG).exists():
        return config, None
    if (out / TRAINER).exists():
        if not config.resume:
            raise UsageInvalid(f"{out} already holds a training", f"storyteller train --resume --out {out}, or another --out")
        saved = load_trainer(out)
        return _merged(config, saved, out), saved
    raise UsageInvalid(f"{out} already holds a finished model", f"storyteller train … --init-from {out} --out DIR")


def initial_checkpoint(config: Config, saved: TrainerState | None) -> Checkpoint | None:
    """The model whose tokenizer a training takes over, and whose weights, if it is fresh."""
    if saved is not None:
        return read_checkpoint(output_directory(config))
    if config.init_from is None:
        return None
    checkpoint = read_checkpoint(Path(config.init_from).expanduser())
    for name in ARCHITECTURE:
        if name == "dropout" or name not in config.assigned:
            continue
        if config.assigned[name] != getattr(checkpoint.config, name):
            raise ConfigInvalid(f"{name} is {getattr(checkpoint.config, name)} in the model to begin with, not {config.assigned[name]}")
    return checkpoint


def network_shape(config: Config, tokenizer: Tokenizer, begun_from: Checkpoint | None) -> GRUConfig:
    """The architecture: that of the model to begin with, or that of ``config`` with as many entries as the tokenizer has."""
    if begun_from is not None:
        dropout = config.dropout if "dropout" in config.assigned else begun_from.config.dropout
        return GRUConfig(**{**begun_from.config.to_dict(), "dropout": dropout})
    return GRUConfig(**{**config.architecture.to_dict(), "vocab_size": tokenizer.vocab_size})


def fitting_batch_size(wanted: int, seq_len: int, tokens: int, processes: int) -> int:
    """``wanted`` streams, or as many as ``tokens`` fill with one window each, a multiple of ``processes`` and at least that many."""
    most = max(1, (tokens - 1) // seq_len)
    return wanted if wanted <= most else max(processes, most - most % processes)


def _merged(config: Config, saved: TrainerState, out: Path) -> Config:
    merged = Config.from_dict({name: value for name, value in saved.settings.items() if name in RULES})
    for name, value in config.assigned.items():
        if name in CHANGEABLE:
            setattr(merged, name, value)
        elif value != getattr(merged, name):
            raise ConfigInvalid(
                f"{name} is {getattr(merged, name)} in the training that is resumed, not {value}",
                f"storyteller train … --init-from {out} --out DIR begins a new one from its weights",
            )
    return merged
