"""A corpus: sources → clean, distinct stories → training and validation split → ids in memory-mapped files, cached by content.

The order of the training stories is that of a hash of their content: a fair shuffle that is the same every time, in which repeats of
a story lie far apart. The split goes by a hash of a story's first letters (:class:`~storyteller.training.cleaning.StoryKeys`): its side
never depends on what else is in the corpus, and near-duplicates are always on the same side.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import ConfigInvalid, CorpusEmpty, StorytellerError
from storyteller.training import report as why
from storyteller.training.encoded import EncodedCorpus, building_folder, publish, read_encoded, write_meta
from storyteller.training.encoding import MAX_VOCAB, write_stream
from storyteller.training.filehash import FileHashes
from storyteller.training.fingerprint import Fingerprint
from storyteller.training.intake import Progress, SeenStories, read_train, read_valid
from storyteller.training.mixture import copies_by_weight, order_by_key
from storyteller.training.report import CorpusReport, SourceReport
from storyteller.training.sources import OpenedSource, Source, open_source
from storyteller.training.spool import StorySpool

__all__ = ["CorpusReport", "EncodedCorpus", "Fingerprint", "Progress", "Source", "prepare"]

FORMAT = 1
"""Raised when the same sources and options would give other files, so that those in the cache are not used."""

TOKENIZER_BYTES = 50_000_000
"""How much training text the tokenizer learns from, at most."""


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
    """Read, clean, split and encode stories; or find all that in ``cache_dir``, under a key of contents and options.

    Training stories are cleaned, and dropped if they are damaged, cut off or duplicates; the report counts them. ``valid``: stories to
    measure on, kept as they stand, while training stories equal to one of them are dropped; None holds out ``valid_share`` of the
    stories, chosen by content (one at the least). Without a ``tokenizer``, one of ``vocab_size`` entries learns from the training stories.

    Memory: under 100 bytes a story, and some megabytes. Nothing half-written is left behind, and several processes may prepare the same
    corpus at once. ``progress`` hears what is being done. Raises :class:`ConfigInvalid`, :class:`~storyteller.errors.DataInvalid`,
    :class:`CorpusEmpty`, :class:`~storyteller.errors.DownloadFailed`, and :class:`StorytellerError` for a cache that cannot be written.
    """
    _check(train, valid, vocab_size, tokenizer, valid_share)
    root = cache_dir / "corpus"
    try:
        plan = _Plan(train, valid, vocab_size, tokenizer, valid_share, FileHashes(root))
        if (found := read_encoded(root / plan.key(), plan.names, cached=True)) is not None:
            return found
        plan.forget_revisions_of_cached_copies()
        with building_folder(root) as building:
            _build(building, plan, progress or _silent)
            return publish(building / "corpus", root / plan.key(), plan.names)
    except OSError as error:
        raise StorytellerError(
            f"could not write the encoded corpus to {root}: {error.strerror or error}",
            "Make room there, or set STORYTELLER_CACHE_DIR to another folder.",
        ) from error


class _Plan:
    """What is to be prepared: the opened sources and the options, and with them the key."""

    def __init__(
        self,
        train: Sequence[Source],
        valid: Sequence[Source] | None,
        vocab_size: int,
        tokenizer: Tokenizer | None,
        valid_share: float,
        hashes: FileHashes,
    ) -> None:
        self.train = [open_source(source, hashes) for source in train]
        self.valid = [open_source(source, hashes) for source in valid or ()]
        self.names = [source.name for source in (*train, *(valid or ()))]
        self.valid_share = 0.0 if valid else valid_share
        self.vocab_size = vocab_size
        self.tokenizer = tokenizer

    @property
    def sources(self) -> list[OpenedSource]:
        """All sources, those of training first."""
        return [*self.train, *self.valid]

    def key(self) -> str:
        """A hash of all that decides what the encoded corpus holds: contents and options, no paths, no times."""
        parts = {
            "format": FORMAT,
            "train": [source.signature() for source in self.train],
            "valid": [source.signature() for source in self.valid] or self.valid_share,
            "tokenizer": self.vocab_size if self.tokenizer is None else hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def forget_revisions_of_cached_copies(self) -> None:
        """Without the Hub, ``datasets`` gives the copy that it has, of whatever revision: not to be cached under the key of another."""
        self.train, self.valid = (
            [
                replace(source, revision=replace(source.revision, commit="")) if source.revision and not source.revision.online else source
                for source in sources
            ]
            for sources in (self.train, self.valid)
        )


def _silent(what: str, stories: int) -> None:
    """Show no progress."""


def _check(
    train: Sequence[Source], valid: Sequence[Source] | None, vocab_size: int, tokenizer: Tokenizer | None, valid_share: float
) -> None:
    if not train:
        raise ConfigInvalid("there is no source to train on", "storyteller train --dataset sample")
    if valid is not None and not valid:
        raise ConfigInvalid("there is no source to measure on", "Leave it out to hold a share of the training stories out.")
    if tokenizer is not None and tokenizer.vocab_size > MAX_VOCAB:
        raise ConfigInvalid(f"the tokenizer has {tokenizer.vocab_size:,} entries; at most {MAX_VOCAB:,} are possible")
    if tokenizer is None and not 257 <= vocab_size <= MAX_VOCAB:
        raise ConfigInvalid(f"vocab_size must be 257 to {MAX_VOCAB}, not {vocab_size}")
    if valid is None and not 0 < valid_share < 1:
        raise ConfigInvalid(f"valid_share must be above 0 and below 1, not {valid_share}")


def _build(building: Path, plan: _Plan, progress: Progress) -> None:
    """Write ``building/corpus``: train.bin, valid.bin, tokenizer.json, corpus.json."""
    with ExitStack() as stack:
        train_spool = stack.enter_context(StorySpool(building / "train.text"))
        valid_spool = stack.enter_context(StorySpool(building / "valid.text"))
        reports = _read(plan, train_spool, valid_spool, progress)
        copies = _copies(plan, train_spool, valid_spool, reports)
        report = CorpusReport(tuple(reports), tuple(note for source in plan.sources for note in source.notes()))
        if not report.train or not report.valid:
            raise _too_few(report)
        order = order_by_key(train_spool.keys, copies)

        corpus = building / "corpus"
        corpus.mkdir()
        tokenizer = plan.tokenizer
        if tokenizer is None:
            progress("learning the vocabulary", report.train)
            tokenizer = Tokenizer.train(_sample(train_spool, order), plan.vocab_size)
        (corpus / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        train_counts = write_stream(corpus / "train.bin", _told(train_spool.read(order), progress), tokenizer)
        valid_counts = write_stream(corpus / "valid.bin", valid_spool.read(range(len(valid_spool))), tokenizer)
        files = {file.sha256: file.path.name for source in plan.train for file in source.files}
        write_meta(corpus, report, train_counts, valid_counts, Fingerprint.of_keys(train_spool.keys[copies > 0], files))


def _read(plan: _Plan, train_spool: StorySpool, valid_spool: StorySpool, progress: Progress) -> list[SourceReport]:
    """Read all sources into the spools: validation first, so that its stories are known when those of training come."""
    reports = [SourceReport(name) for name in plan.names]
    seen = SeenStories()
    for number, source in enumerate(plan.valid, len(plan.train)):
        read_valid(source, number, reports[number], valid_spool, seen, progress)
    for number, source in enumerate(plan.train):
        read_train(source, number, reports[number], train_spool, valid_spool, seen, plan.valid_share, progress)
    return reports


def _copies(plan: _Plan, train_spool: StorySpool, valid_spool: StorySpool, reports: list[SourceReport]) -> NDArray[np.uint16]:
    """How often each story of the training spool is told, entered into the reports.

    If the split held nothing out, as may happen in a small corpus, one story is moved to validation: that with the smallest key.
    """
    keys, sources = train_spool.keys, train_spool.sources
    copies = copies_by_weight(keys, np.array([source.source.weight for source in plan.train])[sources])
    if plan.valid_share and not len(valid_spool) and len(keys) > 1:
        held_out = int(np.argmin(keys))
        (raw,) = train_spool.read([held_out])
        valid_spool.add(raw.decode("utf-8"), int(keys[held_out]), int(sources[held_out]))
        copies[held_out] = 1  # neither left out nor repeated, in the account below
    else:
        held_out = None
    for number in range(len(plan.train)):
        mine = copies[sources == number]
        told = int(np.count_nonzero(mine))
        if told < len(mine):
            reports[number].drop(why.LEFT_OUT, len(mine) - told)
        reports[number].train = told
        reports[number].repeats = int(mine.sum()) - told
    if held_out is not None:
        copies[held_out] = 0
        reports[sources[held_out]].train -= 1
        reports[sources[held_out]].valid += 1
    return copies


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


def _too_few(report: CorpusReport) -> CorpusEmpty:
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in report.dropped.items()) or "none"
    kept = f"{report.train:,} to train on, {report.valid:,} to measure on"
    return CorpusEmpty(
        f"too few stories are left: {report.read:,} read, {kept} (dropped: {dropped})",
        "Give more text, keep stories without end punctuation with --keep-cut-off, or try storyteller train --dataset sample.",
    )
