"""``storyteller models``: the models that are here; what they are, whether they are whole, and how to bring and remove them."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from storyteller import paths
from storyteller.cli import completion, options
from storyteller.cli.output import is_terminal, say, write, write_json
from storyteller.controls import shown
from storyteller.errors import StorytellerError, UsageInvalid

if TYPE_CHECKING:
    from storyteller.checkpoint.facts import Facts
    from storyteller.checkpoint.format import Checkpoint

SCHEMA_VERSION = 1
WHAT = "What to do"

app = typer.Typer(cls=TyperGroup, rich_markup_mode=None, invoke_without_command=True)

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]", help="A model, by name or directory; without it, the one that gen tells with.", autocompletion=completion.models
    ),
]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="models")


@app.callback()
def models(ctx: typer.Context) -> None:
    """List, examine, bring and remove models.

    \b
    storyteller models list
    storyteller models info mine
    storyteller models verify mine
    storyteller models import gru_story_model.pt --tokenizer tokenizer.json
    """
    if ctx.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the models that gen and the others know by name.

    \b
    storyteller models list
    storyteller models list --json
    """
    from storyteller.checkpoint.facts import facts
    from storyteller.checkpoint.registry import list_models

    found = [facts(entry) for entry in list_models()]
    if as_json:
        write_json({"schema_version": SCHEMA_VERSION, "models": [one.to_dict() for one in found]})
    elif not found:
        say("no model is here yet; train one: storyteller train --dataset sample --out models/mine")
    else:
        header = ("name", "parameters", "vocabulary", "size", "made for", "bits per byte", "where")
        rows = [header, *(_row(one) for one in found)]
        wide = [max(len(row[column]) for row in rows) for column in range(len(header))]
        for row in rows:
            write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, wide, strict=True)).rstrip() + "\n")
        for one in found:
            if one.problem:
                say(f"{one.name}: {one.problem}")


@app.command("info")
def info(model: Name = None, as_json: options.Json = False) -> None:
    """Show what a model is: architecture, training, figures, whether it is whole, and its card.

    \b
    storyteller models info mine
    storyteller models info --json mine
    """
    from storyteller.checkpoint.facts import card, checks
    from storyteller.checkpoint.format import read_checkpoint

    checkpoint = read_checkpoint(_path(model))
    examined = [asdict(check) for check in checks(checkpoint.path)]
    if as_json:
        values = {"config": checkpoint.config.to_dict(), "generation": checkpoint.generation.to_dict(), "training": checkpoint.training}
        write_json({"schema_version": SCHEMA_VERSION, **_about(checkpoint), **values, "checks": examined, "card": card(checkpoint)})
        return
    config = checkpoint.config
    tied = "tied to the embedding" if config.tie_weights else "of its own"
    lines = {
        **{name: value for name, value in _about(checkpoint).items() if value is not None},
        "architecture": f"embedding {config.embed_dim} → {config.num_layers} × GRU {config.hidden_dim} → output layer {tied}",
        "training": _training(checkpoint),
        **{f"check: {check['what']}": check["found"] for check in examined},
    }
    wide = max(map(len, lines))
    safe = shown if is_terminal(sys.stdout) else str
    write("".join(f"{name:<{wide}}  {safe(_figure(value))}\n" for name, value in lines.items()))
    write("\n" + safe(card(checkpoint)))


@app.command("path")
def path(model: Name = None) -> None:
    """Print a model's directory.

    \b
    storyteller models path mine
    """
    write(f"{_path(model)}\n")


