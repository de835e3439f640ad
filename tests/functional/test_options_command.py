"""``storyteller options``: all parameters, as the program itself knows them, and the README's tables made of them."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from storyteller.cli.main import app
from storyteller.engine.params import RANGES, SamplingParams
from storyteller.settings import SIMPLE, TABLES
from storyteller.training.config import RULES

README = Path(__file__).resolve().parents[2] / "README.md"
COMMAND = {"sampling": "gen", "training": "train", "settings": "gen"}


def written(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["options", *arguments])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture(scope="module")
def catalogue() -> dict[str, list[dict[str, Any]]]:
    values = json.loads(written("--json"))
    assert values.pop("schema_version") == 1
    return values


def test_nothing_is_missing(catalogue: dict[str, list[dict[str, Any]]]) -> None:
    names = {section: [one["name"] for one in found] for section, found in catalogue.items()}
    assert names == {
        "sampling": [field.name for field in fields(SamplingParams)],
        "training": list(RULES),
        "settings": [*SIMPLE, *TABLES],
    }


def test_ranges_and_defaults_are_those_that_are_checked(catalogue: dict[str, list[dict[str, Any]]]) -> None:
    assert SamplingParams.from_dict({one["name"]: one["default"] for one in catalogue["sampling"]}) == SamplingParams()
    for one in catalogue["sampling"]:
        if one["name"] in RANGES:
            assert (one["least"], one["most"]) == (RANGES[one["name"]].least, RANGES[one["name"]].most)
    for one in catalogue["training"]:
        rule = RULES[one["name"]]
        assert rule.check(one["name"], one["default"]) is not None or rule.optional
        assert all(rule.check(one["name"], choice) == choice for choice in one["choices"] or ())


def test_every_parameter_has_a_meaning_and_says_what_is_legal(catalogue: dict[str, list[dict[str, Any]]]) -> None:
    for section in catalogue.values():
        assert all(one["meaning"] and one["legal"] and one["kind"] for one in section)


def test_flags_and_twins_are_those_of_the_help(catalogue: dict[str, list[dict[str, Any]]]) -> None:
    for section, command in COMMAND.items():
        shown = " ".join(CliRunner().invoke(app, [command, "--help"], terminal_width=200).stdout.split())
        with_flag = [one for one in catalogue[section] if one["flag"]]
        assert len(with_flag) > 5
        for one in with_flag:
            assert re.search(rf"(?<![\w-]){one['flag']}(?![\w-])", shown), one
            assert f"[env var: {one['env']}" in shown, one


def test_every_sampling_parameter_has_a_flag(catalogue: dict[str, list[dict[str, Any]]]) -> None:
    assert all(one["flag"] for one in catalogue["sampling"])


def test_the_readme_has_the_tables_as_they_are_now() -> None:
    match = re.search(r"<!-- storyteller options --markdown -->\n(.*?)<!-- end -->", README.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    assert match[1].strip() == written("--markdown").strip(), "put what `storyteller options --markdown` writes into the README"


def test_for_people() -> None:
    lines = written().splitlines()
    assert lines[0] == "sampling"
    assert any(line.startswith("  top_k ") and "(whole number, 0 to 65,535, 0 = off)" in line for line in lines)


def test_two_forms_at_once_are_refused() -> None:
    result = CliRunner().invoke(app, ["options", "--json", "--markdown"])
    assert result.exit_code == 2
