"""``storyteller download``: bring a model here."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from storyteller.cli import completion, options
from storyteller.cli.output import is_terminal, say, write, write_json
from storyteller.errors import UsageInvalid
from storyteller.settings import read_settings

if TYPE_CHECKING:
    from storyteller.checkpoint.download import Plan
    from storyteller.checkpoint.fetch import Progress

SCHEMA_VERSION = 1
WHAT = "What to bring"
EVERY = 0.1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("download")(download)


def download(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="owner/model on the Hub, an https address, a folder or archive, or a name from the settings; without it: what is here.",
            autocompletion=completion.sources,
        ),
    ] = None,
    name: Annotated[
        str | None, options.option("--name", panel=WHAT, scope="download", metavar="NAME", help="What to call it here.")
    ] = None,
    revision: Annotated[
        str | None, options.option("--revision", panel=WHAT, scope="download", metavar="NAME", help="A branch, tag or commit of the Hub.")
    ] = None,
    sha256: Annotated[
        str | None,
        options.option(
            "--sha256",
            panel=WHAT,
            scope="download",
            metavar="HEX",
            help="What an address must give: an archive's checksum, or that of config.json where the address ends with /.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, options.option("--dry-run", panel=WHAT, scope="download", help="Say what would be brought, and stop.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Bring a model here: from the Hub, an https address, an archive or a folder.

    \b
    storyteller download owner/model
    storyteller download https://example.org/bears.tar.gz --sha256 9f86d081…
    storyteller download ./models/mine --name bears
    storyteller download owner/model --dry-run
    storyteller download

    A broken download goes on where it broke off, and nothing counts as a model before every byte was checked. Models of the Hub use its
    own login and variables: hf auth login, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE. Names for sources go into the settings, under [sources].
    """
    from storyteller.checkpoint import download as bringing

    known = read_settings().sources
    if source is None:
        if any((name, revision, sha256, dry_run)):
            raise UsageInvalid("there is no source to bring it from", bringing.HOW)
        _show_what_is_here(as_json=as_json)
        return
    planned = bringing.plan(bringing.parse_source(source, known, name=name, revision=revision, sha256=sha256))
    if dry_run:
        if as_json:
            write_json({"schema_version": SCHEMA_VERSION, **planned.to_dict()})
        else:
            write(_in_words(planned))
        return
    meter = _Meter(quiet=quiet)
    place = bringing.download(planned, meter.show)
    meter.end()
    if as_json:
        from storyteller.checkpoint.format import read_checkpoint

        write_json({"schema_version": SCHEMA_VERSION, **planned.to_dict(), "sha256": read_checkpoint(place).sha256})
    else:
        write(f"{place}\n")
    if not quiet:
        say(f"{place.name} {'was here already' if planned.here else 'is here, every byte checked'}: storyteller gen -m {place.name}")


def _show_what_is_here(*, as_json: bool) -> None:
    from storyteller.checkpoint.download import HOW
    from storyteller.checkpoint.registry import list_models

    entries, known = list_models(), read_settings().sources
    if as_json:
        values = {"models": [{"name": one.name, "path": str(one.path), "origin": one.origin} for one in entries], "sources": dict(known)}
        write_json({"schema_version": SCHEMA_VERSION, **values})
        return
    wide = max(map(len, [*(entry.name for entry in entries), *known, "shipped"]))
    for title, origin in (("shipped", "shipped"), ("here", "project"), ("yours", "user")):
        found = [entry for entry in entries if entry.origin == origin]
        write(f"{title}\n" + "".join(f"  {one.name:<{wide}}  {one.path}\n" for one in found) if found else "")
    if known:
        write("can be downloaded by name\n" + "".join(f"  {one:<{wide}}  {place}\n" for one, place in known.items()))
    say(f"to bring another: {HOW}; to give it a name: storyteller config set sources.NAME owner/model")


def _in_words(planned: Plan) -> str:
    lines = [f"from  {planned.source.location}", f"to    {planned.target}{' (is there already)' if planned.here else ''}"]
    lines += [f"      {name}  {_megabytes(size)}" for name, size in planned.files.items()]
    lines.append(f"size  {'not known' if planned.size is None else _megabytes(planned.size)}, {_megabytes(planned.free)} free")
    return "\n".join(lines) + "\n"


class _Meter:
    """Shows how far a download is: one moving line on a terminal, else a line for each file that came."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.moving = is_terminal(sys.stderr)
        self.file = ""
        self.begun = (0.0, 0)
        self.shown = 0.0

    def show(self, progress: Progress) -> None:
        """Take note of where a file is."""
        if self.quiet:
            return
        now = time.monotonic()
        if progress.file != self.file:
            self.end()
            self.file, self.begun = progress.file, (now, progress.done)
        whole = progress.total is not None and progress.done >= progress.total
        if self.moving and (whole or now - self.shown > EVERY):
            self.shown = now
            sys.stderr.write(f"\r\x1b[K{_line(progress, now - self.begun[0], progress.done - self.begun[1])}")
            sys.stderr.flush()
        elif not self.moving and whole:
            say(f"{progress.file}  {_megabytes(progress.done)}")

    def end(self) -> None:
        """End the moving line."""
        if self.moving and self.file and not self.quiet:
            sys.stderr.write("\n")


def _line(progress: Progress, seconds: float, came: int) -> str:
    speed = came / seconds if seconds > 0 else 0.0
    parts = [progress.file, _megabytes(progress.done)]
    if progress.total:
        parts[1] += f" of {_megabytes(progress.total)} ({progress.done / progress.total:.0%})"
    if speed:
        parts.append(f"{_megabytes(round(speed))}/s")
        if progress.total:
            parts.append(f"{(progress.total - progress.done) / speed:.0f} s left")
    return "  ".join(parts)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"
