"""A corpus: sources → clean, distinct stories → training and validation split → ids in memory-mapped files, kept in a cache by content.

The order of the training stories is that of a hash of their content: a fair shuffle that is the same every time, in which repeats of
a story lie far apart. The split goes by a hash of the first letters (:class:`~storyteller.training.cleaning.StoryKeys`): a story's side never
depends on what else is in the corpus, and near-duplicates are always on the same side.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import ConfigInvalid, CorpusEmpty
from storyteller.training import report as why
from storyteller.training.atomic import write_json
from storyteller.training.cleaning import clean, is_cut_off, is_damaged, mixed, story_keys
from storyteller.training.encoding import MAX_VOCAB, SplitCounts, open_stream, write_stream
from storyteller.training.filehash import FileHashes
from storyteller.training.fingerprint import Fingerprint
from storyteller.training.keyset import KeySet
from storyteller.training.report import CorpusReport, SourceReport
from storyteller.training.sources import OpenedSource, Source, open_source
from storyteller.training.spool import StorySpool

__all__ = ["CorpusReport", "EncodedCorpus", "Fingerprint", "Source", "prepare"]

FORMAT = 1
TOKENIZER_BYTES = 50_000_000
"""How much training text the tokenizer learns from, at most."""

Progress = Callable[[str, int], None]
"""Called now and then with what is being done ("reading", "tokenizing", "encoding") and the number of stories so far."""

_HEAD_SALT = 0x5851F42D4C957F2D
_VALIDATION_SALT = 0x14057B7EF767814F


@dataclass(frozen=True, slots=True, eq=False)
class EncodedCorpus:
    """A corpus ready for training.

    ``train``, ``valid``: read-only uint16 memory maps, ``END story END story … END``; ``key``: the hash of contents and options that it is cached under;
    ``cached``: whether it was there already.
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


def prepare(
    train: Sequence[Source],
    valid: Sequence[Source] | None = None,
    *,
    vocab_size: int = 4000,
    tokenizer: Tokenizer | None = None,
    cache_dir: Path,
    valid_share: float = 0.01,
    progress: Progress | None = None,
) -> EncodedCorpus:
    """Read, clean, split and encode; or find all that in the cache, under a key of contents and options.

    Training stories are cleaned, and dropped if damaged, cut off, or a duplicate; :attr:`EncodedCorpus.report` counts them.
    ``valid``: validation stories from these sources, as they stand there, and training stories equal to one of them are dropped;
    None: ``valid_share`` of the stories, chosen by content. Without a ``tokenizer`` one with ``vocab_size`` entries is trained on the training stories.

    Memory: under 100 bytes a story, and some megabytes. Nothing half-written is ever left in the cache, and processes may prepare the same
    corpus at once. Raises :class:`ConfigInvalid`, :class:`DataInvalid`, :class:`CorpusEmpty`, :class:`DownloadFailed`.
    """
    _check(train, valid, vocab_size, tokenizer, valid_share)
    root = cache_dir / "corpus"
    hashes = FileHashes(root)
    opened = [open_source(source, hashes) for source in train]
    opened_valid = None if valid is None else [open_source(source, hashes) for source in valid]
    key = _key(opened, opened_valid, vocab_size, tokenizer, valid_share)
    folder = root / key
    names = [source.name for source in (*train, *(valid or ()))]
    if (found := _read(folder, key, names, cached=True)) is not None:
        return found
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".building-", ignore_cleanup_errors=True) as building:
        _build(Path(building), opened, opened_valid, vocab_size, tokenizer, valid_share, progress or _silent)
        built = Path(building) / "corpus"
        if _read(folder, key, names, cached=True) is None:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            built.rename(folder)
        except OSError:
            # Another process was quicker: what it wrote is the same.
            if not folder.is_dir():
                raise
    encoded = _read(folder, key, names, cached=False)
    if encoded is None:
        raise CorpusEmpty(f"{folder}: the cache was removed while it was written", "Try again.")
    return encoded


def _silent(what: str, stories: int) -> None:
    """No progress is shown."""


