"""How stories are shown, and what is said beside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from storyteller.cli.output import is_terminal, say, wants_color
from storyteller.controls import shown
from storyteller.settings import Settings

if TYPE_CHECKING:
    from storyteller.cli.stories import Stories, Story


class Face:
    """The choices of output options: text, JSON or JSON lines to stdout; seeds, figures and recipes to stderr.

    On a terminal, or with ``verbose``, the seed is told after the story, unless ``quiet``.
    """

    def __init__(
        self, settings: Settings, *, as_json: bool, stream: bool, confidence: bool, stats: bool, verbose: bool, quiet: bool
    ) -> None:
        self._settings = settings
        self._json = as_json
        self._stream = stream
        self._confidence = confidence
        self._stats = stats
        self._verbose = verbose
        self._quiet = quiet

    def tell(self, stories: Stories) -> None:
        """Tell, and say beside it what was asked for, even when interrupted."""
        from storyteller.cli.stories import tell_json, tell_jsonl

        if self._verbose:
            say(f"model: {stories.model.path} (sha256 {stories.model.sha256}, {stories.model.precision}, {stories.model.device})")
        try:
            if self._json:
                tell_json(stories)
            elif self._stream:
                tell_jsonl(stories)
            else:
                self._tell_text(stories)
        except KeyboardInterrupt:
            self._report(stories)
            raise
        self._report(stories)

    def _tell_text(self, stories: Stories) -> None:
        from storyteller.cli.confidence import Confidence
        from storyteller.cli.stories import tell_text
        from storyteller.cli.tempo import Tempo

        terminal = is_terminal(sys.stdout)
        painter = None
        if self._confidence:
            color = wants_color(self._settings.color, sys.stdout)
            painter = Confidence(color=color, safe=shown if terminal else str)
            if not self._quiet:
                sys.stderr.write(Confidence(color=color and is_terminal(sys.stderr)).legend() + "\n")
        tell_text(stories, tempo=Tempo(self._settings.tempo if terminal else 0), terminal=terminal, confidence=painter)

    def _report(self, stories: Stories) -> None:
        begun = [(sample, story) for sample, story in enumerate(stories.told) if story.ids]
        if self._verbose or (is_terminal(sys.stderr) and not self._quiet):
            say(_seeds([story for _, story in begun]))
        for sample, story in begun:
            if self._stats:
                say(f"stats: {_in_words(story.figures(stories.stats(sample)))}")
            if self._verbose:
                say(f"recipe: {json.dumps(story.recipe.to_dict(), ensure_ascii=False)}")
        if self._stats and len(begun) > 1:
            total = stories.meter.stats()
            say(f"stats: all {len(begun)} together: {_figure(total.tokens)} tokens, {_figure(total.tokens_per_second)} tokens/s")


def _seeds(stories: Sequence[Story]) -> str:
    seeds = [story.recipe.seed for story in stories]
    cut = sum(story.finish_reason == "length" for story in stories)
    if len(seeds) == 1:
        return f"seed: {seeds[0]}" + (f", cut at {len(stories[0].ids)} tokens (--max-len)" if cut else "")
    in_a_row = seeds == list(range(seeds[0], seeds[0] + len(seeds))) if seeds else False
    listed = f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))
    return f"seeds: {listed}" + (f", {cut} of {len(seeds)} cut (--max-len)" if cut else "")


def _in_words(figures: Mapping[str, Any]) -> str:
    return (
        f"{_figure(figures['tokens'])} tokens, {_figure(figures['tokens_per_second'])} tokens/s, "
        f"first after {_figure(figures['time_to_first_token'])} s, perplexity {_figure(figures['perplexity'])}, "
        f"distinct-2 {_figure(figures['distinct_2'])}, repeated 4-grams {_figure(figures['repeated_4gram_share'])}"
    )


def _figure(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 100 or isinstance(value, int) else f"{value:.3g}"
