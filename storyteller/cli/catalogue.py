"""Every parameter that storyteller has, as records: kind, range, default, meaning, flag and environment twin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from storyteller.engine.params import RANGES, WHOLE, SamplingParams, Until
from storyteller.settings import CHOICES, FASTEST_TEMPO, MEANINGS, MOST_THREADS, SIMPLE, TABLES, Settings
from storyteller.training.config import RULES, Config

SCHEMA_VERSION = 1
TITLES: Mapping[str, str] = {
    "sampling": "Telling: `gen`, and the table `[sampling]` of the settings; defaults are those of a model that brings none of its own",
    "training": "Training: `train`; defaults are those of the preset `base`",
    "settings": "Settings: `storyteller.toml` and `storyteller config`",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``legal`` says in words what ``least``, ``most`` and ``choices`` say where they are not None; ``off`` switches it off.

    ``flag`` and ``env`` are None where the command line has none.
    """

    section: str
    name: str
    kind: str
    least: float | None
    most: float | None
    choices: tuple[str, ...] | None
    off: float | None
    legal: str
    default: Any
    meaning: str
    flag: str | None
    env: str | None


def parameters(commands: Mapping[str, Any]) -> list[Parameter]:
    """All parameters; ``commands`` are those of the command line by name, which flags and twins are read from."""
    return [*_sampling(commands["gen"]), *_training(commands["train"]), *_settings(commands["gen"])]


def to_json(found: list[Parameter]) -> dict[str, Any]:
    """What ``storyteller options --json`` writes: a list for each section."""
    values: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    for section in TITLES:
        values[section] = [asdict(one) for one in found if one.section == section]
        for value in values[section]:
            del value["section"]
    return values


def to_markdown(found: list[Parameter]) -> str:
    """The reference tables of the README."""
    lines: list[str] = []
    for section, title in TITLES.items():
        lines += [f"**{title}**", "", "| name | flag | environment | legal | default | meaning |", "|---|---|---|---|---|---|"]
        for one in (one for one in found if one.section == section):
            cells = (one.name, _code(one.flag), _code(one.env), one.legal, _default(one.default), one.meaning)
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def _sampling(command: Any) -> Iterator[Parameter]:
    for name, default in SamplingParams().to_dict().items():
        option = _option(command, name)
        bounds = RANGES.get(name)
        if bounds is not None:
            kind = "whole number" if name in WHOLE else "number"
            legal = f"{kind}, {bounds.least:,g} to {bounds.most:,.15g}" + (f", {bounds.off:g} = off" if bounds.off is not None else "")
            yield Parameter(
                "sampling", name, kind, bounds.least, bounds.most, None, bounds.off, legal, default, bounds.meaning, *_face(option)
            )
        else:
            kind = {bool: "true or false", list: "texts"}.get(type(default), "text")
            choices = get_args(Until) if name == "until" else None
            legal = ", ".join(choices) if choices else kind
            yield Parameter("sampling", name, kind, None, None, choices, None, legal, default, _lowered(option.help), *_face(option))


def _training(command: Any) -> Iterator[Parameter]:
    kinds = {"whole": "whole number", "flag": "true or false", "duration": "time", "choice": "text"}
    for name, rule in RULES.items():
        counted = rule.kind in ("whole", "number")
        default = Config.__dict__[name]
        yield Parameter(
            "training",
            name,
            kinds.get(rule.kind, rule.kind),
            rule.least if counted else None,
            rule.most if counted and not math.isinf(rule.most) else None,
            rule.choices or None,
            None,
            rule.legal.removesuffix(", or None").removeprefix("a "),
            list(default) if isinstance(default, tuple) else default,
            rule.meaning,
            *_face(_option(command, name)),
        )


def _settings(command: Any) -> Iterator[Parameter]:
    usual = Settings()
    ranges = {"tempo": ("number", 0, FASTEST_TEMPO), "threads": ("whole number", 1, MOST_THREADS)}
    for name in (*SIMPLE, *TABLES):
        kind, least, most = ranges.get(name, ("table" if name in TABLES else "text", None, None))
        legal = ", ".join(CHOICES[name]) if name in CHOICES else kind if most is None else f"{kind}, {least:,g} to {most:,g}"
        default = "auto" if name == "threads" else None if name in TABLES else getattr(usual, name)
        face = _face(_option(command, name)) if name in SIMPLE else (None, None)
        yield Parameter("settings", name, kind, least, most, CHOICES.get(name), None, legal, default, MEANINGS[name], *face)


def _option(command: Any, name: str) -> Any:
    return next((param for param in command.params if param.name == name), None)


def _face(option: Any) -> tuple[str | None, str | None]:
    if option is None or option.param_type_name != "option":
        return None, None
    return option.opts[0], option.envvar


def _lowered(help: str) -> str:
    text = help.partition(" [env var")[0].removesuffix(".")
    return text[:1].lower() + text[1:]


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _default(value: Any) -> str:
    if value is None or value in ([], ""):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return "; ".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)
