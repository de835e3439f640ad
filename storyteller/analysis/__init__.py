"""What goes on inside the model, as frozen records of arrays: no drawing here.

Each analysis is one function, from a loaded model to a :class:`~storyteller.analysis.record.Record` with documented shapes and units,
which saves itself as npz and JSON. Those that need gradients or scikit-learn import them when they are called; each name below is
fetched when it is first used.

    >>> from storyteller import load
    >>> from storyteller.analysis import token_importance
    >>> record = token_importance(load(model), "The fox found a red ball", methods=["retention"])
    >>> record.maps["retention"].shape == (len(record.targets), len(record.tokens))
    True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storyteller.analysis.confidence import Calibration, TokenConfidence, calibration, token_confidence
    from storyteller.analysis.diversity import GenerationDiversity, generation_diversity
    from storyteller.analysis.dynamics import GenerationDynamics, generation_dynamics
    from storyteller.analysis.embedding import EmbeddingMap, embedding_map
    from storyteller.analysis.forgetting import ForgettingCurve, forgetting_curve
    from storyteller.analysis.growth import TrainingGrowth, training_growth
    from storyteller.analysis.heroes import NameTracking, name_tracking
    from storyteller.analysis.importance import TokenImportance, token_importance
    from storyteller.analysis.lens import LogitLens, logit_lens
    from storyteller.analysis.network import Network, Trace
    from storyteller.analysis.record import Record
    from storyteller.analysis.retention import half_lives, memory, retained

__all__ = [
    "Calibration",
    "EmbeddingMap",
    "ForgettingCurve",
    "GenerationDiversity",
    "GenerationDynamics",
    "LogitLens",
    "NameTracking",
    "Network",
    "Record",
    "TokenConfidence",
    "TokenImportance",
    "Trace",
    "TrainingGrowth",
    "calibration",
    "embedding_map",
    "forgetting_curve",
    "generation_diversity",
    "generation_dynamics",
    "half_lives",
    "logit_lens",
    "memory",
    "name_tracking",
    "retained",
    "token_confidence",
    "token_importance",
    "training_growth",
]

_HOMES = {
    "confidence": ("Calibration", "TokenConfidence", "calibration", "token_confidence"),
    "diversity": ("GenerationDiversity", "generation_diversity"),
    "dynamics": ("GenerationDynamics", "generation_dynamics"),
    "embedding": ("EmbeddingMap", "embedding_map"),
    "forgetting": ("ForgettingCurve", "forgetting_curve"),
    "growth": ("TrainingGrowth", "training_growth"),
    "heroes": ("NameTracking", "name_tracking"),
    "importance": ("TokenImportance", "token_importance"),
    "lens": ("LogitLens", "logit_lens"),
    "network": ("Network", "Trace"),
    "record": ("Record",),
    "retention": ("half_lives", "memory", "retained"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
