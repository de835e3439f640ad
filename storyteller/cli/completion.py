"""What the shell offers when somebody presses Tab: the names that are here, found without loading a model."""

from __future__ import annotations

from storyteller.errors import StorytellerError


def models(incomplete: str) -> list[str]:
    """Names of the models that are here."""
    from storyteller.checkpoint.registry import list_models

    return _beginning(incomplete, [entry.name for entry in list_models()])


def styles(incomplete: str) -> list[str]:
    """Names of styles: those that came along, and one's own."""
    from storyteller.settings import STYLES, read_settings

    try:
        own = read_settings().styles
    except StorytellerError:
        own = {}
    return _beginning(incomplete, [*STYLES, *own])


def presets(incomplete: str) -> list[str]:
    """Names of the presets of a training."""
    from storyteller.engine.architecture import PRESETS

    return _beginning(incomplete, list(PRESETS))


def sources(incomplete: str) -> list[str]:
    """Names of the models that the settings know where to download."""
    from storyteller.settings import read_settings

    try:
        return _beginning(incomplete, list(read_settings().sources))
    except StorytellerError:
        return []


def settings(incomplete: str) -> list[str]:
    """Keys of the settings."""
    from dataclasses import fields

    from storyteller.engine.params import SamplingParams
    from storyteller.settings import SIMPLE

    return _beginning(incomplete, [*SIMPLE, *(f"sampling.{field.name}" for field in fields(SamplingParams))])


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
