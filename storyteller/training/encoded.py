"""An encoded corpus, and the folder of the cache that it lives in: there whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import DataInvalid
from storyteller.training.atomic import write_json
from storyteller.training.encoding import SplitCounts, open_stream
from storyteller.training.fingerprint import Fingerprint
from storyteller.training.report import CorpusReport

_ABANDONED_SECONDS = 24 * 3600
_BUILDING = ".building-"


@dataclass(frozen=True, slots=True, eq=False)
class EncodedCorpus:
    """A corpus ready for training.

    ``train``, ``valid``: read-only uint16 memory maps, ``END story END story … END``; ``key``: the hash of the contents and options that
    it is cached under; ``fingerprint``: of the training stories; ``cached``: whether it was there already.
    """

    train: NDArray[np.uint16]
    valid: NDArray[np.uint16]
    tokenizer: Tokenizer
    report: CorpusReport
    key: str
    train_counts: SplitCounts
    valid_counts: SplitCounts
    fingerprint: Fingerprint
    cached: bool

    @property
    def valid_bytes(self) -> int:
        """UTF-8 bytes of the validation stories, for bits per byte."""
        return self.valid_counts.bytes


def write_meta(folder: Path, report: CorpusReport, train: SplitCounts, valid: SplitCounts, fingerprint: Fingerprint) -> None:
    """Write what :func:`read_encoded` needs beside the streams and the tokenizer."""
    counts = {"train": train.to_json(), "valid": valid.to_json()}
    write_json(folder / "corpus.json", {"report": report.to_json(), "counts": counts, "fingerprint": fingerprint.to_json()})


def read_encoded(folder: Path, names: Sequence[str], *, cached: bool) -> EncodedCorpus | None:
    """The corpus in a folder of the cache, its sources called ``names`` (they may have moved since); None if it is missing or damaged."""
    try:
        meta = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        counts = {split: SplitCounts(**meta["counts"][split]) for split in ("train", "valid")}
        if any((folder / f"{split}.bin").stat().st_size != 2 * (count.tokens + 1) for split, count in counts.items()):
            return None
        report = CorpusReport.from_json(meta["report"])
        for source, name in zip(report.sources, names, strict=True):
            source.name = name
        return EncodedCorpus(
            train=open_stream(folder / "train.bin"),
            valid=open_stream(folder / "valid.bin"),
            tokenizer=Tokenizer.from_file(folder / "tokenizer.json"),
            report=report,
            key=folder.name,
            train_counts=counts["train"],
            valid_counts=counts["valid"],
            fingerprint=Fingerprint.from_json(meta["fingerprint"]),
            cached=cached,
        )
    except (OSError, ValueError, KeyError, TypeError, DataInvalid):
        return None


@contextmanager
def building_folder(root: Path) -> Iterator[Path]:
    """A fresh folder in ``root`` for building a corpus, gone at the end; those that a killed process left a day ago or earlier go, too."""
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(f"{_BUILDING}*"):
        with suppress(OSError):
            touched = max(path.stat().st_mtime for path in (left, *left.iterdir()))
            if time.time() - touched > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=_BUILDING, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def publish(built: Path, folder: Path, names: Sequence[str]) -> EncodedCorpus:
    """Give a built corpus its place by one rename. Another process's, if that was quicker, is used instead; a damaged one is replaced."""
    while True:
        try:
            built.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            if (other := read_encoded(folder, names, cached=True)) is not None:
                return other
            with suppress(FileNotFoundError):
                folder.rename(Path(tempfile.mkdtemp(dir=built.parent)) / "damaged")
            continue
        if (ours := read_encoded(folder, names, cached=False)) is None:
            raise DataInvalid(f"{folder}: the cache was damaged or removed while it was written", "Try again.")
        return ours
