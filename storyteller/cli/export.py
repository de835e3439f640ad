"""``storyteller export``: a model in other forms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from storyteller.cli import options
from storyteller.cli.output import say, write, write_json
from storyteller.errors import UsageInvalid
from storyteller.settings import read_settings

EXPORT = "Export"
FORMATS = ("onnx", "onnx-gru", "safetensors")
SCHEMA_VERSION = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    ctx: typer.Context,
    out: Annotated[Path, options.option("--out", "-o", panel=EXPORT, scope="export", metavar="FILE", help="Where to write it.")],
    form: Annotated[
        str,
        options.option(
            "--format",
            panel=EXPORT,
            scope="export",
            metavar="|".join(FORMATS),
            help="onnx: a token at a time; onnx-gru: whole sequences, standard operators only; safetensors: the weights.",
        ),
    ] = "onnx",
    precision: Annotated[
        str | None,
        options.option(
            "--precision", panel=EXPORT, scope="export", metavar="float32|int8|int4", help="Numbers of an onnx graph. Without it: float32."
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        options.option(
            "--dtype", panel=EXPORT, scope="export", metavar="float32|float16", help="Numbers of a safetensors file. Without it: float32."
        ),
    ] = None,
    force: Annotated[bool, options.option("--force", panel=EXPORT, scope="export", help="Write over a file that is there.")] = False,
    model: options.Model = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model in another form, checked against the model before it is written.

    \b
    storyteller export --precision int8 --out story.onnx
    storyteller export --format onnx-gru --out story-gru.onnx
    storyteller export --format safetensors --dtype float16 --out half.safetensors

    Telling stories needs none of these: what it needs is made by itself, once, and kept in the cache.
    """
    from storyteller.checkpoint import export as forms
    from storyteller.checkpoint.format import read_checkpoint
    from storyteller.checkpoint.graph import PRECISIONS
    from storyteller.checkpoint.registry import find
    from storyteller.checkpoint.weights import Stored

    _check("--format", form, FORMATS)
    _check("--precision", precision, PRECISIONS)
    _check("--dtype", dtype, get_args(Stored))
    if precision not in (None, "float32") and form != "onnx":
        raise UsageInvalid(f"{form} has no --precision {precision}", "storyteller export --format onnx --precision int8 --out FILE")
    if dtype not in (None, "float32") and form != "safetensors":
        raise UsageInvalid(f"{form} has no --dtype {dtype}", "storyteller export --format safetensors --dtype float16 --out FILE")
    if out.exists() and not force:
        raise UsageInvalid(f"{out} is already there", "choose another --out, or write over it with --force")
    if not out.parent.is_dir():
        raise UsageInvalid(f"there is no folder {out.parent}", f"mkdir -p {out.parent}")
    checkpoint = read_checkpoint(find(read_settings({"model": model}).model))
    if form == "onnx":
        found = forms.export_onnx(checkpoint, out, precision or "float32")  # type: ignore[arg-type]  # one of PRECISIONS
    elif form == "onnx-gru":
        found = forms.export_onnx_gru(checkpoint, out)
    else:
        found = forms.export_safetensors(checkpoint, out, dtype or "float32")  # type: ignore[arg-type]  # one of Stored
    if as_json:
        figures = {"largest_logit_difference": found.logits, "loss_difference": found.loss, "bytes": out.stat().st_size}
        write_json({"schema_version": SCHEMA_VERSION, "model": checkpoint.name, "sha256": checkpoint.sha256, "file": str(out), **figures})
    else:
        write(f"{out}\n")
        if not quiet:
            say(f"on a sample text a logit differs by at most {found.logits:.1e}, the loss by {found.loss:+.1e} nats per token")


def _check(option: str, value: str | None, legal: tuple[str, ...]) -> None:
    if value is not None and value not in legal:
        raise UsageInvalid(f"{option} must be one of {', '.join(legal)}, not {value!r}")
