"""The recipe of a story: all that is needed to tell it again, and whether it would be the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from storyteller import __version__
from storyteller.engine.params import SamplingParams
from storyteller.errors import DataInvalid, InvalidParams

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What told a story: the model by name and by the sha256 of its weights, how it was computed, and what it was asked.

    ``prompt`` is as it was typed; ``version`` is storyteller's.
    """

    model: str
    sha256: str
    precision: str
    device: str
    seed: int
    params: SamplingParams
    prompt: str
    post_process: bool
    version: str = __version__

    @classmethod
    def of(cls, model: LoadedModel, prompt: str, params: SamplingParams, seed: int, *, post_process: bool) -> Recipe:
        """The recipe of what ``model`` is about to tell."""
        return cls(
            model=model.name,
            sha256=model.sha256,
            precision=model.precision,
            device=model.device,
            seed=seed,
            params=params,
            prompt=prompt,
            post_process=post_process,
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self) | {"params": self.params.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of :meth:`to_dict`; raises :class:`DataInvalid` naming what is missing or wrong."""
        kinds = {"seed": int, "params": dict, "post_process": bool}
        for name in (field.name for field in fields(cls)):
            if name not in values:
                raise DataInvalid(f"the recipe lacks {name!r}")
            kind = kinds.get(name, str)
            if not isinstance(values[name], kind) or (kind is int and isinstance(values[name], bool)):
                raise DataInvalid(f"{name!r} in the recipe must be a {kind.__name__}, not {values[name]!r}")
        try:
            params = SamplingParams.from_dict(values["params"])
        except InvalidParams as error:
            raise DataInvalid(f"the recipe's parameters are not usable: {error.message}") from error
        return cls(**{field.name: values[field.name] for field in fields(cls)} | {"params": params})

    def differences(self, other: Recipe) -> list[str]:
        """In words, what ``other`` has otherwise, of all that can change the told story."""
        return [
            f"{name} was {getattr(self, name)}, is {getattr(other, name)}"
            for name in ("sha256", "precision", "device", "version")
            if getattr(self, name) != getattr(other, name)
        ]
