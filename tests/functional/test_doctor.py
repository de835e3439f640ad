"""``storyteller doctor``: all that a report of a fault needs, and an exit code that says whether there is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from storyteller import __version__, paths
from storyteller.cli import doctor
from storyteller.cli.main import app


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "SELF_TEST_SECONDS", 0.01)


def report(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    assert (result.exit_code, result.stderr) == (code, "")
    values: dict[str, Any] = json.loads(result.stdout)
    assert values["ok"] is (code == 0)
    return values


def test_a_report_has_versions_devices_paths_models_and_a_self_test(tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, paths.models_dir() / "mine")
    values = report("-m", "mine")
    assert values["storyteller"]["version"] == __version__
    assert values["packages"]["typer"][0].isdigit()
    assert "ONNX Runtime" in values["devices"]["cpu"]
    assert values["paths"]["models"] == str(paths.models_dir())
    assert "user" in values["models"]["mine"]
    assert values["self-test"]["model"] == "mine"
    assert values["self-test"]["tokens"] > 0


def test_it_is_written_for_people_too(tiny_checkpoint: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "-m", str(tiny_checkpoint)])
    assert result.exit_code == 0
    assert f"storyteller\n  version         {__version__}\n" in result.stdout
    assert "self-test\n  model           tiny\n" in result.stdout


def test_no_model_is_no_fault_but_a_damaged_one_is(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "shipped_models_dir", lambda: tmp_path / "none")
    assert "no model" in report()["self-test"]["skipped"]
    shutil.copytree(tiny_checkpoint, paths.models_dir() / "mine")
    (paths.models_dir() / "mine" / "tokenizer.json").write_text("{}")
    assert "damaged" in report(code=1)["models"]["error"]
    assert "damaged" in report("-m", "mine", code=1)["self-test"]["error"]


def test_settings_that_cannot_be_read_are_told_and_not_fallen_over(monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text("tempo = -1\n")
    assert "tempo must be a number" in report(code=1)["settings"]["error"]


def test_a_token_of_the_hub_is_never_told(monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    result = CliRunner().invoke(app, ["doctor", "-m", str(tiny_checkpoint)])
    assert "hf_secret" not in result.output
