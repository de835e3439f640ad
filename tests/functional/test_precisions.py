"""``storyteller precisions``."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from storyteller.cli.main import app


@pytest.fixture
def model(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine"
    shutil.copytree(tiny_checkpoint, path)
    (tmp_path / "held-out.txt").write_text("The fox found a red ball in the grass.\n\nThey played all day and went home.\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORYTELLER_CACHE_DIR", str(tmp_path / "cache"))
    return path


def precisions(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["precisions", "--model", "./mine", "--data", "held-out.txt", *arguments])


def test_the_figures_are_kept_with_the_model(model: Path) -> None:
    result = precisions("--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["stories"] == 2 and set(told["figures"]) == {"float32", "int8", "int4"}
    kept = json.loads((model / "training.json").read_text())["precisions"]
    assert kept == {key: told[key] for key in ("weights", "stories", "tokens", "figures")}
    assert "reading 2 stories in int8" in result.stderr


def test_nothing_is_kept_unasked(model: Path) -> None:
    before = (model / "training.json").read_bytes()
    result = precisions("--no-keep", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\nauto: " in result.stdout and "int4" in result.stdout
    assert (model / "training.json").read_bytes() == before
