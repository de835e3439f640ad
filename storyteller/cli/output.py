"""What may be written where: stories and data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import IO, Any

from storyteller.controls import shown


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether somebody looks at ``stream``; a closed one is none."""
    return stream is not None and not stream.closed and stream.isatty()


def wants_color(choice: str, stream: IO[str], environ: Mapping[str, str] | None = None) -> bool:
    """Whether to write colours: ``choice`` always or never; auto asks NO_COLOR, FORCE_COLOR, TERM=dumb, and then the terminal."""
    environ = os.environ if environ is None else environ
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") != "dumb" and is_terminal(stream)


def say(text: str) -> None:
    """A line to stderr."""
    sys.stderr.write(shown(text) + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """A warning to stderr."""
    say(f"warning: {text}")


def complain(message: str, hint: str = "") -> None:
    """An error in words to stderr, and what to do about it."""
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")


def write(text: str) -> None:
    """A part of the story, or data, to stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(value: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """One JSON object to stdout; ``indent`` None puts it on one line."""
    write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
