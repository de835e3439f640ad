"""A save is there whole or not at all: killed at any moment, and on a full disk."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("saver.py")
FILES = ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "training.json"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="limits and kills as POSIX systems do")


def told(what: str, checkpoint: Path, folder: Path) -> dict[str, Any]:
    shutil.copytree(checkpoint, folder / "model")
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")
    result = subprocess.run(
        [sys.executable, str(SCRIPT), what, str(folder / "model"), str(seed)], capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, result.stderr
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def test_a_save_that_is_killed_leaves_the_old_model_or_the_new(tiny_checkpoint: Path, tmp_path: Path) -> None:
    after = told("kill", tiny_checkpoint, tmp_path)
    assert len(after["found"]) == 30
    assert after["found"] == sorted(after["found"])
    assert after["found"][-1] >= 30
    assert set(after["left"]) - set(FILES) <= {".model.safetensors.new", ".training.json.new"}


def test_a_full_disk_leaves_the_old_model_and_nothing_half_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    after = told("full", tiny_checkpoint, tmp_path)
    assert set(after["found"]) == {7.0}
    assert after["left"] == FILES
