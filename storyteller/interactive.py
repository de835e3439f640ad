"""A plain conversation, line by line: a line that is no command is how the next story begins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING

from storyteller.controls import shown
from storyteller.engine.params import SamplingParams
from storyteller.errors import StorytellerError, UsageInvalid

if TYPE_CHECKING:
    from typing import TextIO

    from storyteller.generator import StoryGenerator

HELP = """\
Type how a story begins, and it is told on from there; an empty line tells one from nothing. Ctrl-C stops a story.
  temp 0.7   how daring the choice is: 0 always takes the likeliest word
  len 200    how many tokens at most
  topk 40    choose among the 40 likeliest tokens; 0 = all
  topp 0.9   choose among the likeliest that hold nine tenths of the probability; 1 = all
  seed 7     tell the next story with this seed; seed alone goes back to a new one each time
  retry      tell the last one again with the next seed
  help       this
  quit       leave
A beginning that looks like a command is told after a backslash: \\help
"""
PARAMETERS: dict[str, tuple[str, Callable[[str], int | float]]] = {
    "temp": ("temperature", float),
    "len": ("max_len", int),
    "topk": ("top_k", int),
    "topp": ("top_p", float),
}
ALONE = ("help", "quit", "exit", "retry", "seed")
PROMPT = "> "


def converse(teller: StoryGenerator, input: TextIO | None = None, output: TextIO | None = None) -> None:
    """Read lines from ``input`` (default stdin) until ``quit`` or its end, and write stories and answers to ``output`` (default stdout)."""
    conversation = Conversation(teller, output or sys.stdout)
    source = input or sys.stdin
    conversation.write(f"{teller.model.name}. Type how a story begins, or help.\n")
    while not conversation.over:
        conversation.write(PROMPT)
        try:
            line = source.readline()
        except KeyboardInterrupt:
            line = ""
        if not line:
            conversation.write("\n")
            return
        conversation.hear(line.rstrip("\r\n"))


class Conversation:
    """What was said so far: the parameters, the seed, and the last beginning."""

    def __init__(self, teller: StoryGenerator, output: TextIO) -> None:
        self.over = False
        self.params: SamplingParams = teller.params()
        self._teller = teller
        self._output = output
        self._seed: int | None = None
        self._last: tuple[str, int] | None = None

    def write(self, text: str) -> None:
        """Write at once."""
        self._output.write(text)
        self._output.flush()

    def hear(self, line: str) -> None:
        """Answer one line; an error is answered in words."""
        try:
            self._obey(line)
        except StorytellerError as error:
            self.write(f"{error.message}\n")

    def _obey(self, line: str) -> None:
        word, _, value = line.strip().partition(" ")
        name, value = word.lower(), value.strip()
        if name in PARAMETERS and value and " " not in value:
            self._set(name, value)
        elif name == "seed" and " " not in value:
            self._seed = int(_number(name, value, int)) if value else None
            self.write("seed: a new one each time\n" if self._seed is None else f"seed: {self._seed}\n")
        elif value or name not in (*ALONE, *PARAMETERS):
            near = get_close_matches(name, (*ALONE, *PARAMETERS), 1, 0.75) if not value and name else []
            if near:
                self.write(f"(told as a beginning; did you mean {near[0]}?)\n")
            self._tell(line.removeprefix("\\"), self._seed)
        elif name in PARAMETERS:
            self.write(f"{name}: {getattr(self.params, PARAMETERS[name][0]):g}\n")
        elif name == "help":
            self.write(HELP)
        elif name == "retry":
            self._retry()
        else:
            self.over = True

    def _set(self, name: str, value: str) -> None:
        field, kind = PARAMETERS[name]
        number = _number(name, value, kind)
        self.params = SamplingParams.from_dict(self.params.to_dict() | {field: number})
        self.write(f"{name}: {number:g}\n")

    def _retry(self) -> None:
        if self._last is None:
            raise UsageInvalid("nothing was told yet: type how a story begins")
        prompt, seed = self._last
        self._tell(prompt, seed + 1)

    def _tell(self, prompt: str, seed: int | None) -> None:
        steps = self._teller.stream(prompt, params=self.params, seed=seed, alternatives=0)
        self.write(shown(prompt.rstrip(" \t")))
        with suppress(KeyboardInterrupt):
            for step in steps:
                self.write(shown(step.text))
        told = self._teller.last_seed
        self._last = (prompt, told or 0)
        self.write(f"\n(seed {told})\n")


def _number(name: str, value: str, kind: Callable[[str], int | float]) -> int | float:
    try:
        return kind(value)
    except ValueError:
        raise UsageInvalid(f"{name} takes a number, not {value!r}") from None
