"""What became of the stories that were read: kept, dropped and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

DAMAGED = "damaged characters"
CUT_OFF = "cut off"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near-duplicate"
IN_VALIDATION = "in the validation data"
LEFT_OUT = "left out by weight"
REASONS = (DAMAGED, CUT_OFF, DUPLICATE, NEAR_DUPLICATE, IN_VALIDATION, LEFT_OUT)


@dataclass(slots=True)
class SourceReport:
    """The account of one source: ``read = train + valid + Σ dropped``; ``repeats`` are further copies of training stories, by weight."""

    name: str
    read: int = 0
    train: int = 0
    valid: int = 0
    repeats: int = 0
    mended: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count a story that is not kept, by one of :data:`REASONS`."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """The account of a corpus, source by source, those of training first. ``notes`` are sentences for a person."""

    sources: tuple[SourceReport, ...]
    notes: tuple[str, ...] = ()

    @property
    def read(self) -> int:
        """Stories read."""
        return sum(source.read for source in self.sources)

    @property
    def train(self) -> int:
        """Different stories to train on."""
        return sum(source.train for source in self.sources)

    @property
    def valid(self) -> int:
        """Stories to measure on."""
        return sum(source.valid for source in self.sources)

    @property
    def dropped(self) -> dict[str, int]:
        """Stories not kept, by reason."""
        counts = {reason: sum(source.dropped.get(reason, 0) for source in self.sources) for reason in REASONS}
        return {reason: count for reason, count in counts.items() if count}

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; :meth:`from_json` reads it."""
        return {"sources": [asdict(source) for source in self.sources], "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> CorpusReport:
        """A report from the values that :meth:`to_json` gave."""
        return cls(tuple(SourceReport(**source) for source in value["sources"]), tuple(value["notes"]))

    def __str__(self) -> str:
        """The report for a person, some lines long."""
        lines = [_sentence(source) for source in self.sources]
        if len(self.sources) > 1:
            lines.append(f"In all: {self.read:,} read, {self.train:,} to train on, {self.valid:,} to measure on.")
        return "\n".join([*lines, *self.notes])


def _sentence(source: SourceReport) -> str:
    parts = [f"{source.read:,} read"]
    if source.train:
        parts.append(f"{source.train:,} to train on" + (f" (and {source.repeats:,} repeats)" if source.repeats else ""))
    if source.valid:
        parts.append(f"{source.valid:,} to measure on")
    if source.mended:
        parts.append(f"{source.mended:,} mended")
    if source.dropped:
        parts.append("dropped: " + ", ".join(f"{count:,} {reason}" for reason, count in source.dropped.items()))
    return f"{source.name}: {'; '.join(parts)}."
