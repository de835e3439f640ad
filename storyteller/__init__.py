"""storyteller: a small recurrent language model that tells children's stories, and shows why it chose each word.

    >>> from storyteller import StoryGenerator
    >>> teller = StoryGenerator(model)  # a name, a path, or nothing for the model that comes with the package
    >>> story = teller.generate("Once upon a time", max_len=20, seed=1)
    >>> story.startswith("Once upon a time")
    True

Importing this package imports none of its parts: each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel, load
    from storyteller.engine.params import SamplingParams
    from storyteller.engine.steps import Alternative, Snapshot, Step
    from storyteller.errors import (
        CheckpointInvalid,
        ChecksumMismatch,
        ConfigInvalid,
        CorpusEmpty,
        DataInvalid,
        DependencyMissing,
        DownloadFailed,
        InvalidParams,
        ModelNotFound,
        StorytellerError,
        UsageInvalid,
    )
    from storyteller.generator import StoryGenerator

__version__ = "0.1.0"

__all__ = [
    "Alternative",
    "CheckpointInvalid",
    "ChecksumMismatch",
    "ConfigInvalid",
    "CorpusEmpty",
    "DataInvalid",
    "DependencyMissing",
    "DownloadFailed",
    "InvalidParams",
    "LoadedModel",
    "ModelNotFound",
    "SamplingParams",
    "Snapshot",
    "Step",
    "StoryGenerator",
    "StorytellerError",
    "UsageInvalid",
    "__version__",
    "load",
]

_HOMES = {
    "Alternative": "storyteller.engine.steps",
    "LoadedModel": "storyteller.checkpoint.load",
    "SamplingParams": "storyteller.engine.params",
    "Snapshot": "storyteller.engine.steps",
    "Step": "storyteller.engine.steps",
    "StoryGenerator": "storyteller.generator",
    "load": "storyteller.checkpoint.load",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "storyteller.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
