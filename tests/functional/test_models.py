"""``storyteller models``: what is here, whether it is whole, and how it goes."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from storyteller import load, paths
from storyteller.checkpoint.format import read_checkpoint
from storyteller.cli.main import app


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, nothing shipped, and a cache of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "shipped_models_dir", lambda: tmp_path / "shipped")
    monkeypatch.setenv("STORYTELLER_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def mine(tiny_checkpoint: Path) -> Path:
    shutil.copytree(tiny_checkpoint, paths.models_dir() / "mine")
    return paths.models_dir() / "mine"


def models(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def written(*arguments: str) -> str:
    result = models(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_no_models_is_said_with_how_to_get_one() -> None:
    result = models("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "storyteller train --dataset sample" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_list_has_a_line_for_each_model(mine: Path, place: Path, tiny_checkpoint: Path, arguments: tuple[str, ...]) -> None:
    shutil.copytree(tiny_checkpoint, place / "shipped" / "little")
    (place / "shipped" / "default").write_text("little\n")
    header, first, second = written(*arguments).splitlines()
    assert header.split() == ["name", "parameters", "vocabulary", "size", "made", "for", "bits", "per", "byte", "where"]
    config = read_checkpoint(mine).config
    assert first.split()[:3] == ["mine", f"{config.parameters:,}", f"{config.vocab_size:,}"]
    assert first.endswith(f"{mine} (user)")
    assert second.startswith("little (default)")
    assert second.endswith("(shipped)")


def test_list_as_json_knows_figures_and_what_is_made(mine: Path) -> None:
    (mine / "training.json").write_text(json.dumps({"figures": {"bits_per_byte": 0.75}}))
    load("mine", precision="int8")
    (one,) = json.loads(written("list", "--json"))["models"]
    assert (one["name"], one["bits_per_byte"], one["precisions"], one["problem"]) == ("mine", 0.75, ["int8"], None)
    assert one["sha256"] == read_checkpoint(mine).sha256
    assert one["size"] == sum(file.stat().st_size for file in mine.iterdir())


def test_a_damaged_model_does_not_spoil_the_list(mine: Path) -> None:
    (mine / "tokenizer.json").write_text("{}")
    result = models("list")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split()[:2] == ["mine", "damaged"]
    assert "tokenizer.json is damaged" in result.stderr


def test_info_shows_architecture_checks_and_card(mine: Path) -> None:
    (mine / "training.json").write_text(json.dumps({"figures": {"iterations": 1200, "tokens": 34000}}))
    shown = written("info", "mine")
    assert "embedding 12 → 2 × GRU 16 → output layer of its own" in shown
    assert "1,200 iterations, 34,000 tokens" in shown
    assert "check: model.safetensors" in shown
    assert shown.endswith("\n# tiny\n")


def test_info_as_json(mine: Path) -> None:
    values = json.loads(written("info", "--json", "mine"))
    assert values["config"] == read_checkpoint(mine).config.to_dict()
    assert (values["name"], values["card"], values["training"]) == ("mine", "# tiny\n", {"data": "nothing"})
    assert [check["what"] for check in values["checks"]] == ["config.json", "tokenizer.json", "model.safetensors"]


def test_path_prints_the_directory(mine: Path) -> None:
    assert written("path", "mine") == f"{mine}\n"


def test_verify_names_what_is_right_made_graphs_included(mine: Path) -> None:
    load("mine", precision="int8")
    lines = written("verify", "mine").splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "right  config.json",
        "right  tokenizer.json",
        "right  model.safetensors",
        "right  int8 graph",
    ]
    assert written("verify", "mine", "--quiet") == ""
    assert len(json.loads(written("verify", "mine", "--json"))["checks"]) == 4


def test_verify_finds_a_graph_that_tells_something_else(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from storyteller.checkpoint import facts

    load("mine")
    told = facts._told_by
    monkeypatch.setattr(facts, "_told_by", lambda graph, ids: told(graph, ids) + 0.1)
    result = models("verify", "mine")
    assert result.exit_code == 4
    assert "mine in float32 is not the model that it was" in result.stderr


def test_verify_finds_a_changed_bit(mine: Path) -> None:
    raw = bytearray((mine / "model.safetensors").read_bytes())
    raw[-100] ^= 1
    (mine / "model.safetensors").write_bytes(raw)
    result = models("verify", "mine")
    assert result.exit_code == 4
    assert "model.safetensors is damaged" in result.stderr


@pytest.mark.parametrize("command", ["info", "path", "verify", "remove"])
def test_a_mistyped_name_is_a_name_of_nothing(mine: Path, command: str) -> None:
    result = models(command, "mnie")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "did you mean mine?" in result.stderr


def test_remove_asks_and_cannot_where_nobody_is(mine: Path) -> None:
    result = models("remove", "mine")
    assert result.exit_code == 2
    assert "storyteller models remove --yes mine" in result.stderr
    assert read_checkpoint(mine)


def test_remove_takes_the_model_and_what_was_made_of_it(mine: Path, place: Path) -> None:
    load("mine")
    assert list((place / "cache" / "onnx").iterdir())
    result = models("remove", "--yes", "mine")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{mine} is gone\n")
    assert list(mine.parent.iterdir()) == []
    assert list((place / "cache" / "onnx").iterdir()) == []


@pytest.mark.parametrize(("answer", "code", "gone"), [(b"n\n", 1, False), (b"y\n", 0, True)])
def test_remove_asks_on_a_terminal(mine: Path, answer: bytes, code: int, gone: bool) -> None:
    main, other = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "storyteller", "models", "remove", "mine"], stdin=other, stderr=subprocess.PIPE)
    os.close(other)
    os.write(main, answer)
    _, asked = process.communicate(timeout=60)
    os.close(main)
    assert process.returncode == code
    assert asked.startswith(f"Delete {mine}".encode())
    assert mine.exists() is not gone


def test_removing_a_link_leaves_what_it_points_to(place: Path, tiny_checkpoint: Path) -> None:
    paths.models_dir().mkdir(parents=True)
    shutil.copytree(tiny_checkpoint, place / "elsewhere")
    (paths.models_dir() / "link").symlink_to(place / "elsewhere")
    assert models("remove", "--yes", "link").exit_code == 0
    assert read_checkpoint(place / "elsewhere")
    assert list(paths.models_dir().iterdir()) == []


def test_what_came_with_the_package_or_is_only_a_path_is_not_removed(place: Path, tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, place / "shipped" / "little")
    result = models("remove", "--yes", "little")
    assert (result.exit_code, "came with the package" in result.stderr) == (2, True)
    result = models("remove", "--yes", str(place / "shipped" / "little"))
    assert (result.exit_code, "is no name of a model" in result.stderr) == (3, True)
    assert read_checkpoint(place / "shipped" / "little")


def pytorch_file(folder: Path, checkpoint: Path) -> Path:
    import torch

    state: dict[str, Any] = {name: torch.from_numpy(array) for name, array in read_checkpoint(checkpoint).weights().items()}
    torch.save({"model_state_dict": state}, folder / "gru_story_model.pt")
    return folder / "gru_story_model.pt"


def test_import_makes_a_model_that_tells_the_same(place: Path, tiny_checkpoint: Path) -> None:
    file = pytorch_file(place, tiny_checkpoint)
    result = models("import", str(file), "--tokenizer", str(tiny_checkpoint / "tokenizer.json"))
    assert (result.exit_code, result.stdout) == (0, f"{paths.models_dir() / 'gru_story_model'}\n")
    arguments = ["gen", "-s", "1", "-n", "9", "-t", "0.9", "The fox", "-m"]
    stories = [CliRunner().invoke(app, [*arguments, model]).stdout for model in ("gru_story_model", str(tiny_checkpoint))]
    assert stories[0] == stories[1]
    again = models("import", str(file), "--tokenizer", str(tiny_checkpoint / "tokenizer.json"))
    assert (again.exit_code, "is already there" in again.stderr) == (2, True)


def test_a_pickled_file_is_never_a_model_but_says_how_to_make_one_of_it(place: Path, tiny_checkpoint: Path) -> None:
    file = pytorch_file(place, tiny_checkpoint)
    result = CliRunner().invoke(app, ["gen", "-m", str(file)])
    assert result.exit_code == 4
    assert "storyteller models import" in result.stderr


@pytest.mark.parametrize("which", ["weights", "tokenizer"])
def test_a_checksum_that_is_a_path_is_refused(mine: Path, place: Path, which: str) -> None:
    precious = place / "cache" / "precious-file"
    precious.parent.mkdir(parents=True)
    precious.touch()
    values = json.loads((mine / "config.json").read_text())
    values["sha256"][which] = "../precious"
    (mine / "config.json").write_text(json.dumps(values))
    assert models("verify", "mine").exit_code == 4
    assert models("remove", "--yes", "mine").exit_code == 0
    assert precious.exists()
