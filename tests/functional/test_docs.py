"""What the documents say is so: the examples in docstrings run, and README's commands exist."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from storyteller.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "storyteller"
WITH_EXAMPLES = sorted(path for path in PACKAGE.rglob("*.py") if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", [module_name(path) for path in WITH_EXAMPLES])
def test_examples_in_docstrings_are_true(name: str, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(name), extraglobs={"model": tiny_checkpoint})
    assert results.attempted > 0
    assert results.failed == 0


def test_there_are_examples_for_the_public_api() -> None:
    assert {"storyteller", "storyteller.generator"} <= {module_name(path) for path in WITH_EXAMPLES}


def commands_of(text: str) -> list[list[str]]:
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    parts = [part for line in lines for part in re.split(r"[|;]|&&", line.partition(" #")[0])]
    return [words for words in (shlex.split(part.partition(" > ")[0]) for part in parts) if words[:1] == ["storyteller"]]


COMMANDS = commands_of((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_in_the_readme_exist_with_their_options(words: list[str]) -> None:
    group = get_command(app)
    context = group.make_context("storyteller", words[1:], resilient_parsing=True)
    if len(words) == 1 or words[1].startswith("-"):
        return
    name, command, rest = group.resolve_command(context, words[1:])  # type: ignore[attr-defined]
    if hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, rest)
    known = {option for param in [*command.params, *group.params] for option in param.opts} | {"--help", "-h"}
    assert {word for word in rest if re.match(r"-{1,2}[a-z]", word)} <= known, name


def test_the_readme_has_commands() -> None:
    assert COMMANDS
