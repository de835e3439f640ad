"""``storyteller gen``: tell a story."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyteller.cli import options
from storyteller.cli.face import Face
from storyteller.cli.output import say
from storyteller.cli.prompt import read_prompt
from storyteller.engine.params import SamplingParams
from storyteller.errors import UsageInvalid
from storyteller.settings import Settings, read_settings, sampling_params

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel
    from storyteller.cli.stories import Stories

MANY = "Many at once"
PARAMETERS = tuple(field.name for field in fields(SamplingParams))
FIXED_BY_A_RECIPE = (*PARAMETERS, "prompt", "style", "seed", "samples", "raw", "precision", "device")
HIGHEST_RANDOM_SEED = 10**9


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gen")(gen)


def gen(
    ctx: typer.Context,
    prompt: Annotated[
        str | None,
        typer.Argument(help="How the story begins; - reads stdin, and so does a pipe without it. On a terminal: from nothing."),
    ] = None,
    temperature: options.Temperature = None,
    style: options.Style = None,
    seed: options.Seed = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    typical_p: options.TypicalP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = None,
    frequency_penalty: options.FrequencyPenalty = None,
    penalty_window: options.PenaltyWindow = None,
    dry_multiplier: options.DryMultiplier = None,
    dry_base: options.DryBase = None,
    dry_allowed_length: options.DryAllowedLength = None,
    dry_window: options.DryWindow = None,
    no_repeat_ngram: options.NoRepeatNgram = None,
    ban: options.Ban = None,
    gentle: options.Gentle = None,
    max_len: options.MaxLen = None,
    until: options.Until = None,
    stop: options.Stop = None,
    ignore_end: options.IgnoreEnd = None,
    samples: options.Samples = 1,
    model: options.Model = None,
    precision: options.Precision = None,
    device: options.Device = None,
    threads: options.Threads = None,
    confidence: options.Confidence = False,
    stats: options.Stats = False,
    as_json: options.Json = False,
    stream: options.Stream = None,
    raw: options.Raw = False,
    tempo: options.Tempo = None,
    color: options.Color = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    replay: Annotated[
        Path | None,
        options.option(
            "--replay", panel=options.OUTPUT, metavar="FILE", help="Tell the stories of a --json file again, or say what differs."
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        options.option(
            "--prompts",
            panel=MANY,
            metavar="FILE",
            help='Tell from each line of a JSONL file, "text" or {"prompt": "text"}; - reads stdin.',
        ),
    ] = None,
    out: Annotated[
        Path | None,
        options.option("--out", "-o", panel=MANY, scope="gen", metavar="FILE", help="Where to write them, a JSON object a line; goes on."),
    ] = None,
    shard: Annotated[
        str | None, options.option("--shard", panel=MANY, scope="gen", metavar="i/n", help="Tell only every n-th prompt, from the i-th on.")
    ] = None,
) -> None:
    """Tell a story.

    \b
    storyteller gen "A brave knight"
    storyteller gen --samples 3 --style wild --max-len 100 "Once upon a time"
    echo "The little fox" | storyteller gen --quiet > fox.txt
    storyteller gen --confidence --seed 7 "Lily found a key"
    storyteller gen --json "A dragon" > dragon.json; storyteller gen --replay dragon.json
    storyteller gen --prompts prompts.jsonl --samples 4 --out stories.jsonl

    The story goes to stdout and nothing else does: first the prompt, then what the model tells; --- stands between several.
    """
    if as_json and stream:
        raise UsageInvalid("--json and --stream are two ways to write the same: choose one")
    if stream not in (None, "jsonl"):
        raise UsageInvalid(f"--stream knows jsonl only, not {stream!r}")
    settings = read_settings({name: ctx.params[name] for name in ("model", "style", "precision", "device", "threads", "color", "tempo")})
    face = Face(settings, as_json=as_json, stream=stream is not None, confidence=confidence, stats=stats, verbose=verbose, quiet=quiet)
    if prompts is not None:
        _tell_many(ctx, prompts, out, shard, settings)
        return
    if out is not None or shard is not None:
        raise UsageInvalid("--out and --shard go with --prompts", 'storyteller gen "…" > FILE')
    if replay is not None:
        _replay(ctx, replay, settings, face)
        return
    words = read_prompt(prompt)
    loaded = _load(settings.model, settings.precision, settings.device, settings.threads, quiet=quiet)
    params = sampling_params(loaded.generation, loaded.styles, settings, overrides=_overrides(ctx.params))
    face.tell(_stories(loaded, words, params, _first_seed(seed), samples, post_process=not raw))


def _tell_many(ctx: typer.Context, prompts: str, out: Path | None, shard: str | None, settings: Settings) -> None:
    from storyteller.cli.batch import Batch, Shard

    given = ctx.params
    for name in ("prompt", "replay", "stream", "as_json", "confidence", "stats"):
        if given[name]:
            raise UsageInvalid(f"--prompts writes a JSON object for each story, so {name.removeprefix('as_')} does not go with it")
    part = Shard() if shard is None else Shard.parse(shard)
    loaded = _load(settings.model, settings.precision, settings.device, settings.threads, quiet=given["quiet"])
    params = sampling_params(loaded.generation, loaded.styles, settings, overrides=_overrides(given))
    Batch(loaded, params, not given["raw"], given["samples"], given["seed"]).run(prompts, out, part, quiet=given["quiet"])


def _load(model: str | None, precision: str, device: str, threads: int | None, *, quiet: bool) -> LoadedModel:
    from storyteller.checkpoint.load import load

    notify = (lambda line: None) if quiet else say
    return load(model, precision=precision, device=device, threads=threads, notify=notify)


def _overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in PARAMETERS if given.get(name) not in (None, [])}


def _first_seed(seed: int | None) -> int:
    return secrets.randbelow(HIGHEST_RANDOM_SEED) if seed is None else seed


def _stories(model: LoadedModel, prompt: str, params: SamplingParams, seed: int, samples: int, *, post_process: bool) -> Stories:
    from storyteller.cli.stories import Stories
    from storyteller.engine.generate import sample_seeds
    from storyteller.recipe import Recipe

    return Stories(model, [Recipe.of(model, prompt, params, one, post_process=post_process) for one in sample_seeds(seed, samples)])


def _replay(ctx: typer.Context, path: Path, settings: Settings, face: Face) -> None:
    from storyteller.cli.replay import again, check_same, read_told

    for name in FIXED_BY_A_RECIPE:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageInvalid(f"a replay tells what was told, so {name.replace('_', '-')} cannot be chosen with --replay")
    chosen = settings.model if ctx.params["model"] else None
    told = read_told(path)
    stories = again(told, lambda one: _load(chosen or one.model, one.precision, one.device, settings.threads, quiet=ctx.params["quiet"]))
    face.tell(stories)
    for then, now in zip(told, stories.told, strict=True):
        check_same(then, now)
