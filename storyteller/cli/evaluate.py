"""``storyteller eval``: how well a model predicts a text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyteller.cli import options
from storyteller.cli.output import is_terminal, say, warn, write, write_json
from storyteller.errors import DataInvalid, DownloadFailed
from storyteller.settings import read_settings

if TYPE_CHECKING:
    from storyteller.training.sources import OpenedSource

DATA = "Data"
NAMED = ("tinystories", "sample")
SCHEMA_VERSION = 1
REPORT_EVERY = 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)


def evaluate(
    ctx: typer.Context,
    data: Annotated[
        str,
        options.option(
            "--data",
            panel=DATA,
            metavar="FILE|tinystories|sample",
            help="Stories: a .txt, .csv, .jsonl or .parquet file, a folder of these, or a name.",
        ),
    ],
    text_column: Annotated[
        str | None,
        options.option(
            "--text-column", panel=DATA, metavar="NAME", help="The column that holds the text; otherwise text, story, or the only one."
        ),
    ] = None,
    separator: Annotated[
        str | None,
        options.option(
            "--separator",
            panel=DATA,
            metavar="TEXT|blank-lines|whole-file",
            help="What parts the stories of a .txt file; otherwise <|endoftext|> if it holds that, else blank lines.",
        ),
    ] = None,
    max_stories: Annotated[
        int | None, options.option("--max-stories", panel=DATA, metavar="NUMBER", min=1, help="Read no more than this many.")
    ] = None,
    model: options.Model = None,
    precision: options.Precision = None,
    device: options.Device = None,
    threads: options.Threads = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure how well a model predicts a text.

    \b
    storyteller eval --data stories.jsonl
    storyteller eval --model models/mine --data tinystories
    storyteller eval --json --data sample > figures.json

    Bits per byte compares models of any vocabulary: fewer are better. Each story is read from a fresh state, its end included.
    """
    from storyteller.checkpoint.load import load
    from storyteller.engine.evaluate import evaluate as measure
    from storyteller.paths import cache_dir
    from storyteller.training.filehash import FileHashes
    from storyteller.training.sources import Source, open_source

    settings = read_settings({name: ctx.params[name] for name in ("model", "precision", "device", "threads")})
    notify = (lambda line: None) if quiet else say
    threads_used = settings.threads or os.cpu_count()
    loaded = load(settings.model, precision=settings.precision, device=settings.device, threads=threads_used, notify=notify)
    source = Source(
        kind=data if data in NAMED else "file",  # type: ignore[arg-type]  # the two names are kinds
        location="" if data in NAMED else data,
        text_column=text_column,
        separator=separator,
        max_stories=max_stories,
        split="validation" if data == "tinystories" else "train",
    )
    try:
        opened = open_source(source, FileHashes(cache_dir()))
        _warn_if_trained_on(loaded.checkpoint.training, opened)
        figures = asdict(measure(loaded, _counted(opened.texts(), quiet=quiet)))
    except DownloadFailed as error:
        raise DownloadFailed(error.message, "storyteller eval --data FILE needs no network, and neither does --data sample") from error
    if as_json:
        write_json({"schema_version": SCHEMA_VERSION, "model": loaded.name, "sha256": loaded.sha256, "data": data, **figures})
    else:
        write("".join(f"{name:<15} {_figure(value)}\n" for name, value in figures.items()))


def _warn_if_trained_on(training: Mapping[str, Any], opened: OpenedSource) -> None:
    from storyteller.training.fingerprint import Fingerprint

    data = training.get("data")
    if not isinstance(data, dict) or "fingerprint" not in data:
        return
    try:
        fingerprint = Fingerprint.from_json(data["fingerprint"])
    except DataInvalid as error:
        warn(f"training.json cannot say whether the model was trained on this: {error.message}")
        return
    share = fingerprint.overlap(opened.texts())
    if set(fingerprint.files.values()) & {file.sha256 for file in opened.files}:
        warn(f"the model was trained on these very files ({share:.0%} of the stories): the figures say how well it remembers them")
    elif share:
        warn(f"the model was trained on {share:.1%} of these stories: the figures say how well it remembers them")


def _counted(texts: Iterator[str], *, quiet: bool) -> Iterator[str]:
    """The texts; on a terminal their number is shown while they are read."""
    watched = is_terminal(sys.stderr) and not quiet
    for number, text in enumerate(texts, 1):
        if watched and number % REPORT_EVERY == 0:
            sys.stderr.write(f"\r{number:,} stories")
            sys.stderr.flush()
        yield text
    if watched:
        sys.stderr.write("\r\x1b[K")


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
