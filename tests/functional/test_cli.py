"""The command line as a whole: help, version, exit codes, environment twins."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from storyteller import __version__
from storyteller.cli.group import Command, Group
from storyteller.cli.main import app
from storyteller.errors import DownloadFailed

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
EVERY: dict[tuple[str, ...], Any] = {(name,): command for name, command in COMMANDS.items()} | {
    (group, name): command for group, holder in COMMANDS.items() for name, command in getattr(holder, "commands", {}).items()
}
"""All commands by the words that call them, those of groups included."""


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "storyteller", *arguments], capture_output=True, text=True, timeout=60, **more)


@pytest.mark.parametrize("spelling", ["--version", "-V"])
def test_version(spelling: str) -> None:
    result = run(spelling)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"storyteller {__version__}\n", "")


@pytest.mark.parametrize("spelling", ["--help", "-h"])
def test_help_lists_the_commands(spelling: str) -> None:
    result = run(spelling)
    assert (result.returncode, result.stderr) == (0, "")
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


def test_without_a_command_and_a_terminal_help_goes_to_stderr_with_code_2() -> None:
    result = run(stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: storyteller")


def test_without_a_command_on_a_terminal_help_is_shown() -> None:
    main, other = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "storyteller"], stdin=other, stdout=other, stderr=subprocess.DEVNULL)
    os.close(other)
    shown = os.read(main, 60)
    while True:
        try:
            shown += os.read(main, 4096)
        except OSError:
            break
    os.close(main)
    assert process.wait(timeout=60) == 0
    assert shown.startswith(b"Usage: storyteller")


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_help_of_a_command_begins_with_examples(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "-h"])
    assert result.exit_code == 0
    example, options = result.stdout.find(f"\n  storyteller {' '.join(command)}"), result.stdout.find("--help")
    assert 0 < example < options


def options() -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in EVERY.items():
        for param in command.params:
            if param.param_type_name == "option":
                yield name, param


@pytest.mark.parametrize(("command", "option"), list(options()), ids=lambda value: getattr(value, "name", None) or " ".join(value))
def test_every_option_has_a_twin_in_the_environment_and_shows_it(command: tuple[str, ...], option: Any) -> None:
    assert option.envvar.startswith("STORYTELLER_")
    shown = " ".join(CliRunner().invoke(app, [*command, "--help"], terminal_width=200).stdout.split())
    assert f"[env var: {option.envvar}" in shown


def test_a_twin_means_the_same_thing_in_every_command() -> None:
    twins: dict[str, tuple[str, frozenset[str]]] = {}
    for _, option in options():
        choices = frozenset(option.metavar.split("|")) if "|" in (option.metavar or "") else frozenset()
        assert twins.setdefault(option.envvar, (option.opts[0], choices)) == (option.opts[0], choices)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gne",), "did you mean 'gen'?"),
        (("Once upon a time",), 'storyteller gen "…"'),
        (("--nope",), "no such option: --nope"),
        (("gen", "one", "two"), "unexpected extra argument"),
    ],
)
def test_usage_errors_say_what_was_meant(arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert "hint: storyteller" in result.stderr
    assert words.lower() in result.stderr.lower()


def raised(error: Callable[[], BaseException], *arguments: str) -> Any:
    """What the boundary makes of an error that a command raises."""
    broken = typer.Typer(cls=Group, rich_markup_mode=None)

    @broken.callback()
    def root() -> None:
        """Hold the command."""

    @broken.command("fall", cls=Command)
    def fall() -> None:
        raise error()

    return CliRunner().invoke(broken, ["fall", *arguments])


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (lambda: DownloadFailed("no network", "storyteller download"), 5, "error: no network\nhint: storyteller download\n"),
        (lambda: FileNotFoundError(2, "No such file or directory", "a.txt"), 1, "error: a.txt: No such file or directory\n"),
        (
            lambda: ZeroDivisionError("by zero"),
            1,
            "error: something unforeseen went wrong: ZeroDivisionError: by zero\nhint: run it again with --debug to see where\n",
        ),
        (KeyboardInterrupt, 130, ""),
        (typer.Abort, 130, ""),
        (BrokenPipeError, 0, ""),
        (lambda: typer.Exit(7), 7, ""),
    ],
)
def test_an_error_becomes_words_and_a_code(
    error: Callable[[], BaseException], code: int, stderr: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "dup2", lambda *arguments: None)
    result = raised(error)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", stderr)


def test_an_error_never_carries_control_characters_to_the_terminal() -> None:
    assert raised(lambda: DownloadFailed("\x1b]0;title\x07")).stderr == "error: \ufffd]0;title\ufffd\n"
