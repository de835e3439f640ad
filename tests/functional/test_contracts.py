"""The floors of the house, and that the contracts which hold them would notice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "storyteller", folder / "storyteller", ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_imports_go_downward_only(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("engine/params.py", "import storyteller.settings", "floors"),
        ("checkpoint/load.py", "import storyteller.cli.output", "floors"),
        ("engine/params.py", "import typer", "typer"),
        ("cli/output.py", "import click", "click"),
        ("engine/params.py", "import torch", "torch"),
        ("generator.py", "import torch", "torch"),
        ("cli/output.py", "import textual.app", "textual"),
        ("generator.py", "def f() -> None:\n    import matplotlib", "matplotlib"),
    ],
)
def test_an_import_that_goes_the_wrong_way_is_noticed(copy: Path, module: str, line: str, contract: str) -> None:
    path = copy / "storyteller" / module
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{text}\n{line}\n", encoding="utf-8")
        result = lint(copy)
    finally:
        path.write_text(text, encoding="utf-8")
    assert result.returncode != 0
    broken = [found for found in result.stdout.splitlines() if "BROKEN" in found]
    assert any(contract in found for found in broken), result.stdout
