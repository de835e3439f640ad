"""The Python API: a model that tells stories."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from storyteller.checkpoint.load import LoadedModel, load
from storyteller.engine.generate import generate as tell
from storyteller.engine.generate import score as score_text
from storyteller.engine.generate import stream as tell_stepwise
from storyteller.engine.params import SamplingParams
from storyteller.engine.steps import Step
from storyteller.errors import UsageInvalid
from storyteller.settings import read_settings, sampling_params

if TYPE_CHECKING:
    from typing import TextIO


class StoryGenerator:
    """A model that is loaded and ready to tell.

    ``model`` is a name ("tinystories-small"), a path of a model's directory, a :class:`~storyteller.checkpoint.load.LoadedModel`, or
    None for STORYTELLER_MODEL, the settings' choice, or the model that comes with the package, in this order.
    ``precision``, ``device`` and ``threads`` are those of :func:`~storyteller.checkpoint.load.load`, whose errors it raises:
    :class:`~storyteller.errors.ModelNotFound` where no such model is, :class:`~storyteller.errors.CheckpointInvalid` where one is damaged
    (and for pickled PyTorch files, which are never read).

    >>> teller = StoryGenerator(model)
    >>> teller
    StoryGenerator('tiny')
    """

    def __init__(
        self,
        model: str | Path | LoadedModel | None = None,
        *,
        precision: str | None = None,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.settings = read_settings({"precision": precision, "device": device, "threads": threads})
        if isinstance(model, LoadedModel):
            self.model = model
        else:
            chosen = self.settings.model if model is None else model
            self.model = load(chosen, precision=self.settings.precision, device=self.settings.device, threads=self.settings.threads)
        self.last_seed: int | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model.name!r})"

    def params(
        self,
        base: SamplingParams | None = None,
        *,
        style: str | None = None,
        max_len: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> SamplingParams:
        """The parameters of a telling: ``base``, or the model's own, the settings' and those of ``style``; over them what is not None.

        Raises :class:`~storyteller.errors.InvalidParams` naming the legal range, :class:`~storyteller.errors.UsageInvalid` for an
        unknown style, or one beside a ``base``, which leaves it nothing to say.

        >>> teller = StoryGenerator(model)
        >>> teller.params(style="careful", max_len=100).max_len
        100
        """
        given = {"max_len": max_len, "temperature": temperature, "top_k": top_k, "top_p": top_p}
        overrides = {name: value for name, value in given.items() if value is not None}
        if base is None:
            return sampling_params(self.model.generation, self.model.styles, self.settings, style=style, overrides=overrides)
        if style is not None:
            raise UsageInvalid("params and style are two ways to say the same: choose one")
        return SamplingParams.from_dict(base.to_dict() | overrides)

    def generate(
        self,
        prompt: str = "",
        *,
        max_len: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        style: str | None = None,
        params: SamplingParams | None = None,
        seed: int | None = None,
        post_process: bool = True,
        trim: bool = False,
    ) -> str:
        """Tell a story and return it, the prompt included (without spaces at its end).

        ``max_len`` counts new tokens. What is None is left to the model, the settings and ``style``; ``params`` has all the other
        parameters, and the single arguments change it, see :meth:`params`. Without ``seed`` a random one is taken, which
        :attr:`last_seed` then holds. ``post_process=False`` leaves the text as the model says it; ``trim=True`` cuts an unfinished
        story after its last sentence.

        >>> teller = StoryGenerator(model)
        >>> story = teller.generate(prompt="The fox", max_len=12, temperature=0.7, top_p=0.9, seed=7)
        >>> story == teller.generate(prompt="The fox", max_len=12, temperature=0.7, top_p=0.9, seed=7)
        True
        """
        chosen = self.params(params, style=style, max_len=max_len, temperature=temperature, top_k=top_k, top_p=top_p)
        return tell(self.model, prompt, chosen, self._seed(seed), post_process=post_process, trim=trim)

    def stream(
        self,
        prompt: str = "",
        *,
        max_len: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        style: str | None = None,
        params: SamplingParams | None = None,
        seed: int | None = None,
        post_process: bool = True,
        alternatives: int = 10,
    ) -> Iterator[Step]:
        """Tell a story token by token: one :class:`~storyteller.engine.steps.Step` each, the prompt not included.

        The arguments are those of :meth:`generate`; each step holds the ``alternatives`` most likely tokens.

        >>> teller = StoryGenerator(model)
        >>> steps = list(teller.stream("The fox", max_len=5, seed=7))
        >>> "The fox" + "".join(step.text for step in steps) == teller.generate("The fox", max_len=5, seed=7)
        True
        """
        chosen = self.params(params, style=style, max_len=max_len, temperature=temperature, top_k=top_k, top_p=top_p)
        return tell_stepwise(self.model, prompt, chosen, self._seed(seed), post_process=post_process, alternatives=alternatives)

    def score(self, text: str) -> Iterator[Step]:
        """What the model thinks of a text that somebody wrote: one step for each of its tokens, and one for the end of the story.

        >>> teller = StoryGenerator(model)
        >>> "".join(step.text for step in teller.score("The fox ran."))
        'The fox ran.'
        """
        return score_text(self.model, text)

    def interactive(self, input: TextIO | None = None, output: TextIO | None = None) -> None:
        """Ask for beginnings and tell on from them, line by line, until ``quit`` or the end of ``input`` (default: stdin, to stdout).

        Other lines are commands: ``help`` lists them.
        """
        from storyteller.interactive import converse

        converse(self, input, output)

    def _seed(self, seed: int | None) -> int:
        self.last_seed = secrets.randbelow(10**9) if seed is None else seed
        return self.last_seed
