"""``storyteller config``: what it shows, what it changes, and what it leaves alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from storyteller import paths
from storyteller.cli.main import app
from storyteller.settings import read_settings


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "storyteller.toml"


def config(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", *arguments])


def written(*arguments: str) -> str:
    result = config(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_path_prints_one_path_and_makes_nothing(project: Path) -> None:
    assert written("path") == f"{paths.config_file()}\n"
    assert written("path", "--project") == f"{project}\n"
    assert not paths.config_file().parent.exists()


def test_every_path() -> None:
    values = json.loads(written("path", "--all", "--json"))
    assert values.pop("schema_version") == 1
    assert values["cache"] == str(paths.cache_dir())
    lines = dict(line.split(maxsplit=1) for line in written("path", "--all").splitlines())
    assert lines == values


@pytest.mark.parametrize("arguments", [(), ("show",)])
def test_show_names_the_origin_of_each_value(project: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    written("set", "tempo", "5")
    written("set", "--project", "sampling.top_k", "7")
    written("set", "--project", "styles.bedtime.top_p", "0.5")
    monkeypatch.setenv("STORYTELLER_COLOR", "never")
    monkeypatch.setenv("STORYTELLER_MIN_P", "0.1")
    lines = {line.split()[0]: line for line in written(*arguments).splitlines()}
    assert lines["tempo"].split() == ["tempo", "5.0", str(paths.config_file())]
    assert lines["color"].split() == ["color", '"never"', "STORYTELLER_COLOR"]
    assert lines["model"].split() == ["model", "-", "default"]
    assert lines["sampling.top_k"].split() == ["sampling.top_k", "7", str(project)]
    assert lines["sampling.min_p"].split() == ["sampling.min_p", '"0.1"', "STORYTELLER_MIN_P"]
    assert lines["styles.bedtime"].endswith(f"{{ top_p = 0.5 }}  {project}")


def test_show_as_json() -> None:
    written("set", "sampling.stop", '["The end"]')
    values = json.loads(written("show", "--json"))["settings"]
    assert values["sampling.stop"] == {"value": ["The end"], "origin": str(paths.config_file())}
    assert values["threads"] == {"value": "auto", "origin": "default"}


def test_set_keeps_comments_and_order(project: Path) -> None:
    project.write_text("# mine\ntempo = 3  # slow\n\n[sampling]  # over the model's\ntop_k = 4\n", encoding="utf-8")
    written("set", "--project", "tempo", "0")
    written("set", "--project", "model", "7")
    written("set", "--project", "styles.bedtime.temperature", "0.6")
    text = project.read_text(encoding="utf-8")
    assert text.startswith("# mine\ntempo = 0  # slow\n")
    assert "[sampling]  # over the model's\ntop_k = 4\n" in text
    settings = read_settings()
    assert (settings.tempo, settings.model, settings.styles) == (0.0, "7", {"bedtime": {"temperature": 0.6}})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("temop", "3"), "did you mean tempo?"),
        (("tempo", "soon"), "tempo must be a number from 0"),
        (("tempo", "-1"), "tempo must be a number from 0"),
        (("sampling.topk", "3"), "did you mean top_k?"),
        (("sampling.top_k", "1.5"), "top_k must be a whole number"),
        (("styles.x.top_p", "2"), "top_p must be a number from 0 to 1"),
        (("sampling", "3"), "a table of sampling parameters"),
    ],
)
def test_set_refuses_what_is_not_legal_and_changes_nothing(arguments: tuple[str, ...], words: str) -> None:
    result = config("set", "--", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert not paths.config_file().exists()


def test_unset_takes_a_value_out_and_tables_that_are_empty_then(project: Path) -> None:
    for key, value in (("tempo", "0"), ("styles.bedtime.top_p", "0.5"), ("styles.bedtime.top_k", "4")):
        written("set", "--project", key, value)
    written("unset", "--project", "styles.bedtime.top_p")
    assert read_settings().styles == {"bedtime": {"top_k": 4}}
    written("unset", "--project", "styles.bedtime.top_k")
    assert "styles" not in project.read_text(encoding="utf-8")
    written("unset", "--project", "tempo")
    assert read_settings().origins["tempo"] == "default"


@pytest.mark.parametrize("key", ["tempo", "styles.bedtime.top_p", "nonsense"])
def test_unset_of_what_is_not_set(key: str) -> None:
    result = config("unset", key)
    assert result.exit_code == 2
    assert f"does not set {key}" in result.stderr


def test_a_file_that_is_no_toml_is_left_alone() -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text("tempo = = 3\n", encoding="utf-8")
    result = config("set", "tempo", "1")
    assert result.exit_code == 2
    assert "is not TOML" in result.stderr
    assert paths.config_file().read_text(encoding="utf-8") == "tempo = = 3\n"


def edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    script = tmp_path / "an editor.py"
    script.write_text(f"import pathlib, sys\nfile = pathlib.Path(sys.argv[1])\n{code}\n", encoding="utf-8")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}'")


def test_edit_keeps_what_is_legal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits(tmp_path, monkeypatch, "file.write_text(file.read_text() + 'tempo = 9\\n')")
    result = config("edit")
    assert (result.exit_code, result.stdout) == (0, "")
    assert read_settings().tempo == 9
    assert paths.config_file().read_text(encoding="utf-8").startswith("# Settings of storyteller")


def test_edit_keeps_nothing_that_is_not_legal_but_loses_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("set", "tempo", "1")
    edits(tmp_path, monkeypatch, "file.write_text('tempo = -4  # my long work')")
    result = config("edit")
    assert result.exit_code == 2
    assert "tempo must be a number from 0" in result.stderr
    draft = Path(result.stderr.rpartition("your text is kept in ")[2].strip())
    assert draft.read_text(encoding="utf-8") == "tempo = -4  # my long work"
    assert read_settings().tempo == 1
    draft.unlink()


def test_an_editor_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits(tmp_path, monkeypatch, "file.write_text('tempo = 4'); sys.exit(3)")
    result = config("edit")
    assert result.exit_code == 1
    assert "code 3" in result.stderr
    assert not paths.config_file().exists()


def test_without_an_editor_edit_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setenv("PATH", "")
    result = config("edit")
    assert result.exit_code == 2
    assert "EDITOR=nano storyteller config edit" in result.stderr
