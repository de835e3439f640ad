"""The settings of a training: checked at every assignment, with presets by the size of the network."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

from storyteller.engine.architecture import PRESETS, GRUConfig
from storyteller.errors import ConfigInvalid

Preset = Literal["tiny", "small", "base"]
Precision = Literal["auto", "float32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda", "mps", "xpu", "tpu"]

DEFAULT_EPOCHS = 10
ARCHITECTURE = ("vocab_size", "embed_dim", "hidden_dim", "num_layers", "dropout", "tie_weights")

RUN_PRESETS: dict[str, dict[str, Any]] = {
    "base": {"batch_size": 256, "seq_len": 128, "learning_rate": 1e-3, "warmup": 500},
    "small": {"batch_size": 64, "seq_len": 64, "learning_rate": 3e-3, "warmup": 200},
    "tiny": {"batch_size": 32, "seq_len": 64, "learning_rate": 5e-3, "warmup": 100},
}
"""What goes with each preset's architecture: enough streams to feed the device it is for, and a rate that its width bears."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field may hold. ``least`` and ``most`` bound numbers, ``choices`` words; ``optional`` allows None."""

    kind: Literal["whole", "number", "flag", "text", "texts", "duration", "choice"]
    meaning: str
    least: float = 0
    most: float = math.inf
    optional: bool = False
    choices: tuple[str, ...] = ()
    open_below: bool = False
    open_above: bool = False

    @property
    def legal(self) -> str:
        """The legal range in words."""
        match self.kind:
            case "flag":
                words = "true or false"
            case "choice":
                words = "one of " + ", ".join(self.choices)
            case "text":
                words = "a text that is not empty"
            case "texts":
                words = "texts (a list of them), none of them empty"
            case "duration":
                words = "a time such as 90m, 2h30m, 45s, or a number of seconds, greater than 0"
            case _:
                words = "a whole number" if self.kind == "whole" else "a number"
                words += f" {'greater than' if self.open_below else 'from'} {self.least:,g}"
                if self.most < 10**9:
                    words += f" to {'below ' if self.open_above else ''}{self.most:,.15g}"
                elif not self.open_below:
                    words += " up"
        return words + (", or None" if self.optional else "")

    def check(self, name: str, value: Any) -> Any:
        """``value`` in the form in which it is kept; raises :class:`ConfigInvalid` naming field and legal range."""
        if value is None and self.optional:
            return None
        kept = self._kept(value)
        if kept is None:
            raise ConfigInvalid(f"{name} must be {self.legal}, not {value!r}")
        return kept

    def _kept(self, value: Any) -> Any:
        match self.kind:
            case "flag":
                return value if isinstance(value, bool) else None
            case "choice":
                return value if value in self.choices else None
            case "text":
                return str(value) if str(value).strip() and not isinstance(value, bool | int | float) and value is not None else None
            case "texts":
                texts = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
                return None if any(text is None or not str(text).strip() for text in texts) else tuple(str(text) for text in texts)
            case "duration":
                return parse_duration(value)
            case _:
                return self._number(value)

    def _number(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "whole" else (int, float)) or not math.isfinite(value):
            return None
        if value < self.least or value > self.most or (self.open_below and value == self.least) or (self.open_above and value == self.most):
            return None
        return value if self.kind == "whole" else float(value)


