"""``storyteller figures``: how the model tells stories, in pictures and in numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyteller.cli import options
from storyteller.cli.output import is_terminal, say, warn, write
from storyteller.errors import DataInvalid, StorytellerError, UsageInvalid
from storyteller.settings import read_settings

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel
    from storyteller.figures.gallery import Exhibit
    from storyteller.training.fingerprint import Fingerprint

FIGURES = "Figures"
ABOUT = "What they are about"
FORMATS = ("png", "svg", "pdf")
THEMES = ("light", "dark", "paper")
METHODS = ("tsne", "pca", "umap")
HELD_OUT_STORIES = 60
REPORT = "report.html"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("figures")(figures)


def figures(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Figures to draw, see --list.", show_default=False)] = None,
    every: Annotated[bool, options.option("--all", panel=FIGURES, scope="figures", help="Draw the five figures.")] = False,
    extra: Annotated[bool, options.option("--extra", panel=FIGURES, scope="figures", help="Draw the further ones, too.")] = False,
    listing: Annotated[bool, options.option("--list", panel=FIGURES, scope="figures", help="Say which figures there are.")] = False,
    out: Annotated[
        Path, options.option("--out", "-o", panel=FIGURES, scope="figures", metavar="DIR", help="Where to write them. Without it: figures.")
    ] = Path("figures"),
    form: Annotated[
        str, options.option("--format", panel=FIGURES, scope="figures", metavar="|".join(FORMATS), help="Without it: png.")
    ] = "png",
    dpi: Annotated[
        int,
        options.option("--dpi", panel=FIGURES, scope="figures", metavar="NUMBER", min=50, max=1200, help="Dots per inch. Without it: 200."),
    ] = 200,
    theme: Annotated[
        str, options.option("--theme", panel=FIGURES, scope="figures", metavar="|".join(THEMES), help="Without it: light.")
    ] = "light",
    data: Annotated[
        bool, options.option("--data", panel=FIGURES, scope="figures", help="Write the numbers of each figure beside it: npz and JSON.")
    ] = False,
    report: Annotated[
        bool, options.option("--report", panel=FIGURES, scope="figures", help="All of them on one HTML page, with explanations.")
    ] = False,
    prompt: Annotated[
        str | None,
        options.option("--prompt", panel=ABOUT, scope="figures", metavar="TEXT", help="The beginning for dynamics, confidence, diversity."),
    ] = None,
    text: Annotated[
        str | None, options.option("--text", panel=ABOUT, scope="figures", metavar="TEXT", help="The text that importance explains.")
    ] = None,
    target: Annotated[
        str | None,
        options.option("--target", panel=ABOUT, scope="figures", metavar="WORD", help="Explain this next word, not the likeliest one."),
    ] = None,
    contrast: Annotated[
        str | None,
        options.option("--contrast", panel=ABOUT, scope="figures", metavar="WORD", help="Explain why the next word is not this one."),
    ] = None,
    held_out: Annotated[
        str | None,
        options.option(
            "--held-out",
            panel=ABOUT,
            scope="figures",
            metavar="FILE|sample|none",
            help="Unseen stories for calibration. Without it: sample.",
        ),
    ] = None,
    method: Annotated[
        str,
        options.option("--method", panel=ABOUT, scope="figures", metavar="|".join(METHODS), help="Layout of embedding. Without it: tsne."),
    ] = "tsne",
    seed: Annotated[
        int,
        options.option("--seed", "-s", panel=ABOUT, metavar="NUMBER", min=0, help="The same seed draws the same figures. Without it: 0."),
    ] = 0,
    model: options.Model = None,
    precision: options.Precision = None,
    device: options.Device = None,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw how the model tells stories: publication-grade figures, each with its definitions.

    \b
    storyteller figures --all
    storyteller figures importance --text "The dog saw the" --target cat --contrast dog
    storyteller figures embedding --method pca --format svg --theme paper
    storyteller figures --all --extra --data --report --out my-figures

    The paths of what was written go to stdout, one a line.
    """
    from storyteller.checkpoint.load import load

    for name, value, legal in (("--format", form, FORMATS), ("--theme", theme, THEMES), ("--method", method, METHODS)):
        if value not in legal:
            raise UsageInvalid(f"{name} must be one of {', '.join(legal)}, not {value!r}")
    from storyteller.figures.gallery import EXHIBITS, Request, save_page
    from storyteller.figures.theme import styled, theme_named

    if listing:
        width = max(len(exhibit.name) for exhibit in EXHIBITS)
        write("".join(f"{exhibit.name:<{width}}  {exhibit.meaning}{'  (extra)' if exhibit.extra else ''}\n" for exhibit in EXHIBITS))
        return
    chosen = _chosen(names or [], every, extra)
    settings = read_settings({name: ctx.params[name] for name in ("model", "precision", "device", "threads")})
    notify = (lambda line: None) if quiet else say
    loaded = load(settings.model, precision=settings.precision, device=settings.device, threads=settings.threads, notify=notify)
    unseen = _held_out(loaded, held_out) if any(exhibit.name == "confidence" for exhibit in chosen) else None
    request = Request(
        prompt=prompt,
        text=text,
        seed=seed,
        method=method,  # type: ignore[arg-type]  # checked above
        target=target,
        contrast=contrast,
        held_out=None if unseen is None else unseen[1],
        held_out_name="" if unseen is None else unseen[0],
    )
    out.mkdir(parents=True, exist_ok=True)
    look = theme_named(theme)
    pages = []
    for number, exhibit in enumerate(chosen, 1):
        path = out / f"{exhibit.name}.{form}"
        try:
            with _shown(f"[{number}/{len(chosen)}] {exhibit.name}: {exhibit.meaning}", quiet=quiet):
                drawn = exhibit.make(loaded, request)
                with styled(look):
                    page = drawn.draw(look)
                save_page(page, path, dpi=dpi, theme=look)
        except StorytellerError as error:
            # Not every model has what every extra figure needs; one that was named has to be drawn, though.
            if not exhibit.extra or exhibit.name in (names or []):
                raise
            warn(f"{exhibit.name} is left out: {error.message}")
            continue
        pages.append((exhibit.name, page))
        write(f"{path}\n")
        if data:
            for name, record in drawn.records.items():
                write("".join(f"{written}\n" for written in record.save(out / name)))
    if report:
        from storyteller.checkpoint.files import replace_text
        from storyteller.figures.report import report as assemble

        replace_text(out / REPORT, assemble(pages, look, model=loaded.name))
        write(f"{out / REPORT}\n")