def _check(
    train: Sequence[Source], valid: Sequence[Source] | None, vocab_size: int, tokenizer: Tokenizer | None, valid_share: float
) -> None:
    if not train:
        raise ConfigInvalid("no source to train on", "storyteller train --dataset sample")
    if valid is not None and not valid:
        raise ConfigInvalid("no source to measure on: leave it out to hold out a share of the training stories")
    if tokenizer is not None and tokenizer.vocab_size > MAX_VOCAB:
        raise ConfigInvalid(f"the tokenizer has {tokenizer.vocab_size:,} entries: at most {MAX_VOCAB:,} are possible")
    if tokenizer is None and not 257 <= vocab_size <= MAX_VOCAB:
        raise ConfigInvalid(f"vocab_size must be 257 to {MAX_VOCAB}, not {vocab_size}")
    if valid is None and not 0 < valid_share < 1:
        raise ConfigInvalid(f"valid_share must be between 0 and 1, not {valid_share}")


def _key(
    train: list[OpenedSource], valid: list[OpenedSource] | None, vocab_size: int, tokenizer: Tokenizer | None, valid_share: float
) -> str:
    parts = {
        "format": FORMAT,
        "train": [source.signature() for source in train],
        "valid": valid_share if valid is None else [source.signature() for source in valid],
        "tokenizer": vocab_size if tokenizer is None else hashlib.sha256(tokenizer.to_str().encode()).hexdigest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _read(folder: Path, key: str, names: list[str], *, cached: bool) -> EncodedCorpus | None:
    """The corpus in a folder of the cache; None if there is none, or it is damaged."""
    try:
        meta: dict[str, Any] = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        counts = {split: SplitCounts(**meta["counts"][split]) for split in ("train", "valid")}
        if any((folder / f"{split}.bin").stat().st_size != 2 * (count.tokens + 1) for split, count in counts.items()):
            return None
        report = CorpusReport.from_json(meta["report"])
        tokenizer = Tokenizer.from_file(folder / "tokenizer.json")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for source, name in zip(report.sources, names, strict=True):
        source.name = name  # the files may have moved since
    return EncodedCorpus(
        train=open_stream(folder / "train.bin"),
        valid=open_stream(folder / "valid.bin"),
        tokenizer=tokenizer,
        report=report,
        key=key,
        train_counts=counts["train"],
        valid_counts=counts["valid"],
        fingerprint=Fingerprint.from_json(meta["fingerprint"]),
        cached=cached,
    )


def _build(
    building: Path,
    train: list[OpenedSource],
    valid: list[OpenedSource] | None,
    vocab_size: int,
    tokenizer: Tokenizer | None,
    valid_share: float,
    progress: Progress,
) -> None:
    """Write ``building/corpus``: train.bin, valid.bin, tokenizer.json, corpus.json."""
    reports = [SourceReport(source.source.name) for source in (*train, *(valid or ()))]
    with ExitStack() as stack:
        train_spool = stack.enter_context(StorySpool(building / "train.text"))
        valid_spool = stack.enter_context(StorySpool(building / "valid.text"))
        seen = KeySet()
        if valid is not None:
            for number, source in enumerate(valid, len(train)):
                _read_valid(source, number, reports[number], valid_spool, seen, progress)
        for number, source in enumerate(train):
            share = valid_share if valid is None else 0.0
            _read_train(source, number, reports[number], train_spool, valid_spool, seen, share, progress)
        del seen
        keys = train_spool.keys
        order, held_out = _order(train_spool, [source.source.weight for source in train], reports, hold_out=not len(valid_spool))
        if held_out is not None:
            (raw,) = train_spool.read([held_out])
            valid_spool.add(raw.decode(), int(keys[held_out]), 0)
            keys = np.delete(keys, held_out)
        report = CorpusReport(tuple(reports), tuple(note for source in (*train, *(valid or ())) for note in source.notes()))
        if not len(order) or not len(valid_spool):
            raise CorpusEmpty(_nothing_left(report), "Look at what was dropped; storyteller train --dataset sample works everywhere.")
        corpus = building / "corpus"
        corpus.mkdir()
        if tokenizer is None:
            progress("tokenizing", 0)
            tokenizer = Tokenizer.train(_sample(train_spool, order), vocab_size)
        (corpus / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        counts = {
            "train": write_stream(corpus / "train.bin", _told(train_spool.read(order), progress), tokenizer),
            "valid": write_stream(corpus / "valid.bin", valid_spool.read(range(len(valid_spool))), tokenizer),
        }
    files = {name: digest for source in train for name, digest in source.sha256}
    meta = {
        "report": report.to_json(),
        "counts": {split: count.to_json() for split, count in counts.items()},
        "fingerprint": Fingerprint.of_keys(keys, files).to_json(),
    }
    write_json(corpus / "corpus.json", meta)


def _read_valid(source: OpenedSource, number: int, report: SourceReport, spool: StorySpool, seen: KeySet, progress: Progress) -> None:
    """Put validation stories by as they stand; their keys keep equal stories out of the training text."""
    for text in source.texts():
        keys = story_keys(clean(text))
        seen.add(keys.whole ^ _VALIDATION_SALT)
        seen.add(keys.head ^ _VALIDATION_SALT ^ _HEAD_SALT)
        spool.add(text, keys.whole, number)
        report.read += 1
        report.valid += 1
        if report.read % 1000 == 0:
            progress("reading", report.read)


def _read_train(
    source: OpenedSource,
    number: int,
    report: SourceReport,
    train: StorySpool,
    valid: StorySpool,
    seen: KeySet,
    valid_share: float,
    progress: Progress,
) -> None:
    """Clean the stories of a source, drop what must not be trained on, and put each of the others on its side of the split."""
    border = int(valid_share * 2**64)
    for original in source.texts():
        report.read += 1
        if report.read % 1000 == 0:
            progress("reading", report.read)
        text = clean(original)
        if not text:
            report.drop(why.EMPTY)
            continue
        if is_damaged(text):
            report.drop(why.DAMAGED)
            continue
        if not source.source.keep_cut_off and is_cut_off(text):
            report.drop(why.CUT_OFF)
            continue
        keys = story_keys(text)
        whole, head = keys.whole, keys.head ^ _HEAD_SALT
        if whole in seen:
            report.drop(why.DUPLICATE)
        elif head in seen:
            report.drop(why.NEAR_DUPLICATE)
        elif whole ^ _VALIDATION_SALT in seen or head ^ _VALIDATION_SALT in seen:
            report.drop(why.IN_VALIDATION)
        else:
            seen.add(whole)
            seen.add(head)
            if keys.head < border:
                valid.add(text, keys.whole, number)
                report.valid += 1
            else:
                train.add(text, keys.whole, number)
                report.train += 1


def _order(spool: StorySpool, weights: list[float], reports: list[SourceReport], *, hold_out: bool) -> tuple[NDArray[np.int64], int | None]:
    """The places of the training stories, repeats included, in the order of training, and that of the one story to hold out for validation, if any.

    Weight w tells a story ⌊w⌋ times, and once more if a hash of it falls below the rest of w.
    """
    keys, sources = spool.keys, spool.sources
    weight = np.array(weights)[sources]
    chance = mixed(keys, 1) / 2.0**64
    copies = (np.floor(weight) + (chance < weight % 1)).astype(np.int64)
    held_out = int(np.argmin(keys)) if hold_out and len(keys) > 1 else None
    if held_out is not None:
        copies[held_out] = 0
        reports[sources[held_out]].valid += 1
        reports[sources[held_out]].train -= 1
    for number in range(len(weights)):
        mine = copies[sources == number]
        left_out = reports[number].train - int(np.count_nonzero(mine))
        reports[number].train -= left_out
        reports[number].repeats = int(mine.sum()) - reports[number].train
        if left_out:
            reports[number].drop(why.LEFT_OUT, left_out)
    places = np.repeat(np.arange(len(keys)), copies)
    firsts = np.repeat(np.cumsum(copies) - copies, copies)
    nth_copy = (np.arange(len(places)) - firsts).astype(np.uint64)
    return places[np.argsort(mixed(keys[places] ^ mixed(nth_copy, 2), 3), kind="stable")], held_out


def _sample(spool: StorySpool, order: NDArray[np.int64]) -> Iterator[str]:
    """The first stories in the order of training, which is that of a hash and so a fair sample."""
    size = 0
    for raw in spool.read(order):
        size += len(raw)
        yield raw.decode("utf-8")
        if size >= TOKENIZER_BYTES:
            return


def _told(stories: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for number, story in enumerate(stories):
        if number % 1000 == 0:
            progress("encoding", number)
        yield story


def _nothing_left(report: CorpusReport) -> str:
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in report.dropped.items()) or "none"
    return (
        f"too few stories are left: {report.read:,} read, {report.train:,} to train on, {report.valid:,} to measure on; dropped: {dropped}"
    )
