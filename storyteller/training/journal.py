"""``train.jsonl``: one line an evaluation, with the samples told after it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from storyteller.checkpoint.files import replace_text
from storyteller.training.events import Evaluated, Sampled, TrainEvent

JOURNAL = "train.jsonl"


class Journal:
    """A reader of the stream of events that keeps what a curve or a gallery needs.

    A line is written when the next one begins, or at :meth:`close`: an evaluation's samples come after it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        self.line: dict[str, Any] | None = None

    def begin(self, iteration: int) -> None:
        """Keep the lines up to ``iteration`` only: a resumed training writes the later ones again."""
        kept = [line for line in read_journal(self.path) if line["iteration"] <= iteration and not line["final"]]
        replace_text(self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))

    def take(self, event: TrainEvent) -> None:
        """Note ``event``, if it is of a kind that is kept."""
        if isinstance(event, Evaluated):
            self.close()
            self.line = asdict(event)
        elif isinstance(event, Sampled) and self.line is not None:
            self.line["samples"] = [{"prompt": prompt, "text": text} for prompt, text in event.samples]

    def close(self) -> None:
        """Write the line that is still open."""
        if self.line is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.line, ensure_ascii=False) + "\n")
            self.line = None


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; one that a crash cut off is left out, and no file is no lines."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines
