"""The parameters of sampling: one frozen, checked record for every face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal

from storyteller.errors import InvalidParams

Until = Literal["length", "sentence"]


@dataclass(frozen=True, slots=True)
class Range:
    """The legal range of a parameter; ``least`` and ``most`` belong to it, the value ``off`` switches the stage off."""

    least: float
    most: float
    off: float | None
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen. Out of range raises :class:`InvalidParams`, which names the legal range.

    0, 1.0, None or an empty tuple switch a stage off, as :data:`RANGES` says for each. The names are those of ``transformers``
    and llama.cpp; what each stage computes stands in :mod:`storyteller.engine.logits`, in the order of ``ORDER`` there.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_window: int = 64
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_window: int = 1024
    no_repeat_ngram: int = 0
    ban: tuple[str, ...] = ()
    gentle: bool = False
    stop: tuple[str, ...] = ()
    max_len: int = 500
    until: Until = "length"
    ignore_end: bool = False

    def __post_init__(self) -> None:
        for name, legal in RANGES.items():
            value = getattr(self, name)
            whole = name in WHOLE
            kind = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind) or not legal.least <= value <= legal.most:
                words = "a whole number" if whole else "a number"
                raise InvalidParams(f"{name} must be {words} from {legal.least:g} to {legal.most:g}, not {value!r}")
        if self.top_p == 0 or self.typical_p == 0:
            raise InvalidParams("top_p and typical_p must be greater than 0 and at most 1")
        for name in ("ban", "stop"):
            texts = getattr(self, name)
            if not isinstance(texts, tuple) or not all(isinstance(text, str) and text for text in texts):
                raise InvalidParams(f"{name} must be a tuple of texts, none of them empty, not {texts!r}")
        if self.until not in ("length", "sentence"):
            raise InvalidParams(f"until must be 'length' or 'sentence', not {self.until!r}")
        for name in ("gentle", "ignore_end"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidParams(f"{name} must be true or false, not {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SamplingParams:
        """The inverse of :meth:`to_dict`; missing fields take their defaults, an unknown one raises :class:`InvalidParams`."""
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, 1)
                raise InvalidParams(f"there is no sampling parameter {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**given)


RANGES: dict[str, Range] = {
    "temperature": Range(0, 10, None, "sharpness of the choice: 0 always takes the most likely token, 1 is the model as it is"),
    "top_k": Range(0, 65_535, 0, "keep the k most likely tokens"),
    "top_p": Range(0, 1, 1, "keep the most likely tokens that together hold this share of the probability"),
    "min_p": Range(0, 1, 0, "keep tokens at least this many times as likely as the most likely one"),
    "typical_p": Range(0, 1, 1, "keep the tokens nearest to the expected surprise that together hold this share"),
    "repetition_penalty": Range(0.1, 10, 1, "divide the logits of tokens that were already used; below 1 favours them"),
    "presence_penalty": Range(-10, 10, 0, "take this off the logit of a token that was already used"),
    "frequency_penalty": Range(-10, 10, 0, "take this off the logit of a token for each time that it was used"),
    "penalty_window": Range(0, 1_000_000, None, "how many of the last tokens the three penalties look at; 0 looks at all"),
    "dry_multiplier": Range(0, 100, 0, "strength of DRY, which makes going on with a repeated phrase less likely the longer it is"),
    "dry_base": Range(1, 10, None, "growth of DRY's penalty with each further repeated token"),
    "dry_allowed_length": Range(1, 1_000, None, "longest repetition that DRY leaves alone, in tokens"),
    "dry_window": Range(0, 1_000_000, None, "how many of the last tokens DRY looks at; 0 looks at all"),
    "no_repeat_ngram": Range(0, 1_000, 0, "no sequence of this many tokens comes twice"),
    "max_len": Range(1, 1_000_000, None, "most tokens that are told"),
}
WHOLE = frozenset({"top_k", "penalty_window", "dry_allowed_length", "dry_window", "no_repeat_ngram", "max_len"})
