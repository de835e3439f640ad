"""``storyteller options``: every parameter, for people and for programs."""

from __future__ import annotations

from typing import Annotated

import typer

from storyteller.cli import options
from storyteller.cli.output import write, write_json
from storyteller.errors import UsageInvalid


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("options")(list_options)


def list_options(
    ctx: typer.Context,
    as_json: options.Json = False,
    markdown: Annotated[
        bool, options.option("--markdown", panel=options.OUTPUT, scope="options", help="The tables of the README's reference.")
    ] = False,
) -> None:
    """List every parameter with its type, range, default and meaning.

    \b
    storyteller options
    storyteller options --json > options.json
    """
    from storyteller.cli.catalogue import TITLES, parameters, to_json, to_markdown

    if as_json and markdown:
        raise UsageInvalid("--json and --markdown are two ways to write the same: choose one")
    found = parameters(ctx.find_root().command.commands)  # type: ignore[attr-defined]  # the root is a Group
    if as_json:
        write_json(to_json(found))
    elif markdown:
        write(to_markdown(found))
    else:
        wide = max(len(one.name) for one in found)
        for section in TITLES:
            write(f"{section}\n")
            write("".join(f"  {one.name:<{wide}}  {one.meaning} ({one.legal})\n" for one in found if one.section == section))
