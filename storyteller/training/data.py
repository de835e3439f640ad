"""From the settings of a training to its corpus."""

from __future__ import annotations

import re
from pathlib import Path

from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import DownloadFailed
from storyteller.paths import cache_dir
from storyteller.training.config import Config
from storyteller.training.corpus import EncodedCorpus, Progress, Source, prepare

FILE_HINT = "storyteller train FILE.txt (or .csv, .jsonl, .parquet), or storyteller train --dataset sample, which needs no network"


def sources(config: Config) -> tuple[list[Source], list[Source] | None]:
    """What ``config`` names to train on and to validate on (None: hold a share out); TinyStories if it names nothing.

    Raises :class:`ConfigInvalid` for options that fit no source.
    """
    column, separator, most = config.csv_text_column, config.separator, config.max_stories
    tinystories = ("tinystories",) if config.use_tinystories and "tinystories" not in config.dataset else ()
    train = [_dataset(name, column, most) for name in config.dataset + tinystories]
    named = [name for name in (config.train_csv_path, config.custom_text_file) if name is not None]
    for name in (*config.files, *named):
        location, weight = _weighted(name)
        train.append(Source(kind="file", location=location, weight=weight, text_column=column, separator=separator, max_stories=most))
    held = [*config.valid_files, *([config.val_csv_path] if config.val_csv_path is not None else [])]
    valid = [Source(kind="file", location=name, text_column=column, separator=separator) for name in held]
    return train or [_dataset("tinystories", column, most)], valid or None


def load_corpus(config: Config, tokenizer: Tokenizer | None = None, progress: Progress | None = None) -> EncodedCorpus:
    """Prepare the corpus of ``config``, or find it in the cache; raises what :func:`~storyteller.training.corpus.prepare` raises."""
    train, valid = sources(config)
    try:
        return prepare(
            train,
            valid,
            vocab_size=config.vocab_size,
            tokenizer=tokenizer,
            cache_dir=cache_dir(),
            valid_share=config.valid_share,
            progress=progress,
        )
    except DownloadFailed as error:
        raise DownloadFailed(error.message, FILE_HINT) from error


def _dataset(name: str, column: str | None, most: int | None) -> Source:
    name, weight = _weighted(name)
    if name == "tinystories":
        return Source(kind="tinystories", max_stories=most, weight=weight)
    if name == "sample":
        return Source(kind="sample", max_stories=most, weight=weight)
    return Source(kind="hub", location=name, text_column=column, max_stories=most, weight=weight)


def _weighted(name: str) -> tuple[str, float]:
    """``stories.txt:3`` is the file, threefold; a file of that very name goes first."""
    match = re.fullmatch(r"(.+):(\d+(?:\.\d+)?)", name)
    if match is None or Path(name).exists():
        return name, 1.0
    return match[1], float(match[2])
