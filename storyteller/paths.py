"""Where models, settings, the cache and stories live on this machine.

The folders are those of the operating system (``platformdirs``: XDG on Linux). Each can be moved by an environment variable::

    STORYTELLER_DATA_DIR     models that were downloaded or trained
    STORYTELLER_CONFIG_DIR   config.toml
    STORYTELLER_CACHE_DIR    what can be made again: ONNX graphs, encoded corpora
    STORYTELLER_STORIES_DIR  stories that were told

Nothing here touches the disk; a caller that writes makes the folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP = "storyteller"
PROJECT_FILE = "storyteller.toml"
PACKAGE = Path(__file__).resolve().parent


def data_dir() -> Path:
    """The user's data."""
    return _moved("STORYTELLER_DATA_DIR") or platformdirs.user_data_path(APP, appauthor=False)


def config_dir() -> Path:
    """The user's settings."""
    return _moved("STORYTELLER_CONFIG_DIR") or platformdirs.user_config_path(APP, appauthor=False)


def cache_dir() -> Path:
    """What can be made again."""
    return _moved("STORYTELLER_CACHE_DIR") or platformdirs.user_cache_path(APP, appauthor=False)


def stories_dir() -> Path:
    """Stories that were told."""
    return _moved("STORYTELLER_STORIES_DIR") or data_dir() / "stories"


def models_dir() -> Path:
    """The user's models, one directory each."""
    return data_dir() / "models"


def shipped_models_dir() -> Path:
    """The models that came with the package: inside it when installed, beside it in a checkout."""
    inside = PACKAGE / "shipped"
    return inside if inside.is_dir() else PACKAGE.parent / "models"


def project_models_dir() -> Path:
    """``models`` in the current directory, which is searched by name only."""
    return Path.cwd() / "models"


def config_file() -> Path:
    """The user's settings file."""
    return config_dir() / "config.toml"


def project_file() -> Path:
    """The settings file of the project in the current directory."""
    return Path.cwd() / PROJECT_FILE


def _moved(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    return Path(value).expanduser() if value else None
