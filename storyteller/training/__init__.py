"""Training: corpus, batches, trainer.

>>> from storyteller.training import Config, train
>>> config = Config(preset="tiny")
>>> config.custom_text_file = "stories.txt"
>>> config.num_epochs = 3
>>> result = train(config)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storyteller.training.config import Config
    from storyteller.training.corpus import EncodedCorpus, Source, prepare
    from storyteller.training.events import TrainEvent, TrainResult
    from storyteller.training.trainer import train, train_events

__all__ = ["Config", "EncodedCorpus", "Source", "TrainEvent", "TrainResult", "prepare", "train", "train_events"]

_HOMES = {
    "Config": "config",
    "EncodedCorpus": "corpus",
    "Source": "corpus",
    "TrainEvent": "events",
    "TrainResult": "events",
    "prepare": "corpus",
    "train": "trainer",
    "train_events": "trainer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from storyteller.errors import DependencyMissing

    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "accelerate"):
            raise DependencyMissing(f"training needs the package {error.name}", f"pip install {error.name}") from error
        raise


def __dir__() -> list[str]:
    return sorted(__all__)