RULES: dict[str, Rule] = {
    "preset": Rule("choice", "size of the network, with the settings that go with it", choices=get_args(Preset)),
    "vocab_size": Rule("whole", "most entries of the tokenizer's vocabulary", 257, 65_535),
    "embed_dim": Rule("whole", "width of the embedding", 1, 1 << 20),
    "hidden_dim": Rule("whole", "width of a GRU layer", 1, 1 << 20),
    "num_layers": Rule("whole", "number of GRU layers", 1, 64),
    "dropout": Rule("number", "share of activations that are dropped in training", 0, 1, open_above=True),
    "tie_weights": Rule("flag", "use the embedding's matrix in the output layer too"),
    "batch_size": Rule("whole", "streams of text read side by side", 1, 65_536),
    "seq_len": Rule("whole", "tokens of each stream that one iteration reads, and gradients go back", 1, 65_536),
    "accumulate": Rule("whole", "read the streams of an iteration in this many parts, to save memory; the result is the same", 1, 65_536),
    "num_epochs": Rule("whole", "how often the whole corpus is read", 1, 1_000_000, optional=True),
    "max_iterations": Rule("whole", "how many updates of the weights are made", 1, 10**12, optional=True),
    "time_limit": Rule("duration", "how long to train", optional=True),
    "learning_rate": Rule("number", "highest learning rate", 0, 10, open_below=True),
    "warmup": Rule("whole", "iterations in which the learning rate rises, a fifth of all at most", 0, 10**9),
    "weight_decay": Rule("number", "AdamW's decay of the matrices; biases have none", 0, 10),
    "beta2": Rule("number", "AdamW's memory of squared gradients", 0, 1, open_above=True),
    "grad_clip": Rule("number", "longest gradient (norm over all weights); 0 does not clip", 0),
    "label_smoothing": Rule("number", "share of the target's probability that is spread over all tokens", 0, 1, open_above=True),
    "ema_decay": Rule(
        "number", "decay of an averaged copy of the weights, which is kept where it is better; 0 keeps none", 0, 1, open_above=True
    ),
    "reset_at_end": Rule("flag", "begin every story of the training from an empty memory, instead of carrying it over"),
    "eval_every": Rule("whole", "iterations between evaluations", 1, 10**9),
    "eval_stories": Rule("whole", "held-out stories that an evaluation in the course of training reads; the last reads all", 1, 10**9),
    "sample_every": Rule("whole", "evaluations between samples; 0 tells none", 0, 10**9),
    "sample_prompts": Rule("texts", "beginnings that the samples go on from"),
    "save_every": Rule("number", "seconds between saves, counted at the end of an iteration", 0),
    "patience": Rule("whole", "stop after this many evaluations without a better one; 0 never does", 0, 10**9),
    "seed": Rule("whole", "seed of weights, order and dropout", 0, 2**63 - 1),
    "precision": Rule("choice", "numbers that the matrix products are computed in", choices=get_args(Precision)),
    "device": Rule("choice", "where to compute; auto takes a GPU if there is one", choices=get_args(Device)),
    "threads": Rule("whole", "CPU threads", 1, 4096, optional=True),
    "train_csv_path": Rule("text", "CSV file to train on", optional=True),
    "val_csv_path": Rule("text", "CSV file to validate on", optional=True),
    "csv_text_column": Rule("text", "column that holds the text", optional=True),
    "custom_text_file": Rule("text", "text file to train on", optional=True),
    "use_tinystories": Rule("flag", "train on TinyStories"),
    "dataset": Rule("texts", "data sets by name: tinystories, sample, or the id of one on the Hugging Face Hub"),
    "files": Rule("texts", "files or folders to train on (.txt .csv .jsonl .parquet); FILE:3 counts threefold in a mix"),
    "valid_files": Rule("texts", "files or folders to validate on; without them a share of the training data is held out"),
    "separator": Rule("text", "line that parts the stories of a .txt file", optional=True),
    "valid_share": Rule("number", "share of the stories that is held out for validation", 0, 0.5),
    "max_stories": Rule("whole", "most stories that are read from each source", 1, 10**12, optional=True),
    "out": Rule("text", "directory of the model, which is made here", optional=True),
    "init_from": Rule("text", "model whose weights and tokenizer to begin with", optional=True),
    "resume": Rule("flag", "go on with the training in the output directory, if there is one"),
}

CHANGEABLE = frozenset(
    {"out", "resume", "init_from", "device", "threads", "sample_every", "sample_prompts", "save_every", "patience", "preset"}
)
"""What may differ from the training that is resumed; everything else decides its course or its data."""


