"""The shape of a network, and the presets: known without torch, so that generation runs where torch is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from storyteller.errors import ConfigInvalid

LARGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GRUConfig:
    """embedding → GRU (``num_layers``, dropout between) → dropout → projection (if widths ask for one) → output layer.

    With ``tie_weights`` the output layer's matrix is the embedding's; a projection ``hidden_dim → embed_dim`` stands before it
    where the two widths differ. Raises :class:`ConfigInvalid` naming the field and its legal range.
    """

    vocab_size: int = 4000
    embed_dim: int = 512
    hidden_dim: int = 1024
    num_layers: int = 3
    dropout: float = 0.3
    tie_weights: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (
            ("vocab_size", 2, 65_535),
            ("embed_dim", 1, LARGEST),
            ("hidden_dim", 1, LARGEST),
            ("num_layers", 1, 64),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigInvalid(f"{name} must be a whole number from {least} to {most:,}, not {value!r}")
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ConfigInvalid(f"dropout must be a number from 0 up to, but not including, 1, not {self.dropout!r}")
        if not isinstance(self.tie_weights, bool):
            raise ConfigInvalid(f"tie_weights must be true or false, not {self.tie_weights!r}")

    @property
    def has_projection(self) -> bool:
        """Whether a projection stands before the output layer."""
        return self.tie_weights and self.embed_dim != self.hidden_dim

    @property
    def output_width(self) -> int:
        """Number of inputs of the output layer."""
        return self.embed_dim if self.tie_weights else self.hidden_dim

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that a checkpoint of this network stores (a tied output matrix is not stored)."""
        shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (self.vocab_size, self.embed_dim)}
        for layer in range(self.num_layers):
            inputs = self.embed_dim if layer == 0 else self.hidden_dim
            shapes[f"gru.weight_ih_l{layer}"] = (3 * self.hidden_dim, inputs)
            shapes[f"gru.weight_hh_l{layer}"] = (3 * self.hidden_dim, self.hidden_dim)
            shapes[f"gru.bias_ih_l{layer}"] = (3 * self.hidden_dim,)
            shapes[f"gru.bias_hh_l{layer}"] = (3 * self.hidden_dim,)
        if self.has_projection:
            shapes["projection.weight"] = (self.embed_dim, self.hidden_dim)
            shapes["projection.bias"] = (self.embed_dim,)
        if not self.tie_weights:
            shapes["output.weight"] = (self.vocab_size, self.hidden_dim)
        shapes["output.bias"] = (self.vocab_size,)
        return shapes

    @property
    def parameters(self) -> int:
        """Number of parameters; tied weights count once."""
        total = 0
        for shape in self.shapes().values():
            size = 1
            for width in shape:
                size *= width
            total += size
        return total

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GRUConfig:
        """Take the known fields out of ``values``; a missing one raises :class:`ConfigInvalid`."""
        missing = [field.name for field in fields(cls) if field.name not in values]
        if missing:
            raise ConfigInvalid(f"the architecture lacks {', '.join(missing)}")
        return cls(**{field.name: values[field.name] for field in fields(cls)})


PRESETS: dict[str, GRUConfig] = {
    "base": GRUConfig(),
    "small": GRUConfig(embed_dim=512, hidden_dim=512, num_layers=2, dropout=0.2, tie_weights=True),
    "tiny": GRUConfig(vocab_size=2000, embed_dim=128, hidden_dim=256, num_layers=1, dropout=0.0, tie_weights=True),
}
