"""Reading: stories out of their sources, cleaned, told apart, split, counted, and put by in spools."""

from __future__ import annotations

from collections.abc import Callable

from storyteller.training import report as why
from storyteller.training.cleaning import StoryKeys, compose, is_cut_off, is_damaged, mend_mojibake, story_keys
from storyteller.training.keyset import KeySet
from storyteller.training.report import SourceReport
from storyteller.training.sources import OpenedSource
from storyteller.training.spool import StorySpool

Progress = Callable[[str, int], None]
"""Called now and then with what is being done and the number of stories so far."""

_EVERY = 1000
_HEAD, _VALID_WHOLE, _VALID_HEAD = 0x5851F42D4C957F2D, 0x14057B7EF767814F, 0x2545F4914F6CDD1D


class SeenStories:
    """The keys of the stories met so far. Four kinds of keys share one table, each kind told apart by a constant."""

    def __init__(self) -> None:
        self._keys = KeySet()

    def reason_to_drop(self, keys: StoryKeys) -> str | None:
        """Why a training story with these keys is not wanted, None if it is new."""
        if keys.whole in self._keys:
            return why.DUPLICATE
        if keys.head ^ _HEAD in self._keys:
            return why.NEAR_DUPLICATE
        if keys.whole ^ _VALID_WHOLE in self._keys or keys.head ^ _VALID_HEAD in self._keys:
            return why.IN_VALIDATION
        return None

    def add(self, keys: StoryKeys) -> None:
        """Remember a story."""
        self._keys.add(keys.whole)
        self._keys.add(keys.head ^ _HEAD)

    def add_valid(self, keys: StoryKeys) -> None:
        """Remember a story that was given for validation."""
        self._keys.add(keys.whole ^ _VALID_WHOLE)
        self._keys.add(keys.head ^ _VALID_HEAD)


def read_valid(source: OpenedSource, number: int, report: SourceReport, spool: StorySpool, seen: SeenStories, progress: Progress) -> None:
    """Put the stories of validation source ``number`` by as they stand there; their keys will keep equal ones out of the training text."""
    for text in source.texts():
        keys = story_keys(compose(mend_mojibake(text)))
        seen.add_valid(keys)
        spool.add(text, keys.whole, number)
        report.read += 1
        report.valid += 1
        if report.read % _EVERY == 0:
            progress(f"reading {report.name}", report.read)


def read_train(
    source: OpenedSource,
    number: int,
    report: SourceReport,
    train: StorySpool,
    valid: StorySpool,
    seen: SeenStories,
    valid_share: float,
    progress: Progress,
) -> None:
    """Clean the stories of training source ``number``, drop what must not be trained on, put the others each on its side of the split."""
    border = int(valid_share * 2.0**64)
    for original in source.texts():
        report.read += 1
        if report.read % _EVERY == 0:
            progress(f"reading {report.name}", report.read)
        mended = mend_mojibake(original)
        text = compose(mended)
        keys = story_keys(text)
        reason = _unfit(text, keep_cut_off=source.source.keep_cut_off) or seen.reason_to_drop(keys)
        if reason is not None:
            report.drop(reason)
            continue
        seen.add(keys)
        report.mended += mended != original
        if keys.head < border:
            valid.add(text, keys.whole, number)
            report.valid += 1
        else:
            train.add(text, keys.whole, number)
            report.train += 1


def _unfit(text: str, *, keep_cut_off: bool) -> str | None:
    if is_damaged(text):
        return why.DAMAGED
    if not keep_cut_off and is_cut_off(text):
        return why.CUT_OFF
    return None
