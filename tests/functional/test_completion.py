"""What the shell offers on Tab: commands, options, and the names that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from storyteller import paths
from storyteller.cli.main import app


@pytest.fixture(autouse=True)
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_checkpoint, paths.models_dir() / "mine")
    shutil.copytree(tiny_checkpoint, paths.models_dir() / "moss")
    paths.config_file().parent.mkdir(parents=True, exist_ok=True)
    paths.config_file().write_text('[styles.bedtime]\ntop_p = 0.5\n[sources]\nbears = "owner/bears"\n')


def offered(line: str) -> list[str]:
    """What bash is told for ``line``, whose last word is not finished."""
    words = line.split(" ")
    variables = {"_STORYTELLER_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(app, [], env=variables, prog_name="storyteller")
    assert result.exit_code == 0
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("storyteller gen -m m", ["mine", "moss"]),
        ("storyteller gen --model mi", ["mine"]),
        ("storyteller models verify mo", ["moss"]),
        ("storyteller models remove mi", ["mine"]),
        ("storyteller gen --style b", ["balanced", "bedtime"]),
        ("storyteller train --preset ", ["base", "small", "tiny"]),
        ("storyteller train --init-from mi", ["mine"]),
        ("storyteller download b", ["bears"]),
        ("storyteller config set sampling.top_", ["sampling.top_k", "sampling.top_p"]),
        ("storyteller con", ["config"]),
        ("storyteller gen --sam", ["--samples"]),
    ],
)
def test_names_are_offered(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


def test_settings_that_cannot_be_read_do_not_disturb_the_shell() -> None:
    paths.config_file().write_text("tempo = -1")
    assert offered("storyteller gen --style w") == ["wild"]
    assert offered("storyteller download b") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_script_for_each_shell(shell: str) -> None:
    variables = os.environ | {"_STORYTELLER_COMPLETE": f"source_{shell}"}
    result = subprocess.run(
        [sys.executable, "-c", "from storyteller.cli.main import run; run()"], env=variables, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0
    assert "_STORYTELLER_COMPLETE" in result.stdout
