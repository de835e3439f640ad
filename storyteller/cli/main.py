"""The command line: ``storyteller``."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from typing import Annotated

import typer

from storyteller import __version__
from storyteller.cli.group import Command, Group
from storyteller.cli.output import is_terminal

COMMANDS = (
    "gen",
    "train",
    "evaluate",
    "figures",
    "export",
    "precisions",
    "bench",
    "download",
    "models",
    "config",
    "options_command",
    "doctor",
)

app = typer.Typer(
    name="storyteller",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"storyteller {__version__}")
        raise typer.Exit


def _turn_on_debug(ctx: typer.Context, value: bool) -> None:
    if value:
        ctx.find_root().command.debug = True  # type: ignore[attr-defined]  # the root is a Group


@app.callback()
def storyteller(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Print the version.")] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="STORYTELLER_DEBUG", callback=_turn_on_debug, is_eager=True, help="Show the traceback of an error."),
    ] = False,
) -> None:
    """A small language model tells stories in the terminal.

    \b
    storyteller gen "A brave knight"
    storyteller gen --samples 3 --style wild "Once upon a time"
    storyteller eval --data stories.jsonl
    storyteller train --dataset sample --preset tiny --out models/mine
    """
    if ctx.invoked_subcommand is None:
        watched = is_terminal(sys.stdin) and is_terminal(sys.stdout)
        typer.echo(ctx.get_help(), err=not watched)
        raise typer.Exit(0 if watched else 2)


for _name in COMMANDS:
    if importlib.util.find_spec(f"storyteller.cli.{_name}"):
        importlib.import_module(f"storyteller.cli.{_name}").register(app)
for _commands in (app, *(_group.typer_instance for _group in app.registered_groups)):
    for _info in _commands.registered_commands if _commands else ():
        _info.cls = Command


def run() -> None:
    """The console's entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(prog_name="storyteller")