def _chosen(names: Sequence[str], every: bool, extra: bool) -> list[Exhibit]:
    from storyteller.figures.gallery import EXHIBITS, exhibit_named

    asked = {exhibit_named(name).name for name in names}
    chosen = [exhibit for exhibit in EXHIBITS if exhibit.name in asked or (every and not exhibit.extra) or (extra and exhibit.extra)]
    if not chosen:
        raise UsageInvalid("no figure was named", "storyteller figures --all, or storyteller figures --list")
    return chosen


def _held_out(model: LoadedModel, where: str | None) -> tuple[str, list[str]] | None:
    """Name and texts of stories that the model has not seen; None where it has seen them, with a warning if they were asked for."""
    from storyteller.paths import cache_dir
    from storyteller.training.filehash import FileHashes
    from storyteller.training.sources import Source, open_source

    if where == "none":
        return None
    named = where or "sample"
    source = Source(kind="sample") if named == "sample" else Source(kind="file", location=named)
    opened = open_source(source, FileHashes(cache_dir()))
    texts = list(opened.texts())
    trained_on, known = _fingerprint(model.checkpoint.training), ", which the model was not trained on"
    if trained_on is None:
        if where is None:
            return None
        known = " (whether the model was trained on them is not known)"
        warn("training.json does not say what the model was trained on: whether it has seen these stories is not known")
    else:
        share = trained_on.overlap(texts)
        if share or {file.sha256 for file in opened.files} & set(trained_on.files.values()):
            if where is not None:
                warn(f"the model was trained on {share:.0%} of the stories of {named}: its calibration is not measured on them")
            return None
    # Spread over the whole, for neighbours in a file may be alike.
    name = "the sample corpus" if named == "sample" else Path(named).name
    return name + known, texts[:: max(1, len(texts) // HELD_OUT_STORIES)]


def _fingerprint(training: Mapping[str, Any]) -> Fingerprint | None:
    from storyteller.training.fingerprint import Fingerprint

    data = training.get("data")
    if not isinstance(data, dict) or "fingerprint" not in data:
        return None
    try:
        return Fingerprint.from_json(data["fingerprint"])
    except DataInvalid:
        return None


@contextmanager
def _shown(line: str, *, quiet: bool) -> Iterator[None]:
    """The line on stderr while something is made; a terminal forgets it afterwards."""
    if quiet:
        yield
        return
    watched = is_terminal(sys.stderr)
    sys.stderr.write(line + ("" if watched else "\n"))
    sys.stderr.flush()
    try:
        yield
    finally:
        if watched:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
