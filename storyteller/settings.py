"""Settings, each with the place that it came from.

Later wins: built-in default < the user's ``config.toml`` < ``storyteller.toml`` in the current directory < a ``STORYTELLER_*`` variable
< a flag. Both files have the same shape::

    model = "tinystories-small"
    tempo = 0                      # as fast as it goes

    [sampling]                     # over the model's own defaults, for every style
    max_len = 300

    [styles.bedtime]               # a style of one's own: storyteller gen --style bedtime
    temperature = 0.6
    top_p = 0.9

    [sources]                      # where models come from: storyteller download bears
    bears = "someone/bears@v2"     # a Hub id, a folder, or https://…/bears.tar.gz#sha256=…
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from storyteller import paths
from storyteller.engine.params import SamplingParams
from storyteller.errors import ConfigInvalid, InvalidParams, UsageInvalid

Overrides = Mapping[str, Any]
TABLES = ("sampling", "styles", "sources")
MEANINGS: Mapping[str, str] = {
    "model": "the model that tells when none is named, by name or directory",
    "style": "the style that is taken when none is named",
    "precision": "numbers that the network is computed in",
    "device": "what computes the network",
    "threads": "CPU threads; auto takes what is fastest",
    "color": "when to write colours",
    "tempo": "tokens per second on a terminal; 0 is as fast as it goes",
    "sampling": "sampling parameters, over the model's own",
    "styles": "styles of one's own, each a table of sampling parameters",
    "sources": "names for models that can be downloaded, each with the place it comes from",
}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "precision": ("auto", "float32", "int8", "int4"),
    "device": ("auto", "cpu", "cuda", "mps", "xpu"),
    "color": ("auto", "always", "never"),
}
FASTEST_TEMPO = 10_000.0
MOST_THREADS = 1024

STYLES: Mapping[str, Overrides] = {
    "careful": {"temperature": 0.5, "top_p": 0.9},
    "balanced": {},
    "wild": {"temperature": 1.1, "min_p": 0.02},
}
"""Styles by name, each as what it changes in a model's defaults; a model's own style of the same name goes before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program; ``origins`` says of each where it came from.

    ``tempo`` is in tokens per second, 0 means as fast as it goes. ``sampling`` and each of ``styles`` hold fields of
    :class:`~storyteller.engine.params.SamplingParams`, ``sources`` the place that a model of that name can be downloaded from.
    An origin's name is a setting's, or ``sampling.FIELD``, ``styles.NAME``, ``sources.NAME``.
    """

    model: str | None = None
    style: str | None = None
    precision: str = "auto"
    device: str = "auto"
    threads: int | None = None
    color: str = "auto"
    tempo: float = 30.0
    sampling: Overrides = field(default_factory=dict)
    styles: Mapping[str, Overrides] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)


SIMPLE = tuple(f.name for f in fields(Settings) if f.name not in (*TABLES, "origins"))


def read_settings(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read both files and the environment, and lay ``flags`` (those that are not None) over them.

    Raises :class:`ConfigInvalid` naming the place, the field and its legal range.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys((*SIMPLE, *TABLES), "default")
    for path in (paths.config_file(), paths.project_file()):
        for name, value in read_file(path).items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
            origins[name] = str(path)
            if isinstance(value, dict):
                origins |= {f"{name}.{key}": str(path) for key in value}
    environ = os.environ if environ is None else environ
    for name in SIMPLE:
        variable = f"STORYTELLER_{name.upper()}"
        if environ.get(variable):
            values[name], origins[name] = _checked(name, _parsed(name, environ[variable]), variable), variable
    for name, value in (flags or {}).items():
        if value is not None:
            values[name], origins[name] = _checked(name, _parsed(name, value), "the command line"), "flag"
    return Settings(**values, origins=MappingProxyType(origins))


def check_setting(key: str, value: Any) -> None:
    """Raise :class:`ConfigInvalid` unless ``key`` may have ``value``; a dotted key reaches into a table: ``sampling.top_k``."""
    name, *rest = key.split(".")
    depth = {"sampling": 1, "sources": 1, "styles": 2}.get(name, 0)
    if len(rest) > depth or not all(rest):
        raise ConfigInvalid(f"there is no setting {key!r}{_meant(name, (*SIMPLE, *TABLES))}")
    for part in reversed(rest):
        value = {part: value}
    _checked(name, value, key)


def sampling_params(
    generation: SamplingParams,
    model_styles: Mapping[str, SamplingParams],
    settings: Settings,
    *,
    style: str | None = None,
    overrides: Overrides | None = None,
) -> SamplingParams:
    """The parameters to tell with: the model's, then ``[sampling]`` of the settings, then what the style changes, then ``overrides``.

    ``style`` None takes that of the settings; an unknown one raises :class:`UsageInvalid` naming those that there are.
    """
    merged = generation.to_dict() | dict(settings.sampling)
    style = style or settings.style
    if style is not None:
        merged |= _style(style, generation, model_styles, settings)
    return SamplingParams.from_dict(merged | dict(overrides or {}))


def _style(name: str, generation: SamplingParams, model_styles: Mapping[str, SamplingParams], settings: Settings) -> Overrides:
    if name in settings.styles:
        return settings.styles[name]
    if name in model_styles:
        usual = generation.to_dict()
        return {key: value for key, value in model_styles[name].to_dict().items() if value != usual[key]}
    if name in STYLES:
        return STYLES[name]
    known = sorted({*settings.styles, *model_styles, *STYLES})
    near = get_close_matches(name, known, 1)
    raise UsageInvalid(
        f"there is no style {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
        hint=f"styles: {', '.join(known)}; your own go into {paths.config_file()} under [styles.NAME]",
    )


def read_file(path: Path) -> dict[str, Any]:
    """The settings in one file, none where it is not there; raises :class:`ConfigInvalid` for what is not legal."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path} is not TOML: {error}", hint="correct the line, or move the file away") from error
    return {name: _checked(name, value, str(path)) for name, value in table.items()}


