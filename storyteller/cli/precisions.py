"""``storyteller precisions``: what a model loses in int8 and int4, and how fast it is then."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from storyteller.cli import options
from storyteller.cli.output import say, write, write_json
from storyteller.settings import read_settings

NAMED = ("tinystories", "sample")
SCHEMA_VERSION = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("precisions")(precisions)


def precisions(
    data: Annotated[
        str,
        options.option(
            "--data", panel="Data", metavar="FILE|tinystories|sample", help="Stories that the model was not trained on.", scope="precisions"
        ),
    ],
    max_stories: Annotated[
        int, options.option("--max-stories", panel="Data", scope="precisions", metavar="NUMBER", min=1, help="Read no more than this many.")
    ] = 400,
    keep: Annotated[
        bool,
        options.option("--keep/--no-keep", panel="Data", scope="precisions", help="Keep the figures with the model, for --precision auto."),
    ] = True,
    model: options.Model = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model in float32, int8 and int4, and keep the figures with it.

    \b
    storyteller precisions --data valid.jsonl
    storyteller precisions --model models/mine --data valid.jsonl --json

    From then on --precision auto takes the fastest that costs at most 0.01 nats per token.
    """
    from storyteller.checkpoint.format import read_checkpoint
    from storyteller.checkpoint.precision import FIGURES, choose_precision, keep_precisions, measure_precisions
    from storyteller.checkpoint.registry import find
    from storyteller.paths import cache_dir
    from storyteller.training.filehash import FileHashes
    from storyteller.training.sources import Source, open_source

    checkpoint = read_checkpoint(find(read_settings({"model": model}).model))
    source = Source(
        kind=data if data in NAMED else "file",  # type: ignore[arg-type]  # the two names are kinds
        location="" if data in NAMED else data,
        max_stories=max_stories,
        split="validation" if data == "tinystories" else "train",
    )
    texts = list(islice(open_source(source, FileHashes(cache_dir())).texts(), max_stories))
    figures = measure_precisions(checkpoint, texts, cache_dir(), (lambda line: None) if quiet else say)
    if keep:
        keep_precisions(checkpoint, figures)
    choice = choose_precision({FIGURES: figures}, checkpoint.sha256)
    if as_json:
        write_json({"schema_version": SCHEMA_VERSION, "model": checkpoint.name, "auto": choice.precision, **figures})
    else:
        write(_table(figures["figures"]) + f"auto: {choice.precision}, {choice.reason}\n")


def _table(figures: dict[str, Any]) -> str:
    lines = [f"{'':<8} {'loss':>9} {'tokens/s':>9}"]
    for precision, entry in figures.items():
        lines.append(f"{precision:<8} {entry['loss_difference']:>+9.5f} {entry['tokens_per_second']:>9,.0f}")
    return "\n".join(lines) + "\n"
