"""Uploading models, to a server on this computer, through the real client of the Hub."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from storyteller.checkpoint.format import verify
from storyteller.cli.main import app

# The client of the Hub uploads in a way that its own transport asks it not to.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FILES = {"README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "training.json"}


@pytest.fixture(autouse=True)
def login(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def uploaded(hub: Any) -> dict[str, bytes]:
    """The files of the only commit, those that were stored apart included."""
    ((_, *operations),) = hub.commits
    files = {}
    for operation in operations:
        value = operation["value"]
        files[value["path"]] = hub.stored[value["oid"]] if operation["key"] == "lfsFile" else base64.b64decode(value["content"])
    return files


def test_a_model_is_pushed_whole_with_its_card(hub: Any, tiny_checkpoint: Path) -> None:
    result = run("models", "push", str(tiny_checkpoint), "owner/tiny")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{hub.url}/owner/tiny/commit/{hub.COMMIT}\n"
    assert uploaded(hub) == {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()}
    assert {one.token for one in hub.asked if one.path.startswith("/api/models")} == {"Bearer hf_mine"}


def test_only_the_files_of_a_model_are_pushed(hub: Any, tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "mine")
    for name in ("trainer.safetensors", "notes.txt", "model.onnx"):
        (tmp_path / "mine" / name).write_text("private")
    assert run("models", "push", "./mine", "owner/mine").exit_code == 0
    assert set(uploaded(hub)) == FILES


def test_a_damaged_model_is_not_pushed(hub: Any, tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "mine")
    (tmp_path / "mine" / "tokenizer.json").write_text("{}")
    assert run("models", "push", "./mine", "owner/mine").exit_code == 4
    assert hub.asked == []


@pytest.mark.parametrize(("status", "words"), [(401, "wants a login"), (403, "does not let you"), (500, "failed (HTTP 500)")])
def test_refusals_are_told_in_words(hub: Any, tiny_checkpoint: Path, status: int, words: str) -> None:
    hub.always["POST", "/api/repos/create"] = hub.Fault(status=status)
    result = run("models", "push", str(tiny_checkpoint), "owner/tiny")
    assert (result.exit_code, result.stdout) == (5, "")
    assert words in result.stderr
    assert hub.commits == []


TRAINING = (
    "--preset",
    "tiny",
    "--vocab-size",
    "300",
    "--hidden-dim",
    "16",
    "--embed-dim",
    "8",
    "--max-iterations",
    "2",
    "--batch-size",
    "2",
)


def test_a_training_is_pushed_when_it_is_done(hub: Any, tmp_path: Path) -> None:
    Path("stories.txt").write_text("\n\n".join(f"The fox found {number} balls and ran home." for number in range(60)))
    train = ("train", "stories.txt", *TRAINING, "--seq-len", "8", "--device", "cpu", "--out", "mine", "--valid-share", "0.1")
    result = run(*train, "--push-to-hub", "owner/mine")
    assert result.exit_code == 0, result.stderr
    files = uploaded(hub)
    assert set(files) >= FILES
    assert hashlib.sha256(files["model.safetensors"]).hexdigest() == verify(tmp_path / "mine").sha256
    assert "trainer.safetensors" not in files
    assert f"{hub.url}/owner/mine/commit/" in result.stderr


def test_who_may_not_push_hears_of_it_before_the_training(hub: Any) -> None:
    hub.always["POST", "/api/repos/create"] = hub.Fault(status=403)
    Path("stories.txt").write_text("The fox.\n\nThe owl.")
    result = run("train", "stories.txt", *TRAINING, "--out", "mine", "--push-to-hub", "owner/mine")
    assert (result.exit_code, Path("mine").exists()) == (5, False)


def test_an_upload_that_fails_is_told_in_words(hub: Any, tiny_checkpoint: Path) -> None:
    hub.always["PUT", "/store/"] = hub.Fault(status=403)
    result = run("models", "push", str(tiny_checkpoint), "owner/tiny")
    assert (result.exit_code, result.stdout, hub.commits) == (5, "", [])
    assert "does not let you (HTTP 403)" in result.stderr