def _parsed(name: str, text: Any) -> Any:
    """The value that a variable's or a flag's text stands for; text that stands for none is left to :func:`_checked`."""
    if name not in ("tempo", "threads") or not isinstance(text, str):
        return text
    try:
        return float(text) if name == "tempo" else int(text)
    except ValueError:
        return text


def _checked(name: str, value: Any, where: str) -> Any:
    if name == "sampling":
        return _checked_sampling(value, f"{where}, [sampling]")
    if name == "styles":
        if not isinstance(value, dict):
            raise ConfigInvalid(f"{where}: styles must be tables, [styles.NAME], not {value!r}")
        return {style: _checked_sampling(table, f"{where}, [styles.{style}]") for style, table in value.items()}
    if name == "sources":
        if not isinstance(value, dict) or not all(isinstance(source, str) and source for source in value.values()):
            raise ConfigInvalid(f'{where}: sources must be a table of texts, NAME = "owner/model", not {value!r}')
        return value
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ConfigInvalid(f"{where}: {name} must be one of {', '.join(CHOICES[name])}, not {value!r}{_meant(value, CHOICES[name])}")
        return value
    if name in ("model", "style"):
        if not isinstance(value, str) or not value:
            raise ConfigInvalid(f"{where}: {name} must be a name in quotes, not {value!r}")
        return value
    if name == "tempo":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FASTEST_TEMPO:
            raise ConfigInvalid(
                f"{where}: tempo must be a number from 0 (as fast as it goes) to {FASTEST_TEMPO:,.0f} tokens per second, not {value!r}"
            )
        return float(value)
    if name == "threads":
        if value == "auto":
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_THREADS:
            raise ConfigInvalid(f"{where}: threads must be 'auto' or a whole number from 1 to {MOST_THREADS}, not {value!r}")
        return value
    raise ConfigInvalid(f"{where}: there is no setting {name!r}{_meant(name, (*SIMPLE, *TABLES))}")


def _checked_sampling(table: Any, where: str) -> Overrides:
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{where}: a table of sampling parameters is wanted, not {table!r}")
    try:
        SamplingParams.from_dict(table)
    except InvalidParams as error:
        raise ConfigInvalid(f"{where}: {error.message}", error.hint) from error
    return table


def _meant(value: Any, known: tuple[str, ...]) -> str:
    near = get_close_matches(str(value), known, 1)
    return f"; did you mean {near[0]}?" if near else ""
