"""The package as it is built and installed: what is in it, and that it works far from the checkout."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "storyteller").rglob("*.py"))
IN_THE_SDIST = ("storyteller", "tests", "models", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", ".gitignore", "PKG-INFO")
IN_A_MODEL = {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "training.json", "train.jsonl", "README.md"}


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(words, capture_output=True, text=True, timeout=250, **more)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> dict[str, Path]:
    """The sdist, and the wheel made of it, of the sources here with a model that is built in no time."""
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("storyteller", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(tiny_checkpoint, source / "models" / "tiny")
    (source / "models" / "default").write_text("tiny\n")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(source / "dist"), str(source))
    return {path.suffix: path for path in (source / "dist").iterdir()}


def test_the_wheel_has_the_package_the_model_and_nothing_stray(built: dict[str, Path]) -> None:
    names = zipfile.ZipFile(built[".whl"]).namelist()
    inside = [name for name in names if ".dist-info/" not in name]
    assert {name.partition("/")[0] for name in inside} == {"storyteller"}
    assert {"storyteller/py.typed", "storyteller/shipped/default", "storyteller/shipped/tiny/model.safetensors"} <= set(inside)
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "storyteller").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {name for name in inside if not name.startswith("storyteller/shipped/")} == here
    assert not [name for name in names if name.endswith((".pyc", ".onnx", ".pt", "trainer.safetensors"))]


def test_the_sdist_can_be_built_and_tested_and_holds_nothing_stray(built: dict[str, Path]) -> None:
    with tarfile.open(built[".gz"]) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
    assert {name.partition("/")[0] for name in names} <= {*IN_THE_SDIST, ""}
    assert {"tests/conftest.py", "models/tiny/config.json", "storyteller/cli/main.py"} <= set(names)


def test_the_checkout_has_no_stray_files_in_its_models() -> None:
    for folder in (path for path in (ROOT / "models").iterdir() if path.is_dir()):
        assert {path.name for path in folder.iterdir()} <= IN_A_MODEL


def test_the_wheel_installs_and_tells_outside_the_checkout(built: dict[str, Path], tmp_path: Path, home: Path) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=os.name != "nt")
    python = next(path for path in (place / "bin" / "python", place / "Scripts" / "python.exe") if path.exists())
    install = ("-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    run(sys.executable, *install, "--disable-pip-version-check", str(built[".whl"]))
    # What it depends on comes from the environment of the tests, behind what was just installed.
    packages = run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    (Path(packages) / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    story = python.with_name("storyteller")
    where = run(str(python), "-c", "import storyteller; print(storyteller.__file__)", cwd=elsewhere).stdout.strip()
    assert Path(where).is_relative_to(place)
    result = run(str(story), "gen", "--seed", "1", "-n", "5", "--quiet", "The fox", cwd=elsewhere)
    assert result.stdout.startswith("The fox")
    assert "tiny (default)" in run(str(story), "models", "list", cwd=elsewhere).stdout
    assert list(elsewhere.iterdir()) == []


def undocumented(tree: ast.Module) -> list[str]:
    """Names of public classes, functions and methods without a docstring."""
    found = [] if ast.get_docstring(tree) else ["the module"]
    holders: list[ast.Module | ast.ClassDef] = [
        tree,
        *(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"),
    ]
    for holder in holders:
        for node in holder.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                # A setter is documented with what it sets.
                setter = any(isinstance(one, ast.Attribute) and one.attr == "setter" for one in node.decorator_list)
                if not ast.get_docstring(node) and not setter:
                    found.append(node.name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_is_documented(path: Path) -> None:
    assert undocumented(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_the_search_for_missing_docstrings_would_find_one() -> None:
    source = '"""Module."""\nclass A:\n    """A."""\n    def f(self): pass\n    def _g(self): pass\ndef h(): pass\n'
    assert undocumented(ast.parse(source)) == ["h", "f"]
    assert undocumented(ast.parse("x = 1")) == ["the module"]
