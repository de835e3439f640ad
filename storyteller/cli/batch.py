"""Telling stories from a whole file of prompts: in order, a few at a time, and on from where it was interrupted."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from storyteller.cli.output import is_terminal
from storyteller.engine.generate import SEEDS, stream_batch
from storyteller.engine.params import SamplingParams
from storyteller.errors import DataInvalid, UsageInvalid
from storyteller.recipe import Recipe

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel

SCHEMA_VERSION = 1
HIGHEST_RANDOM_SEED = 10**9
SIDE_BY_SIDE = 16
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Shard:
    """The part ``number`` (from 1) of ``of``: every ``of``-th prompt."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``; raises :class:`UsageInvalid` for what is no part of a whole."""
        first, _, second = text.partition("/")
        if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise UsageInvalid(f"--shard must be i/n with i from 1 to n, such as 2/8, not {text!r}")
        return cls(int(first), int(second))

    def has(self, index: int) -> bool:
        """Whether the prompt with this index, from 0, belongs to the part."""
        return index % self.of == self.number - 1


@dataclass(frozen=True, slots=True)
class Task:
    """One story that is to be told: of which line, counted from 0, and the how-manieth of it; ``own_seed`` is that of the line, if any."""

    index: int
    sample: int
    prompt: str
    own_seed: int | None

    def seed(self, first: int, samples: int) -> int:
        """The story's seed, which depends neither on parts nor on interruptions."""
        counted = first + self.index * samples if self.own_seed is None else self.own_seed
        return (counted + self.sample) % SEEDS


@dataclass(frozen=True, slots=True)
class Batch:
    """Who tells, and how; ``first_seed`` None takes a random one, or, going on, that of the file."""

    model: LoadedModel
    params: SamplingParams
    post_process: bool
    samples: int
    first_seed: int | None

    def run(self, prompts: str, out: Path | None, shard: Shard, *, quiet: bool) -> None:
        """Tell a story for every task in the file ``prompts``; a line of JSON each to ``out``, behind those that are there, or to stdout.

        Memory does not grow with either file. Raises :class:`DataInvalid` naming a line that cannot be read, and :class:`UsageInvalid`
        if ``out`` holds stories of another telling.
        """
        with _opened(prompts) as source:
            tasks = _tasks(source, prompts, shard, self.samples)
            if out is None:
                self._tell(tasks, sys.stdout, secrets.randbelow(HIGHEST_RANDOM_SEED) if self.first_seed is None else self.first_seed, quiet)
                return
            done, last = _whole_lines(out)
            first = self._go_on(out, next(islice(tasks, done - 1, done), None) if done else None, last)
            with out.open("a", encoding="utf-8") as target:
                self._tell(tasks, target, first, quiet)

    def _go_on(self, out: Path, before: Task | None, last: dict[str, Any] | None) -> int:
        """The first seed, after a look at whether the last line in ``out`` is what this telling would have written there."""
        if last is None:
            return secrets.randbelow(HIGHEST_RANDOM_SEED) if self.first_seed is None else self.first_seed
        first = last.get("first_seed") if self.first_seed is None else self.first_seed
        if before is not None and isinstance(first, int):
            expected = self._record(before, first, "", 0, None)
            if all(last.get(name) == expected[name] for name in ("index", "sample", "recipe", "first_seed")):
                return first
        raise UsageInvalid(f"{out} holds stories that were told otherwise, or of other prompts", "choose another --out")

    def _tell(self, tasks: Iterator[Task], target: IO[str], first: int, quiet: bool) -> None:
        count = 0
        while group := list(islice(tasks, SIDE_BY_SIDE)):
            texts, tokens, reasons = [""] * len(group), [0] * len(group), [""] * len(group)
            seeds = [task.seed(first, self.samples) for task in group]
            steps = stream_batch(
                self.model, [task.prompt for task in group], self.params, seeds, post_process=self.post_process, alternatives=0
            )
            for row, step in steps:
                texts[row] += step.text
                tokens[row] += 1
                reasons[row] = step.finish_reason or ""
            for task, text, told, reason in zip(group, texts, tokens, reasons, strict=True):
                target.write(json.dumps(self._record(task, first, text, told, reason), ensure_ascii=False) + "\n")
            target.flush()
            count += len(group)
            if is_terminal(sys.stderr) and not quiet:
                sys.stderr.write(f"\r{count:,} stories")
                sys.stderr.flush()
        if count and is_terminal(sys.stderr) and not quiet:
            sys.stderr.write("\n")

    def _record(self, task: Task, first: int, text: str, tokens: int, reason: str | None) -> dict[str, Any]:
        recipe = Recipe.of(self.model, task.prompt, self.params, task.seed(first, self.samples), post_process=self.post_process)
        return {
            "schema_version": SCHEMA_VERSION,
            "index": task.index,
            "sample": task.sample,
            "seed": recipe.seed,
            "prompt": task.prompt.rstrip(" \t"),
            "text": text,
            "tokens": tokens,
            "finish_reason": reason,
            "first_seed": first,
            "recipe": recipe.to_dict(),
        }


def _opened(prompts: str) -> IO[bytes]:
    if prompts == STDIN:
        return sys.stdin.buffer
    try:
        return Path(prompts).open("rb")
    except OSError as error:
        raise DataInvalid(f"{prompts} cannot be read: {error.strerror or error}") from error


def _tasks(source: IO[bytes], name: str, shard: Shard, samples: int) -> Iterator[Task]:
    index = -1
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        index += 1
        if shard.has(index):
            prompt, seed = _prompt(line, f"{name}, line {number}")
            for sample in range(samples):
                yield Task(index, sample, prompt, seed)


def _prompt(line: bytes, where: str) -> tuple[str, int | None]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataInvalid(f"{where} is not JSON", 'each line is a text in quotes, or an object: {"prompt": "Once upon a time"}') from error
    prompt, seed = (value.get("prompt"), value.get("seed")) if isinstance(value, dict) else (value, None)
    if not isinstance(prompt, str):
        raise DataInvalid(f"{where} has no prompt", 'each line is a text in quotes, or an object: {"prompt": "Once upon a time"}')
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS):
        raise DataInvalid(f"{where}: a seed must be a whole number from 0 to {SEEDS - 1}, not {seed!r}")
    return prompt, seed


def _whole_lines(out: Path) -> tuple[int, dict[str, Any] | None]:
    """Number of whole lines in ``out``, and the last one; half a line at the end, which a kill left, is cut off."""
    if not out.exists():
        return 0, None
    count, whole, last = 0, 0, b""
    with out.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                count, whole, last = count + 1, whole + len(line), line
    try:
        values = json.loads(last) if last else None
    except ValueError:
        values = {}
    if values is not None and not (isinstance(values, dict) and "recipe" in values):
        raise UsageInvalid(f"{out} is there, and holds no stories", "choose another --out")
    if whole < out.stat().st_size:
        if not count:
            raise UsageInvalid(f"{out} is there, and holds no stories", "choose another --out")
        with out.open("r+b") as file:
            file.truncate(whole)
    return count, values
