"""``storyteller export``."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from storyteller.cli.main import app


@pytest.fixture(autouse=True)
def model(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORYTELLER_MODEL", str(tiny_checkpoint))
    return tiny_checkpoint


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments])


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--precision", "int8"],
        ["--precision", "int4"],
        ["--format", "onnx-gru"],
        ["--format", "safetensors"],
        ["--format", "safetensors", "--dtype", "float16"],
    ],
)
def test_the_file_is_written_and_named(tmp_path: Path, options: list[str]) -> None:
    result = export("--out", "exported", *options)
    assert (result.exit_code, result.stdout) == (0, "exported\n")
    assert "loss by" in result.stderr
    assert (tmp_path / "exported").stat().st_size > 1000


def test_json_has_the_figures(tmp_path: Path) -> None:
    result = export("--out", "m.onnx", "--json")
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert figures["file"] == "m.onnx" and figures["bytes"] == (tmp_path / "m.onnx").stat().st_size
    assert 0 < figures["largest_logit_difference"] < 1e-3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "f", "--format", "gguf"], "onnx-gru"),
        (["--out", "f", "--precision", "auto"], "float32, int8, int4"),
        (["--out", "f", "--dtype", "float16"], "safetensors"),
        (["--out", "f", "--format", "onnx-gru", "--precision", "int8"], "onnx-gru has no"),
        (["--out", "nowhere/f"], "mkdir"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, arguments: list[str], words: str) -> None:
    result = export(*arguments)
    assert result.exit_code == 2 and result.stdout == ""
    assert words in result.stderr
    assert not list(tmp_path.glob("f"))


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    assert export("--out", "f").exit_code == 2
    assert (tmp_path / "f").read_text() == "mine"
    assert export("--out", "f", "--force").exit_code == 0
    assert (tmp_path / "f").stat().st_size > 1000
