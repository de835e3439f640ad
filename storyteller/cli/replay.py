"""Telling a story again from its recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storyteller.checkpoint.load import LoadedModel
from storyteller.cli.stories import INTERRUPTED, Stories, Story
from storyteller.errors import DataInvalid, StorytellerError
from storyteller.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Told:
    """A story that was told once: its recipe and, where the file holds them, its ids; ``whole`` says that it was not interrupted."""

    recipe: Recipe
    ids: tuple[int, ...] | None
    whole: bool


def read_told(path: Path) -> list[Told]:
    """The stories in what ``gen --json`` wrote, or the one recipe that ``gen --verbose`` told; raises :class:`DataInvalid` for others."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataInvalid(f"there is no file {path}") from error
    except (ValueError, RecursionError) as error:
        raise DataInvalid(f"{path} is not JSON: {error}", _HINT) from error
    if not isinstance(values, dict):
        raise DataInvalid(f"{path} holds no story", _HINT)
    stories = values.get("stories", [{"recipe": values}])
    if not isinstance(stories, list) or not stories or not all(isinstance(story, dict) for story in stories):
        raise DataInvalid(f"{path} holds no stories", _HINT)
    return [_told(story, f"{path}, story {number}") for number, story in enumerate(stories, 1)]


def again(told: list[Told], load: Callable[[Recipe], LoadedModel]) -> Stories:
    """The stories of ``told``, ready to be told by the model that ``load`` finds for the first recipe.

    Raises :class:`DataInvalid` where the model of that name is another one now, or the stories are of several models.
    """
    first = told[0].recipe
    if any((one.recipe.sha256, one.recipe.precision, one.recipe.device) != (first.sha256, first.precision, first.device) for one in told):
        raise DataInvalid("the stories were told by several models", "put those of each model into a file of their own")
    model = load(first)
    if model.sha256 != first.sha256:
        raise DataInvalid(
            f"the story was told by another model: the weights of {first.model} had the sha256 {first.sha256[:12]}…, "
            f"those of {model.name} here have {model.sha256[:12]}…",
            "name the right one with --model",
        )
    recipes = (one.recipe for one in told)
    return Stories(model, [Recipe.of(model, one.prompt, one.params, one.seed, post_process=one.post_process) for one in recipes])


def check_same(told: Told, story: Story) -> None:
    """Raise :class:`StorytellerError` naming what differs if ``story`` is not what was ``told``, as far as that came."""
    if told.ids is None or tuple(story.ids if told.whole else story.ids[: len(told.ids)]) == told.ids:
        return
    pairs = zip(told.ids, story.ids, strict=False)
    first = next((place for place, (then, now) in enumerate(pairs) if then != now), min(len(told.ids), len(story.ids)))
    differences = told.recipe.differences(story.recipe)
    reasons = "; ".join(differences) or "the same model and version: another kind of CPU rounds otherwise"
    raise StorytellerError(f"this is not the story that was told: token {first + 1} is another one ({reasons})")


_HINT = "save one with: storyteller gen --json … > story.json"


def _told(story: dict[str, Any], where: str) -> Told:
    recipe, ids = story.get("recipe"), story.get("ids")
    if not isinstance(recipe, dict):
        raise DataInvalid(f"{where}: no recipe", _HINT)
    try:
        read = Recipe.from_dict(recipe)
    except DataInvalid as error:
        raise DataInvalid(f"{where}: {error.message}", _HINT) from error
    return Told(read, tuple(ids) if isinstance(ids, list) else None, story.get("finish_reason") != INTERRUPTED)
