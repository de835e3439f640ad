"""The model that is measured: the sizes of a preset, with random weights, kept in the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from storyteller.checkpoint.format import CONFIG, Checkpoint, read_checkpoint, write_checkpoint
from storyteller.engine.architecture import PRESETS
from storyteller.engine.tokenizer import Tokenizer
from storyteller.training.sample import sample_stories

SEED = 0
NAME = "bench-{}-1"


def subject(preset: str, cache_dir: Path) -> Checkpoint:
    """The checkpoint of ``preset``, made now if it is not there. Speed depends on the sizes alone, not on what the weights say."""
    path = cache_dir / "bench" / NAME.format(preset)
    if not (path / CONFIG).is_file():
        config = PRESETS[preset]
        random = np.random.default_rng(SEED)
        weights = {
            name: (random.standard_normal(shape, np.float32) * np.float32(1 / np.sqrt(shape[-1]))).astype(np.float32)
            for name, shape in config.shapes().items()
        }
        tokenizer = Tokenizer.train((story.text for story in sample_stories()), config.vocab_size)
        write_checkpoint(path, config, weights, tokenizer)
    return read_checkpoint(path)
