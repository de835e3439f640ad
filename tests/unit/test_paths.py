"""Where things live."""

from __future__ import annotations

from pathlib import Path

import pytest

from storyteller import paths


def test_folders_are_those_of_the_user(home: Path) -> None:
    assert paths.config_file() == home / ".config/storyteller/config.toml"
    assert paths.models_dir() == home / ".local/share/storyteller/models"
    assert paths.stories_dir() == home / ".local/share/storyteller/stories"


@pytest.mark.parametrize(
    ("variable", "function"),
    [
        ("STORYTELLER_DATA_DIR", paths.data_dir),
        ("STORYTELLER_CONFIG_DIR", paths.config_dir),
        ("STORYTELLER_CACHE_DIR", paths.cache_dir),
        ("STORYTELLER_STORIES_DIR", paths.stories_dir),
    ],
)
def test_a_variable_moves_a_folder(variable: str, function: object, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert callable(function)
    before = function()
    monkeypatch.setenv(variable, "~/elsewhere")
    assert function() == home / "elsewhere" != before
    monkeypatch.setenv(variable, "")
    assert function() == before


def test_nothing_is_made_by_asking(home: Path) -> None:
    for function in (paths.data_dir, paths.config_dir, paths.models_dir, paths.stories_dir, paths.config_file):
        function()
    assert list(home.iterdir()) == []


def test_shipped_models_lie_in_an_installed_package_or_beside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "storyteller"
    package.mkdir()
    monkeypatch.setattr(paths, "PACKAGE", package)
    assert paths.shipped_models_dir() == tmp_path / "models"
    (package / "shipped").mkdir()
    assert paths.shipped_models_dir() == package / "shipped"
