"""What an analysis hands out: a frozen record of arrays and plain values, which any tool can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from storyteller.checkpoint.files import replace_file, replace_text
from storyteller.errors import DataInvalid

SCHEMA_VERSION = 1


class Record:
    """Base of all records; a subclass is a frozen dataclass of arrays, mappings of names to arrays, and JSON values (tuples for lists).

    :meth:`save` writes the arrays to ``STEM.npz`` and everything else to ``STEM.json``, equal records to equal bytes;
    :meth:`load` reads them back.
    """

    def save(self, stem: Path) -> tuple[Path, Path]:
        """Write ``STEM.npz`` and ``STEM.json`` and return their paths; an array in a mapping has the name ``field/key``."""
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        values: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                arrays[field.name] = value
            elif isinstance(value, Mapping) and value and all(isinstance(item, np.ndarray) for item in value.values()):
                arrays |= {f"{field.name}/{key}": item for key, item in value.items()}
            else:
                values[field.name] = value
        table, text = _with_suffix(stem, ".npz"), _with_suffix(stem, ".json")
        stem.parent.mkdir(parents=True, exist_ok=True)
        replace_file(table, lambda fresh: _save_arrays(fresh, arrays))
        document = {"schema_version": SCHEMA_VERSION, "kind": type(self).__name__, **values}
        replace_text(text, json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
        return table, text

    @classmethod
    def load(cls, stem: Path) -> Self:
        """The record that was saved at ``stem``; raises :class:`DataInvalid` if it is of another kind or newer."""
        document = json.loads(_with_suffix(stem, ".json").read_text(encoding="utf-8"))
        if document.pop("kind", None) != cls.__name__ or document.pop("schema_version", None) != SCHEMA_VERSION:
            raise DataInvalid(f"{stem} holds no {cls.__name__} of schema version {SCHEMA_VERSION}")
        values = {name: _tuples(value) for name, value in document.items()}
        with np.load(_with_suffix(stem, ".npz"), allow_pickle=False) as arrays:
            for name in arrays.files:
                field, _, key = name.partition("/")
                if key:
                    values.setdefault(field, {})[key] = arrays[name]
                else:
                    values[field] = arrays[name]
        return cls(**values)


def _with_suffix(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
