"""Where the first words of a story come from."""

from __future__ import annotations

import sys

from storyteller.cli.output import is_terminal, say
from storyteller.errors import DataInvalid

STDIN = "-"


def read_prompt(argument: str | None) -> str:
    """The prompt: ``argument``, or stdin for ``-`` or for a pipe without an argument; on a terminal without one, nothing.

    With an argument stdin is not touched. One line break at the end of stdin is not part of the prompt; bytes of an argument that are
    no UTF-8 become U+FFFD, on stdin they raise :class:`DataInvalid`.
    """
    if argument is not None and argument != STDIN:
        return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if sys.stdin is None or sys.stdin.closed:
        return ""
    if is_terminal(sys.stdin):
        if argument is None:
            return ""
        say("type how the story begins; Ctrl-D on a new line ends it")
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataInvalid(f"what stdin holds is not UTF-8 text (byte {error.start})") from error
    return text.removesuffix("\n").removesuffix("\r")
