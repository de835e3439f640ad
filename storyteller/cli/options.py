"""Options, each defined once: name, environment twin, range and help."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from storyteller.cli import completion
from storyteller.engine.params import RANGES
from storyteller.settings import CHOICES, STYLES

CHOICE = "How the next word is chosen"
LENGTH = "How long"
MODEL = "Model"
OUTPUT = "What is shown"


def option(*names: str, panel: str, help: str, metavar: str | None = None, scope: str = "", **more: Any) -> Any:
    """An option whose environment twin is STORYTELLER_ and its first long name; ``scope`` stands between where the name means several."""
    twin = "_".join(filter(None, ("STORYTELLER", scope, names[0].partition("/")[0].removeprefix("--").replace("-", "_")))).upper()
    return typer.Option(
        *names, envvar=twin, show_envvar=True, show_default=False, rich_help_panel=panel, help=help, metavar=metavar, **more
    )


def parameter(field: str, *names: str, panel: str = CHOICE) -> Any:
    """An option for the sampling parameter ``field``: meaning and legal range are the engine's own, and so is the check."""
    legal = RANGES[field]
    off = f", {legal.off:g} = off" if legal.off is not None else ""
    help = f"{legal.meaning[0].upper()}{legal.meaning[1:]} ({legal.least:,g} to {legal.most:,.15g}{off})."
    return option(*(names or ("--" + field.replace("_", "-"),)), panel=panel, help=help, metavar="NUMBER")


def _lines(ctx: typer.Context, param: typer.CallbackParam, value: list[str] | None) -> list[str] | None:
    """The texts of a repeatable option; in the environment they stand one on a line, for a text may hold spaces."""
    source = ctx.get_parameter_source(param.name or "")
    if source is not None and source.name == "ENVIRONMENT":
        return [line for line in os.environ[str(param.envvar)].splitlines() if line]
    return value


def _choices(name: str) -> str:
    return "|".join(CHOICES[name])


Model = Annotated[
    str | None,
    option(
        "--model",
        "-m",
        panel=MODEL,
        metavar="NAME|DIR",
        autocompletion=completion.models,
        help="The model, by name or directory. Without it: the settings' choice, then the one that came along.",
    ),
]
Precision = Annotated[
    str | None, option("--precision", panel=MODEL, metavar=_choices("precision"), help="Numbers that the network is computed in.")
]
Device = Annotated[
    str | None,
    option("--device", panel=MODEL, metavar=_choices("device"), help="What computes the network; all but the CPU need torch. auto = cpu."),
]
Threads = Annotated[
    str | None, option("--threads", panel=MODEL, metavar="auto|N", help="CPU threads; a story is the same with any number.")
]

Temperature = Annotated[float | None, parameter("temperature", "--temperature", "--temp", "-t")]
TopK = Annotated[int | None, parameter("top_k")]
TopP = Annotated[float | None, parameter("top_p")]
MinP = Annotated[float | None, parameter("min_p")]
TypicalP = Annotated[float | None, parameter("typical_p")]
RepetitionPenalty = Annotated[float | None, parameter("repetition_penalty")]
PresencePenalty = Annotated[float | None, parameter("presence_penalty")]
FrequencyPenalty = Annotated[float | None, parameter("frequency_penalty")]
PenaltyWindow = Annotated[int | None, parameter("penalty_window")]
DryMultiplier = Annotated[float | None, parameter("dry_multiplier")]
DryBase = Annotated[float | None, parameter("dry_base")]
DryAllowedLength = Annotated[int | None, parameter("dry_allowed_length")]
DryWindow = Annotated[int | None, parameter("dry_window")]
NoRepeatNgram = Annotated[int | None, parameter("no_repeat_ngram")]
Ban = Annotated[
    list[str] | None,
    option(
        "--ban", panel=CHOICE, metavar="TEXT", callback=_lines, help="Never tell this text; repeatable (in the environment: a line each)."
    ),
]
Gentle = Annotated[
    bool | None,
    option("--gentle/--no-gentle", panel=CHOICE, help="Ban a list of rude and cruel words. No list makes a model safe for a child alone."),
]
Style = Annotated[
    str | None,
    option(
        "--style",
        panel=CHOICE,
        metavar="|".join(STYLES),
        autocompletion=completion.styles,
        help="A set of parameters by name, your own from the settings among them; single options change it.",
    ),
]
Seed = Annotated[
    int | None,
    option("--seed", "-s", panel=CHOICE, metavar="NUMBER", help="The same seed tells the same story; further samples count on from it."),
]

MaxLen = Annotated[int | None, parameter("max_len", "--max-len", "--max-new-tokens", "-n", panel=LENGTH)]
Until = Annotated[
    str | None,
    option(
        "--until", panel=LENGTH, metavar="length|sentence", help="At --max-len stop at once, or up to 40 tokens later with the sentence."
    ),
]
Stop = Annotated[
    list[str] | None,
    option(
        "--stop", panel=LENGTH, metavar="TEXT", callback=_lines, help="Stop before this text; repeatable (in the environment: a line each)."
    ),
]
IgnoreEnd = Annotated[
    bool | None, option("--ignore-end/--no-ignore-end", panel=LENGTH, help="Never end the story by itself: tell all of --max-len.")
]
Samples = Annotated[
    int,
    option("--samples", panel=LENGTH, metavar="NUMBER", min=1, max=1024, help="How many stories to tell from the same words."),
]

Raw = Annotated[bool, option("--raw", panel=OUTPUT, help="Show what the model says, unmended.")]
Json = Annotated[bool, option("--json", panel=OUTPUT, help="One JSON object instead of text.")]
Stream = Annotated[
    str | None, option("--stream", panel=OUTPUT, metavar="jsonl", help="One JSON object for every token, as it is told, instead of text.")
]
Confidence = Annotated[
    bool,
    option(
        "--confidence",
        panel=OUTPUT,
        help="Colour every token by how likely the model thought it; where there is no colour, ° to °°°° stand after it.",
    ),
]
Stats = Annotated[bool, option("--stats", panel=OUTPUT, help="Speed, perplexity and repetition, to stderr.")]
Tempo = Annotated[
    float | None,
    option("--tempo", panel=OUTPUT, metavar="NUMBER", help="Tokens per second on a terminal; 0 = as fast as it goes. Otherwise 30."),
]
Verbose = Annotated[bool, option("--verbose", "-v", panel=OUTPUT, help="Say which model tells, and each story's recipe, to stderr.")]
Quiet = Annotated[bool, option("--quiet", "-q", panel=OUTPUT, help="Nothing to stderr but warnings and errors.")]
Color = Annotated[str | None, option("--color", panel=OUTPUT, metavar=_choices("color"), help="When to write colours.")]