class Config:
    """The settings of one training: a plain object whose every assignment is checked.

    >>> config = Config(preset="tiny")
    >>> config.batch_size = 16
    >>> config.hidden_dim, config.batch_size
    (256, 16)

    An unknown field, or a value out of range, raises :class:`ConfigInvalid` naming the field and its legal range (:data:`RULES`).
    Assigning ``preset`` sets every field of that preset that was not assigned before. Without data (``files``, ``dataset``,
    ``train_csv_path``, ``custom_text_file``, ``use_tinystories``) a training reads TinyStories.
    """

    preset: Preset = "base"
    vocab_size: int = PRESETS["base"].vocab_size
    embed_dim: int = PRESETS["base"].embed_dim
    hidden_dim: int = PRESETS["base"].hidden_dim
    num_layers: int = PRESETS["base"].num_layers
    dropout: float = PRESETS["base"].dropout
    tie_weights: bool = PRESETS["base"].tie_weights
    batch_size: int = RUN_PRESETS["base"]["batch_size"]
    seq_len: int = RUN_PRESETS["base"]["seq_len"]
    accumulate: int = 1
    num_epochs: int | None = None
    max_iterations: int | None = None
    time_limit: float | None = None
    learning_rate: float = RUN_PRESETS["base"]["learning_rate"]
    warmup: int = RUN_PRESETS["base"]["warmup"]
    weight_decay: float = 0.05
    beta2: float = 0.99
    grad_clip: float = 1.0
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    reset_at_end: bool = False
    eval_every: int = 250
    eval_stories: int = 500
    sample_every: int = 1
    sample_prompts: tuple[str, ...] = ("Once upon a time", "Lily and Tom", "The little dragon")
    save_every: float = 60.0
    patience: int = 0
    seed: int = 1
    precision: Precision = "auto"
    device: Device = "auto"
    threads: int | None = None
    train_csv_path: str | None = None
    val_csv_path: str | None = None
    csv_text_column: str | None = None
    custom_text_file: str | None = None
    use_tinystories: bool = False
    dataset: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    valid_files: tuple[str, ...] = ()
    separator: str | None = None
    valid_share: float = 0.01
    max_stories: int | None = None
    out: str | None = None
    init_from: str | None = None
    resume: bool = False

    _assigned: dict[str, Any]
    _last: Config | None = None

    def __init__(self, **fields: Any) -> None:
        object.__setattr__(self, "_assigned", {})
        for name in sorted(fields, key=lambda name: name != "preset"):
            setattr(self, name, fields[name])
        Config._last = self

    def __setattr__(self, name: str, value: Any) -> None:
        kept = _rule(name).check(name, value)
        if name == "preset":
            for field, preset_value in preset_values(kept).items():
                if field not in self._assigned:
                    object.__setattr__(self, field, preset_value)
        object.__setattr__(self, name, kept)
        self._assigned[name] = kept
        Config._last = self

    def __delattr__(self, name: str) -> None:
        raise ConfigInvalid(f"{name} cannot be removed; assign another value")

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self._assigned.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def last(cls) -> Config | None:
        """The configuration that was made or changed last in this process."""
        return cls._last

    @property
    def assigned(self) -> Mapping[str, Any]:
        """The fields that were assigned, by hand or by a flag, with their values."""
        return dict(self._assigned)

    @property
    def architecture(self) -> GRUConfig:
        """The shape of the network."""
        return GRUConfig(**{name: getattr(self, name) for name in ARCHITECTURE})

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        values = {name: getattr(self, name) for name in RULES}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The inverse of :meth:`to_dict`; it does not become the :meth:`last` one."""
        last = cls._last
        config = cls(**values)
        cls._last = last
        return config

    def total_iterations(self, per_epoch: int) -> int | None:
        """How many iterations this asks for, an epoch having ``per_epoch``; None if only a time limit says when to stop."""
        totals = [] if self.max_iterations is None else [self.max_iterations]
        if self.num_epochs is not None:
            totals.append(self.num_epochs * per_epoch)
        if not totals and self.time_limit is None:
            totals.append(DEFAULT_EPOCHS * per_epoch)
        return min(totals) if totals else None


def preset_values(preset: str) -> dict[str, Any]:
    """Every field that ``preset`` sets, with its value."""
    return {**PRESETS[preset].to_dict(), **RUN_PRESETS[preset]}


def parse_duration(value: Any) -> float | None:
    """Seconds from a number of them or from a text such as 90m, 2h30m or 45s; None if it is none, or not above 0."""
    if isinstance(value, str):
        match = re.fullmatch(r"(?=.)(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", value.strip())
        if match is None:
            return None
        value = sum(float(part or 0) * unit for part, unit in zip(match.groups(), (86_400, 3_600, 60, 1), strict=True))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def _rule(name: str) -> Rule:
    if name not in RULES:
        near = get_close_matches(name, RULES, 1)
        hint = f"did you mean {near[0]}?" if near else f"fields: {', '.join(RULES)}"
        raise ConfigInvalid(f"there is no training setting {name!r}; {hint}")
    return RULES[name]
