"""``storyteller config``: the settings, where they come from, and how to change them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping, MutableMapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from storyteller import paths
from storyteller.checkpoint.files import replace_text
from storyteller.cli import completion, options
from storyteller.cli.output import say, write, write_json
from storyteller.engine.params import SamplingParams
from storyteller.errors import ConfigInvalid, StorytellerError, UsageInvalid
from storyteller.settings import SIMPLE, TABLES, Settings, check_setting, read_file, read_settings

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

SCHEMA_VERSION = 1
WHERE = "Which file"
EDITORS = ("sensible-editor", "nano", "vi", "notepad")
BEGINNING = "# Settings of storyteller; storyteller options lists them all.\n"

app = typer.Typer(cls=TyperGroup, rich_markup_mode=None, invoke_without_command=True)

Key = Annotated[str, typer.Argument(metavar="KEY", help="tempo, sampling.top_k, styles.NAME.top_p …", autocompletion=completion.settings)]
Project = Annotated[
    bool, options.option("--project", panel=WHERE, scope="config", help="storyteller.toml in the current directory, instead of your own.")
]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="config")


@app.callback()
def config(ctx: typer.Context) -> None:
    """Show and change the settings.

    \b
    storyteller config show
    storyteller config set tempo 0
    storyteller config set styles.bedtime.temperature 0.6
    storyteller config unset tempo
    storyteller config edit
    """
    if ctx.invoked_subcommand is None:
        show()


@app.command("path")
def path(
    project: Project = False,
    every: Annotated[bool, options.option("--all", panel=WHERE, scope="config", help="Every folder that storyteller uses.")] = False,
    as_json: options.Json = False,
) -> None:
    """Print where the settings are kept.

    \b
    storyteller config path
    storyteller config path --all
    """
    places = places_in_use() if every else {"project" if project else "settings": paths.project_file() if project else paths.config_file()}
    if as_json:
        write_json({"schema_version": SCHEMA_VERSION, **{name: str(place) for name, place in places.items()}})
    elif every:
        write("".join(f"{name:<9} {place}\n" for name, place in places.items()))
    else:
        write("".join(f"{place}\n" for place in places.values()))


@app.command("show")
def show(as_json: options.Json = False) -> None:
    """Show every setting, its value, and where that came from.

    \b
    storyteller config show
    storyteller config show --json
    """
    rows = effective(read_settings())
    if as_json:
        values = {key: {"value": value, "origin": origin} for key, value, origin in rows}
        write_json({"schema_version": SCHEMA_VERSION, "settings": values})
        return
    lines = [(key, _toml(value), origin) for key, value, origin in rows]
    wide = [max(len(line[column]) for line in lines) for column in (0, 1)]
    write("".join(f"{key:<{wide[0]}}  {value:<{wide[1]}}  {origin}\n" for key, value, origin in lines))


@app.command("set")
def set_(
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A word, a number, true, or a TOML list.")],
    project: Project = False,
) -> None:
    """Change one setting; comments and order of the file stay.

    \b
    storyteller config set model mine
    storyteller config set sampling.stop '["The end"]'
    storyteller config set --project tempo 0
    """
    from tomlkit import table as new_table

    file = paths.project_file() if project else paths.config_file()
    meant = _meant(key, value)
    document = _document(file)
    *tables, name = key.split(".")
    place: Any = document
    for table in tables:
        place = place.setdefault(table, new_table(is_super_table=table == "styles"))
    place[name] = meant
    _save(file, document)


@app.command("unset")
def unset(key: Key, project: Project = False) -> None:
    """Take one setting out of the file.

    \b
    storyteller config unset tempo
    storyteller config unset styles.bedtime
    """
    file = paths.project_file() if project else paths.config_file()
    document = _document(file)
    *tables, name = key.split(".")
    chain: list[Any] = [document]
    for table in tables:
        chain.append(chain[-1].get(table) if isinstance(chain[-1], Mapping) else None)
    if not isinstance(chain[-1], MutableMapping) or name not in chain[-1]:
        raise UsageInvalid(f"{file} does not set {key}", "storyteller config show")
    del chain[-1][name]
    for table, above, below in reversed(list(zip(tables, chain, chain[1:], strict=False))):
        if not below:
            del above[table]
    _save(file, document)


@app.command("edit")
def edit(project: Project = False) -> None:
    """Open the file in $VISUAL or $EDITOR; what is not legal is not kept.

    \b
    storyteller config edit
    EDITOR="code --wait" storyteller config edit --project
    """
    file = paths.project_file() if project else paths.config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="storyteller-", suffix=".toml")
    os.close(handle)
    draft = Path(name)
    draft.write_text(file.read_text(encoding="utf-8") if file.exists() else BEGINNING, encoding="utf-8")
    result = subprocess.run([*_editor(), str(draft)], check=False)
    if result.returncode:
        draft.unlink()
        raise StorytellerError(f"the editor ended with code {result.returncode}; the settings are as they were")
    try:
        read_file(draft)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{error.message}; the settings are as they were", f"your text is kept in {draft}") from error
    replace_text(file, draft.read_text(encoding="utf-8"))
    draft.unlink()
    say(f"kept in {file}")


def places_in_use() -> dict[str, Path]:
    """Every file and folder that storyteller looks into or writes to."""
    return {
        "settings": paths.config_file(),
        "project": paths.project_file(),
        "models": paths.models_dir(),
        "shipped": paths.shipped_models_dir(),
        "cache": paths.cache_dir(),
        "stories": paths.stories_dir(),
    }


def effective(settings: Settings, environ: Mapping[str, str] | None = None) -> list[tuple[str, Any, str]]:
    """Every setting as (key, value, origin); tables value by value, sampling parameters of the environment among them."""
    environ = os.environ if environ is None else environ
    rows = [(name, "auto" if name == "threads" and settings.threads is None else getattr(settings, name)) for name in SIMPLE]
    for table in TABLES:
        rows += [(f"{table}.{name}", value) for name, value in getattr(settings, table).items()]
    found = {key: (value, settings.origins[key]) for key, value in rows}
    for field in fields(SamplingParams):
        variable = f"STORYTELLER_{field.name}".upper()
        if environ.get(variable):
            found[f"sampling.{field.name}"] = (environ[variable], variable)
    return [(key, value, origin) for key, (value, origin) in found.items()]


def _toml(value: Any) -> str:
    """``value`` as it would stand in the file; - for nothing."""
    from tomlkit import item

    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    return str(item(value).as_string())


def _meant(key: str, text: str) -> Any:
    """The value that ``text`` is for ``key``: what it says as TOML, or else the text itself."""
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    try:
        check_setting(key, value)
    except ConfigInvalid:
        if value == text:
            raise
        try:
            check_setting(key, text)
        except ConfigInvalid:
            check_setting(key, value)
        return text
    return value


def _document(file: Path) -> TOMLDocument:
    from tomlkit import parse
    from tomlkit.exceptions import TOMLKitError

    try:
        return parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return parse("")
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{file} is not TOML: {error}", "storyteller config edit") from error


def _save(file: Path, document: TOMLDocument) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, document.as_string())


def _editor() -> list[str]:
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR") or next(filter(shutil.which, EDITORS), "")
    if not chosen:
        raise UsageInvalid("there is no editor: neither VISUAL nor EDITOR names one", "EDITOR=nano storyteller config edit")
    return shlex.split(chosen)
