"""Which models there are, and which one is meant.

A name is looked for in ``./models``, then among the user's own models, then among those that came with the package.
Only a name is looked for in ``./models``: no file of the current directory is ever taken unasked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from storyteller import paths
from storyteller.checkpoint.format import CONFIG
from storyteller.errors import CheckpointInvalid, ModelNotFound
from storyteller.settings import read_settings

Origin = Literal["project", "user", "shipped"]
DEFAULT_MARK = "default"
HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be asked for by name; ``default`` marks the shipped one that is taken when none is asked for."""

    name: str
    path: Path
    origin: Origin
    default: bool = False


def list_models() -> list[ModelEntry]:
    """The models that a name can mean, nearest first; one whose name was already taken is left out."""
    found: dict[str, ModelEntry] = {}
    for entry in _entries():
        found.setdefault(entry.name, entry)
    return list(found.values())


def find(model: str | Path | None = None) -> Path:
    """The directory of a model, by path or by name; None takes STORYTELLER_MODEL, the settings', or the shipped default.

    Raises :class:`ModelNotFound`, with the nearest name where there is one, and :class:`CheckpointInvalid` for a pickled file.
    """
    if model is None:
        model = read_settings({}).model
    if model is None:
        return _default()
    given = os.fspath(model)
    path = Path(given).expanduser()
    if path.suffix.lower() in PICKLED and not path.is_dir():
        raise CheckpointInvalid(
            f"{given} is a pickled PyTorch file, and those are never read: they can run any code",
            "storyteller models import FILE turns its weights into a model directory",
        )
    if (path / CONFIG).is_file():
        return path.resolve()
    if path.is_file() and path.suffix == ".safetensors" and (path.parent / CONFIG).is_file():
        return path.parent.resolve()
    if _is_path(model):
        hint = f"storyteller download {given}" if HUB_ID.fullmatch(given) and not path.exists() else _how_to_list()
        raise ModelNotFound(f"{given} holds no model" if path.exists() else f"there is no model at {given}", hint)
    entries = list_models()
    for entry in entries:
        if entry.name == given:
            return entry.path
    if given in read_settings({}).sources:
        raise ModelNotFound(f"the model {given} is not here yet", f"storyteller download {given}")
    near = get_close_matches(given, [entry.name for entry in entries], 1)
    raise ModelNotFound(f"there is no model named {given!r}" + (f"; did you mean {near[0]}?" if near else ""), _how_to_list(entries))


def find_entry(name: str) -> ModelEntry:
    """The model of that name, which is none that only a path can mean; raises :class:`ModelNotFound` as :func:`find` does."""
    path = find(name) if not _is_path(name) else None
    for entry in list_models():
        if path is not None and entry.name == name and entry.path.resolve() == path.resolve():
            return entry
    raise ModelNotFound(f"{name} is no name of a model", _how_to_list())


def _default() -> Path:
    for entry in _entries():
        if entry.default:
            return entry.path
    raise ModelNotFound("no model came with this installation", "name one with --model, or train one: storyteller train --dataset sample")


def _entries() -> Iterator[ModelEntry]:
    shipped = paths.shipped_models_dir()
    places: tuple[tuple[Path, Origin], ...] = (
        (paths.project_models_dir(), "project"),
        (paths.models_dir(), "user"),
        (shipped, "shipped"),
    )
    marked = _default_name(shipped)
    for place, origin in places:
        if origin == "project" and place == shipped:
            continue
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if (path / CONFIG).is_file() and not path.name.startswith("."):
                yield ModelEntry(path.name, path, origin, default=origin == "shipped" and path.name == marked)


def _default_name(shipped: Path) -> str:
    try:
        return (shipped / DEFAULT_MARK).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _is_path(model: str | Path) -> bool:
    given = os.fspath(model)
    return isinstance(model, Path) or given.startswith((".", "~")) or "/" in given or os.sep in given


def _how_to_list(entries: list[ModelEntry] | None = None) -> str:
    names = [entry.name for entry in (list_models() if entries is None else entries)]
    return f"models here: {', '.join(names)}" if names else "no model is here yet: storyteller train --dataset sample --out models/mine"
