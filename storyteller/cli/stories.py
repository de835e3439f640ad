"""Telling stories to whoever asked: as text, as one JSON object, or as a JSON object a token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from storyteller import __version__
from storyteller.cli.confidence import Confidence
from storyteller.cli.output import write, write_json
from storyteller.cli.tempo import Tempo
from storyteller.controls import shown
from storyteller.engine.repetition import distinct_n, repeated_ngram_share
from storyteller.engine.statistics import GenerationStats, Meter
from storyteller.engine.steps import Step
from storyteller.errors import StorytellerError
from storyteller.recipe import Recipe

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel

SCHEMA_VERSION = 1
INTERRUPTED = "interrupted"


@dataclass
class Story:
    """One story as far as it is told."""

    recipe: Recipe
    ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: str = INTERRUPTED

    @property
    def prompt(self) -> str:
        """The prompt as it stands before the text: without the spaces at its end, which the model brings."""
        return self.recipe.prompt.rstrip(" \t")

    def add(self, step: Step) -> None:
        """Take in the next step."""
        self.ids.append(step.id)
        self.text += step.text
        self.finish_reason = step.finish_reason or self.finish_reason

    def figures(self, stats: GenerationStats) -> dict[str, Any]:
        """What ``--stats`` shows, as JSON values; shares and distinct-n are of words in lower case."""
        words = self.text.lower().split()
        figures = asdict(stats)
        del figures["finish_reason"]
        return figures | {"distinct_2": distinct_n(words, 2), "repeated_4gram_share": repeated_ngram_share(words, 4)}

    def record(self, sample: int, stats: GenerationStats) -> dict[str, Any]:
        """The story as JSON values."""
        return {
            "sample": sample,
            "seed": self.recipe.seed,
            "prompt": self.prompt,
            "text": self.text,
            "ids": self.ids,
            "finish_reason": self.finish_reason,
            "stats": self.figures(stats),
            "recipe": self.recipe.to_dict(),
        }


class Stories:
    """Stories of one model; neighbours that differ in prompt and seed only are told side by side."""

    def __init__(self, model: LoadedModel, recipes: Sequence[Recipe]) -> None:
        self.model = model
        self.told = [Story(recipe) for recipe in recipes]
        self.meter = Meter()

    def events(self) -> Iterator[tuple[int, Step]]:
        """The steps of all stories with their sample's number, as they come."""
        for sample, step in self.meter.watch_batch(self._steps()):
            self.told[sample].add(step)
            yield sample, step

    def _steps(self) -> Iterator[tuple[int, Step]]:
        from storyteller.engine.generate import stream_batch

        first = 0
        for (params, post_process), group in groupby(
            (story.recipe for story in self.told), lambda recipe: (recipe.params, recipe.post_process)
        ):
            recipes = list(group)
            batch = stream_batch(
                self.model,
                [recipe.prompt for recipe in recipes],
                params,
                [recipe.seed for recipe in recipes],
                post_process=post_process,
                alternatives=0,
            )
            for row, step in batch:
                yield first + row, step
            first += len(recipes)

    def stats(self, sample: int) -> GenerationStats:
        """The figures of one story."""
        return self.meter.rows.get(sample, Meter()).stats()


def tell_text(stories: Stories, *, tempo: Tempo, terminal: bool, confidence: Confidence | None) -> None:
    """Write the stories one after another, ``---`` between, each with its prompt and a final line break; the first appears as it is told.

    On a ``terminal`` control characters are shown as U+FFFD. An interruption leaves what was written, and ends the line.
    """
    safe = shown if terminal else str
    last = ""
    try:
        for number, steps in enumerate(_by_story(stories.events(), len(stories.told))):
            last = safe(stories.told[number].prompt)
            write(("---\n" if number else "") + last)
            for step in steps:
                tempo.wait()
                text = confidence.show(step) if confidence else safe(step.text)
                write(text)
                last = step.text or last
            write("" if last.endswith("\n") else "\n")
    except (KeyboardInterrupt, StorytellerError):
        write("" if last.endswith("\n") else "\n")
        raise


def tell_json(stories: Stories) -> None:
    """Write one object when all stories are told, or as far as they were told when interrupted."""
    try:
        for _ in stories.events():
            pass
    except KeyboardInterrupt:
        write_json(_object(stories))
        raise
    write_json(_object(stories))


def tell_jsonl(stories: Stories) -> None:
    """Write an object for every token of every story, as it comes."""
    for sample, step in stories.events():
        write_json(
            {
                "schema_version": SCHEMA_VERSION,
                "sample": sample,
                "seed": stories.told[sample].recipe.seed,
                "index": step.index,
                "id": step.id,
                "text": step.text,
                "logprob": step.logprob,
                "entropy": step.entropy,
                "rank": step.rank,
                "chosen_prob": step.chosen_prob,
                "finish_reason": step.finish_reason,
            },
            indent=None,
        )


def _object(stories: Stories) -> dict[str, Any]:
    records = [story.record(sample, stories.stats(sample)) for sample, story in enumerate(stories.told)]
    return {"schema_version": SCHEMA_VERSION, "version": __version__, "stories": records}


def _by_story(events: Iterable[tuple[int, Step]], count: int) -> Iterator[Iterator[Step]]:
    """The steps of each story in turn: those of the first as they come, those of later ones kept until it is their turn."""
    events = iter(events)
    waiting: list[list[Step]] = [[] for _ in range(count)]

    def steps(number: int) -> Iterator[Step]:
        for step in waiting[number]:
            yield step
            if step.finish_reason:
                return
        for row, step in events:
            if row != number:
                waiting[row].append(step)
                continue
            yield step
            if step.finish_reason:
                return

    for number in range(count):
        yield steps(number)
