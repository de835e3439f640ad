"""What all tests share: a home of their own, and a tiny model of random numbers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storyteller.checkpoint.format import write_checkpoint
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.params import SamplingParams
from storyteller.engine.tokenizer import Tokenizer

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A run in the background has Ctrl-C ignored, and would hand that down to the commands that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SENTENCES = (
    "Once upon a time there was a little fox who lived in the wood.",
    "The fox found a red ball, and the ball rolled down the hill.",
    '"Where is my ball?" asked the fox. "It is here," said the owl.',
    "They played all day, and in the evening the fox went home to his mother.",
)


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, so that a derived file is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, no settings from outside, no network."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith("STORYTELLER_") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (("CONFIG", ".config"), ("DATA", ".local/share"), ("STATE", ".local/state")):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield home


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory ``tiny`` of a model with random weights: any text may come out of it, broken UTF-8 and control characters included."""
    tokenizer = Tokenizer.train(SENTENCES * 4, 320)
    config = GRUConfig(vocab_size=tokenizer.vocab_size, embed_dim=12, hidden_dim=16, num_layers=2, dropout=0.0)
    random = np.random.default_rng(7)
    weights = {name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in config.shapes().items()}
    path = tmp_path_factory.mktemp("models") / "tiny"
    write_checkpoint(path, config, weights, tokenizer, SamplingParams(temperature=0.9, max_len=40), {"data": "nothing"}, "# tiny\n")
    return path