@app.command("verify")
def verify(model: Name = None, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Read every byte of a model, and compare the graphs made of it with its weights; exit code 4 if something is wrong.

    \b
    storyteller models verify mine
    storyteller models verify --json models/mine
    """
    from storyteller.checkpoint.facts import checks

    place = _path(model)
    examined = []
    for check in checks(place):
        examined.append(asdict(check))
        if not (as_json or quiet):
            write(f"right  {check.what}: {check.found}\n")
    if as_json:
        write_json({"schema_version": SCHEMA_VERSION, "path": str(place), "checks": examined})


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of your own models.", autocompletion=completion.models)],
    yes: Annotated[bool, options.option("--yes", "-y", panel=WHAT, scope="models", help="Do not ask.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Delete a model of yours, and what was made of it in the cache.

    \b
    storyteller models remove mine
    storyteller models remove --yes mine
    """
    from storyteller.checkpoint.facts import facts
    from storyteller.checkpoint.registry import find_entry

    entry = find_entry(name)
    if entry.origin == "shipped":
        raise UsageInvalid(f"{name} came with the package, and goes with it", "pip uninstall storyteller")
    found = facts(entry)
    if not yes:
        if not is_terminal(sys.stdin):
            raise UsageInvalid("nobody is here to be asked whether to delete it", f"storyteller models remove --yes {name}")
        if not typer.confirm(f"Delete {entry.path} ({_size(found.size)})?", err=True):
            raise typer.Exit(1)
    _delete(entry.path, found)
    if not quiet:
        say(f"{entry.path} is gone")


@app.command("push")
def push(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model, by name or directory.", autocompletion=completion.models)],
    repository: Annotated[str, typer.Argument(metavar="OWNER/MODEL", help="Its name on the Hugging Face Hub.")],
    private: Annotated[
        bool, options.option("--private", panel=WHAT, scope="models", help="If it is not there yet, make it one that only you see.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Upload a model to the Hugging Face Hub, card included, after every byte was checked.

    \b
    storyteller models push mine owner/mine
    storyteller models push models/mine owner/mine --private

    The login is that of the Hub: hf auth login, or HF_TOKEN.
    """
    from storyteller.checkpoint import hub
    from storyteller.checkpoint.format import verify as read_all

    checkpoint = read_all(_path(model))
    hub.make_repository(repository, private=private)
    write(f"{hub.push(checkpoint.path, repository)}\n")
    if not quiet:
        say(f"bring it back with: storyteller download {repository}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A PyTorch file with a state dict: torch.save(model.state_dict(), FILE).")],
    tokenizer: Annotated[
        Path, options.option("--tokenizer", panel=WHAT, scope="models", metavar="FILE", help="Its tokenizer.json, a byte-level BPE.")
    ],
    name: Annotated[
        str | None, options.option("--name", panel=WHAT, scope="models", metavar="NAME", help="What to call it; otherwise as the file.")
    ] = None,
    out: Annotated[
        Path | None,
        options.option("--out", "-o", panel=WHAT, scope="models", metavar="DIR", help="Where to write it; otherwise among your models."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Turn the weights of a PyTorch file into a model; nothing in the file is run.

    \b
    storyteller models import gru_story_model.pt --tokenizer tokenizer.json
    storyteller models import gru_story_model.pt --tokenizer tokenizer.json --out models/old
    """
    from storyteller.checkpoint.importing import import_pytorch

    place = out if out is not None else paths.models_dir() / (name or file.stem)
    if place.exists():
        raise UsageInvalid(f"{place} is already there", "choose another --name or --out")
    checkpoint = import_pytorch(file, tokenizer, place)
    write(f"{checkpoint.path}\n")
    if not quiet:
        say(f"{checkpoint.config.parameters:,} parameters; its logits are those that torch computes with the tensors of {file.name}")


def _path(model: str | None) -> Path:
    from storyteller.checkpoint.registry import find

    return find(model)


def _about(checkpoint: Checkpoint) -> dict[str, Any]:
    from storyteller.checkpoint.facts import bits_per_byte, directory_size

    return {
        "name": checkpoint.name,
        "path": str(checkpoint.path),
        "parameters": checkpoint.config.parameters,
        "vocabulary": checkpoint.config.vocab_size,
        "size": directory_size(checkpoint.path),
        "sha256": checkpoint.sha256,
        "bits_per_byte": bits_per_byte(checkpoint),
    }


def _training(checkpoint: Checkpoint) -> str:
    figures = checkpoint.training.get("figures")
    if not isinstance(figures, dict) or "iterations" not in figures:
        return "not known"
    return f"{_figure(figures['iterations'])} iterations, {_figure(figures.get('tokens'))} tokens"


def _row(one: Facts) -> tuple[str, ...]:
    if one.problem:
        return (one.name, "damaged", "", _size(one.size), "", "", str(one.path))
    return (
        one.name + (" (default)" if one.default else ""),
        f"{one.parameters:,}",
        f"{one.vocab_size:,}",
        _size(one.size),
        ", ".join(one.precisions) or "-",
        "-" if one.bits_per_byte is None else f"{one.bits_per_byte:.4f}",
        f"{one.path} ({one.origin})",
    )


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"


def _figure(value: Any) -> str:
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else f"{value:.4f}"
        if isinstance(value, float)
        else str(value)
    )


def _delete(place: Path, found: Facts) -> None:
    from storyteller.checkpoint.derived import remove_derived

    if place.is_symlink():
        place.unlink()
    else:
        # Under a name that no search finds, so that an interruption leaves no half of a model.
        gone = place.with_name(f".{place.name}.removed")
        try:
            if gone.exists():
                shutil.rmtree(gone)
            shutil.rmtree(place.rename(gone))
        except OSError as error:
            raise StorytellerError(f"{place} cannot be deleted: {error.strerror or error}") from error
    if found.sha256:
        remove_derived(found.sha256, paths.cache_dir())
