"""``storyteller eval``."""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from storyteller.checkpoint.load import load
from storyteller.cli.main import app
from storyteller.training.cleaning import clean, story_keys
from storyteller.training.fingerprint import Fingerprint

STORIES = ("The fox found a red ball.", "The owl — so old! — said: “Hello.”", "They played all day.\n\nThe end.")


@pytest.fixture(autouse=True)
def model(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORYTELLER_MODEL", str(tiny_checkpoint))
    return tiny_checkpoint


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    path = tmp_path / "stories.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in STORIES), encoding="utf-8")
    return path


def evaluate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["eval", *arguments])


def test_the_figures_are_those_of_a_plain_computation(model: Path, stories: Path) -> None:
    network = load(model)
    nats = 0.0
    tokens = 0
    for text in STORIES:
        ids = [network.tokenizer.end_id, *network.tokenizer.encode(text), network.tokenizer.end_id]
        state = network.runtime.initial_state(1)
        for id, following in pairwise(ids):
            logits, state = network.runtime.step(np.array([id], np.int64), state)
            values = logits[0].astype(np.float64)
            nats -= values[following] - np.log(np.exp(values).sum())
            tokens += 1
    size = sum(len(text.encode()) for text in STORIES)

    result = evaluate("--data", str(stories), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    figures = json.loads(result.stdout)
    assert figures["tokens"] == tokens
    assert figures["bytes"] == size
    assert figures["stories"] == len(STORIES)
    assert figures["nats_per_token"] == pytest.approx(nats / tokens, rel=1e-5)
    assert figures["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert figures["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)


def test_without_json_a_line_for_each_figure(stories: Path) -> None:
    lines = evaluate("--data", str(stories)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["nats_per_token", "perplexity", "bits_per_byte", "tokens", "bytes", "stories"]
    assert lines[-1].split()[1] == "3"


def test_the_sample_corpus_needs_no_file_and_no_network() -> None:
    figures = json.loads(evaluate("--data", "sample", "--max-stories", "5", "--json").stdout)
    assert figures["stories"] == 5


def trained_on(model: Path, place: Path, texts: tuple[str, ...], files: dict[str, str]) -> Path:
    shutil.copytree(model, place)
    keys = np.array([story_keys(clean(text)).whole for text in texts], np.uint64)
    training = {"data": {"fingerprint": Fingerprint.of_keys(keys, files).to_json()}}
    (place / "training.json").write_text(json.dumps(training), encoding="utf-8")
    return place


def test_it_warns_of_stories_that_the_model_was_trained_on(model: Path, stories: Path, tmp_path: Path) -> None:
    known = trained_on(model, tmp_path / "known", STORIES[:1], {})
    result = evaluate("--data", str(stories), "--model", str(known), "--json")
    assert result.exit_code == 0
    assert "warning: the model was trained on 33.3% of these stories" in result.stderr
    assert json.loads(result.stdout)["stories"] == 3
    strange = trained_on(model, tmp_path / "strange", ("Another one.",), {})
    assert evaluate("--data", str(stories), "--model", str(strange)).stderr == ""


def test_it_warns_of_the_very_file_that_the_model_was_trained_on(model: Path, stories: Path, tmp_path: Path) -> None:
    import hashlib

    digest = hashlib.sha256(stories.read_bytes()).hexdigest()
    known = trained_on(model, tmp_path / "known", STORIES, {"elsewhere.jsonl": digest})
    assert "trained on these very files" in evaluate("--data", str(stories), "--model", str(known)).stderr


def test_a_record_of_training_that_somebody_edited_is_no_obstacle(model: Path, stories: Path, tmp_path: Path) -> None:
    known = trained_on(model, tmp_path / "known", STORIES, {})
    for data, stderr in (({"fingerprint": {"keys": 3}}, "warning: training.json cannot say"), ("lost", "")):
        (known / "training.json").write_text(json.dumps({"data": data}), encoding="utf-8")
        result = evaluate("--data", str(stories), "--model", str(known))
        assert result.exit_code == 0
        assert result.stderr.startswith(stderr)
        assert bool(result.stderr) == bool(stderr)


@pytest.mark.parametrize(
    ("name", "content", "arguments", "code", "words"),
    [
        ("a.jsonl", b'{"text": "ok"}\n{"txt": 1}\n', (), 4, "a.jsonl"),
        ("a.jsonl", b"{", (), 4, "a.jsonl"),
        ("a.txt", b"", (), 4, "a.txt"),
        ("a.txt", b"\xff\xfe\x00", (), 4, "a.txt"),
        ("a.csv", b"title\nfox\n", ("--text-column", "text"), 4, "text"),
        ("a.pdf", b"%PDF", (), 4, "a.pdf"),
    ],
)
def test_data_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, content: bytes, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    result = evaluate("--data", name, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert words in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "missing option '--data'"),
        (("--data", "nowhere.jsonl"), 4, "nowhere.jsonl"),
        (("--data", "sample", "--model", "nope"), 3, "no model named 'nope'"),
        (("--data", "sample", "--max-stories", "0"), 2, "--max-stories"),
    ],
)
def test_errors_are_words_and_a_code(arguments: tuple[str, ...], code: int, words: str) -> None:
    result = evaluate(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
