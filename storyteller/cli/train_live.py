"""A training, live on a terminal: where it is, how fast, the curve of its loss, and what it says by now."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import pairwise
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from storyteller.controls import shown
from storyteller.training.events import Evaluated, Finished, Iterated, Noted, Planned, Sampled, TrainEvent
from storyteller.training.lines import duration, evaluation_line, finish_line, plan_lines

CURVE_HEIGHT = 8
MOST_POINTS = 4096
BLOCKS = " ▁▂▃▄▅▆▇█"


class LiveDisplay:
    """Redraws a few times a second; the plan, notes and the end stay on the screen as plain lines."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        self.losses: list[float] = []
        self.stride = 1
        self.pending: list[float] = []
        self.last: Iterated | None = None
        self.scored: Evaluated | None = None
        self.best: Evaluated | None = None
        self.sample: tuple[str, str] | None = None
        self.status = ""
        # Last, for it asks for the picture at once.
        self.live = Live(console=self.console, refresh_per_second=4, transient=True, get_renderable=self.picture)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.live.stop()

    def preparing(self, what: str, stories: int) -> None:
        """Show how far the preparation of the corpus is."""
        self.status = f"{what}: {stories:,} stories" if stories else what

    def show(self, event: TrainEvent) -> None:
        """Take in an event."""
        match event:
            case Planned():
                self.status = ""
                self._say(plan_lines(event))
            case Noted():
                self._say([event.message])
            case Iterated():
                self.last = event
                self._add(event.loss)
            case Evaluated():
                self.scored = event
                if event.best:
                    self.best = event
                if event.final:
                    self._say([evaluation_line(event)])
            case Sampled():
                self.sample = event.samples[(event.iteration // max(1, len(event.samples))) % len(event.samples)]
            case Finished():
                self._say([finish_line(event)])
            case _:
                pass

    def _say(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.console.print(Text(shown(line)))

    def _add(self, loss: float) -> None:
        """Keep a bounded number of points: when there are too many, each stands for twice as many iterations."""
        self.pending.append(loss)
        if len(self.pending) >= self.stride:
            self.losses.append(sum(self.pending) / len(self.pending))
            self.pending.clear()
        if len(self.losses) >= MOST_POINTS:
            self.losses = [(a + b) / 2 for a, b in zip(self.losses[::2], self.losses[1::2], strict=True)]
            self.stride *= 2

    def picture(self) -> Group:
        """What is on the screen now."""
        if self.last is None:
            return Group(Text(self.status or "…", style="dim"))
        parts: list[Text | Table | Panel] = [self._where(self.last), self._figures(self.last)]
        curve = loss_curve(self.losses, min(self.console.width - 12, 100), CURVE_HEIGHT)
        if curve:
            parts.append(Panel(Text("\n".join(curve), no_wrap=True), title="loss, nats per token", border_style="dim"))
        if self.sample is not None:
            prompt, told = (shown(text) for text in self.sample)
            parts.append(Panel(Text.assemble((prompt, "bold"), told), title="the model, by now", border_style="dim"))
        return Group(*parts)

    def _where(self, last: Iterated) -> Table:
        grid = Table.grid(padding=(0, 2))
        if last.total is None:
            grid.add_row(Text(f"iteration {last.iteration:,}"), Text(duration(last.seconds)))
            return grid
        each = last.tokens / last.iteration / max(last.tokens_per_second, 1e-9)
        left = duration((last.total - last.iteration) * each)
        bar = ProgressBar(total=last.total, completed=last.iteration, width=30)
        grid.add_row(Text(f"iteration {last.iteration:,}/{last.total:,}"), bar, Text(f"{duration(last.seconds)}, {left} left"))
        return grid

    def _figures(self, last: Iterated) -> Table:
        grid = Table.grid(padding=(0, 3))
        grid.add_row(
            f"loss {last.loss:.4f}",
            f"epoch {last.epoch:.2f}",
            f"{last.tokens_per_second:,.0f} tokens/s",
            f"gradient norm {last.grad_norm:.2f}",
            f"learning rate {last.learning_rate:.2e}",
        )
        if self.scored is not None and self.scored.nats_per_token is not None and self.scored.bits_per_byte is not None:
            best = "" if self.best is None or self.best.nats_per_token is None else f"best {self.best.nats_per_token:.4f}"
            grid.add_row(
                f"held out {self.scored.nats_per_token:.4f}",
                best,
                f"{self.scored.bits_per_byte:.4f} bits per byte",
                f"perplexity {self.scored.perplexity:.2f}",
                f"at iteration {self.scored.iteration:,}",
            )
        return grid


def loss_curve(losses: Sequence[float], width: int, height: int) -> list[str]:
    """A curve of block characters, ``height`` lines of at most ``width`` columns and a scale; empty without two points.

    A column stands for the mean of its share of the iterations, and the scale is logarithmic, for losses fall fast at first.
    """
    if len(losses) < 2 or width < 2 or height < 1:
        return []
    columns = min(width, len(losses))
    edges = [len(losses) * place // columns for place in range(columns + 1)]
    points = [math.log(max(sum(losses[a:b]) / (b - a), 1e-9)) for a, b in pairwise(edges)]
    low, high = min(points), max(points)
    steps = len(BLOCKS) - 1
    filled = [1 + round((point - low) / max(high - low, 1e-9) * (height * steps - 1)) for point in points]
    lines = []
    for row in range(height - 1, -1, -1):
        bar = "".join(BLOCKS[min(steps, max(0, level - row * steps))] for level in filled)
        scale = math.exp(high) if row == height - 1 else math.exp(low) if row == 0 else None
        lines.append(f"{scale:7.3f} {bar}" if scale is not None else f"{'':7} {bar}")
    return lines
