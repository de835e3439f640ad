"""The group of commands: help in sections, and the one place where an error becomes words and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from storyteller.cli.output import complain
from storyteller.errors import StorytellerError

INTERRUPTED = 130
SHARED = "debug"


class Command(TyperCommand):
    """A command whose options stand in sections, and which understands the group's ``--debug``, too.

    An option that names no environment twin has one by the command's name and its own: STORYTELLER_TRAIN_OUT.
    """

    def __init__(self, name: str | None, **more: Any) -> None:
        super().__init__(name, **more)
        for param in self.params:
            if param.param_type_name == "option" and not param.envvar:
                param.envvar = f"STORYTELLER_{name}_{param.name}".upper().replace("-", "_")

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own parameters, then the shared one, then ``--help``."""
        *own, last = super().get_params(ctx)
        shared = [copy(param) for param in ctx.find_root().command.params if param.name == SHARED]
        for param in shared:
            param.expose_value = False
        return [*own, *shared, last]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options section by section, in the order in which the sections first appear."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if param.param_type_name == "argument" else "Other options"
                sections.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(record)
        sections |= {"Other options": sections.pop("Other options", [])}
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Group(TyperGroup):
    """The root: whatever is raised below it on purpose is told as ``error: …`` and ``hint: …`` on stderr.

    Exit codes are those of :mod:`storyteller.errors`, 2 for usage, 130 for Ctrl-C. Whoever closes the pipe has read enough: that is
    quiet, and no failure.
    """

    debug = False

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the group's own part of the line."""
        with self._in_words():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run what was asked for."""
        with self._in_words():
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except typer.Exit:
            raise
        except (KeyboardInterrupt, typer.Abort):
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Whatever is still buffered would raise once more when the interpreter closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(0) from None
        except StorytellerError as error:
            raise self._failure(error.message, error.hint, error.exit_code) from error
        except typer.TyperException as error:
            raise self._failure(*_usage(error), error.exit_code) from error
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise self._failure(f"{place}{error.strerror or error}", "", 1) from error
        except Exception as error:
            report = "" if self.debug else "run it again with --debug to see where"
            raise self._failure(f"something unforeseen went wrong: {type(error).__name__}: {error}", report, 1) from error

    def _failure(self, message: str, hint: str, exit_code: int) -> typer.Exit:
        if self.debug:
            traceback.print_exc()
        complain(message, hint)
        return typer.Exit(exit_code)


def _usage(error: typer.TyperException) -> tuple[str, str]:
    """Typer's complaint about a command line in our words: message and hint."""
    message = error.format_message().strip()
    near = getattr(error, "possibilities", None)
    if near:
        message = f"no such option: {getattr(error, 'option_name', '')}; did you mean {' or '.join(sorted(near))}?"
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "storyteller"
    hint = f"{where} --help"
    if message.startswith("No such command") and "mean" not in message:
        hint += ', or storyteller gen "…" to tell a story from these words'
    return message[:1].lower() + message[1:], hint
