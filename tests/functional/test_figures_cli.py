"""``storyteller figures``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from storyteller.checkpoint.format import TRAINING
from storyteller.checkpoint.load import load
from storyteller.cli.main import app
from storyteller.engine.generate import prime
from storyteller.training.cleaning import clean, story_keys
from storyteller.training.fingerprint import Fingerprint

FIVE = ["embedding", "dynamics", "importance", "confidence", "diversity"]
STORIES = ["The fox found a red ball.", "They played all day.", "Where is my ball?", "The owl said so.", "Once upon a time."]


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


def figures(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["figures", *arguments])


def test_all_writes_the_five_and_prints_their_paths(tmp_path: Path) -> None:
    result = figures("--all", "--dpi", "50", "--data", "--report")
    assert result.exit_code == 0, result.stderr
    expected = [f"figures/{name}{suffix}" for name in FIVE for suffix in (".png", ".npz", ".json")]
    assert result.stdout.splitlines() == [*expected, "figures/report.html"]
    assert sorted(path.name for path in Path("figures").iterdir()) == sorted(Path(path).name for path in result.stdout.splitlines())
    for name in FIVE:
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"] {name}: " in result.stderr
    assert (tmp_path / "figures" / "report.html").read_text(encoding="utf-8").count("data:image/png") == 5


def test_extra_draws_the_further_ones(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "trained"
    shutil.copytree(model, copy)
    lines = [{"iteration": place, "tokens": place, "train_loss": 1.0, "nats_per_token": 1.0, "final": False} for place in range(3)]
    (copy / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    story = "Lily had a red ball. Then the fox saw Lily, and Tom ran home. " * 6
    result = figures("--extra", "--dpi", "50", "--model", str(copy), "--text", story, "--data", "--report")
    assert result.exit_code == 0, result.stderr
    expected = [f"figures/{name}{suffix}" for name in ("forgetting", "names", "growth", "lens") for suffix in (".png", ".npz", ".json")]
    assert result.stdout.splitlines() == [*expected, "figures/report.html"]


def test_extra_with_a_model_that_left_no_journal_draws_the_rest() -> None:
    story = "Lily had a red ball. Then the fox saw Lily, and Tom ran home. " * 6
    result = figures("--extra", "--dpi", "50", "--text", story)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == ["figures/forgetting.png", "figures/names.png", "figures/lens.png"]
    assert "warning: growth is left out: the training left no journal" in result.stderr
    alone = figures("growth")
    assert (alone.exit_code, alone.stdout) == (4, "")


def test_the_numbers_beside_a_figure_are_the_models(model: Path) -> None:
    assert figures("confidence", "--prompt", "The fox", "--data", "--dpi", "50", "--quiet").stderr == ""
    logits = prime(load(model), "The fox").logits.astype(np.float64)
    probabilities = np.sort(np.exp(logits) / np.exp(logits).sum())[::-1]
    with np.load("figures/confidence.npz") as arrays:
        assert arrays["probabilities"][0] == pytest.approx(probabilities[:10], abs=1e-9)
    values = json.loads(Path("figures/confidence.json").read_text(encoding="utf-8"))
    assert (values["kind"], values["prompts"]) == ("TokenConfidence", ["The fox"])


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_seed_gives_the_same_bytes(form: str) -> None:
    for out in ("one", "two"):
        result = figures("dynamics", "--format", form, "--out", out, "--seed", "3", "--dpi", "60", "--data")
        assert result.exit_code == 0, result.stderr
    for suffix in (form, "npz", "json"):
        assert Path(f"one/dynamics.{suffix}").read_bytes() == Path(f"two/dynamics.{suffix}").read_bytes()
    figures("dynamics", "--format", form, "--out", "two", "--seed", "4", "--dpi", "60")
    assert Path(f"one/dynamics.{form}").read_bytes() != Path(f"two/dynamics.{form}").read_bytes()


def test_a_contrast_is_drawn(tmp_path: Path) -> None:
    result = figures(
        "importance", "--text", "The fox found", "--target", "a", "--contrast", "the", "--data", "--dpi", "50", "--theme", "dark"
    )
    assert result.exit_code == 0, result.stderr
    values = json.loads(Path("figures/importance.json").read_text(encoding="utf-8"))
    assert (values["text"], values["targets"], values["contrasts"]) == ("The fox found", ["a"], ["the"])


def test_a_quantised_session_is_explained_by_the_float32_weights(model: Path) -> None:
    for precision in ("float32", "int8"):
        options = ("--precision", precision, "--out", precision, "--data", "--report", "--dpi", "50")
        result = figures("importance", "--text", "The fox found", *options)
        assert result.exit_code == 0, result.stderr
    assert json.loads(Path("int8/importance.json").read_text(encoding="utf-8"))["precision"] == "int8"
    assert "told in int8 but explained by the float32 weights" in Path("int8/report.html").read_text(encoding="utf-8")
    assert Path("int8/importance.npz").read_bytes() == Path("float32/importance.npz").read_bytes()


def test_calibration_on_a_file(stories: Path) -> None:
    result = figures("confidence", "--held-out", str(stories), "--data", "--dpi", "50")
    assert result.exit_code == 0, result.stderr
    assert "whether it has seen these stories is not known" in result.stderr
    values = json.loads(Path("figures/calibration.json").read_text(encoding="utf-8"))
    assert values["stories"] == 5


def trained_on(model: Path, folder: Path, texts: list[str]) -> Path:
    copy = folder / "trained"
    shutil.copytree(model, copy)
    keys = np.array([story_keys(clean(text)).whole for text in texts], np.uint64)
    data = {"fingerprint": Fingerprint.of_keys(keys, {}).to_json()}
    (copy / TRAINING).write_text(json.dumps({"data": data}), encoding="utf-8")
    return copy


def test_text_that_was_trained_on_is_refused_with_a_warning(model: Path, stories: Path, tmp_path: Path) -> None:
    seen = trained_on(model, tmp_path, STORIES[:2])
    result = figures("confidence", "--model", str(seen), "--held-out", str(stories), "--data", "--dpi", "50")
    assert result.exit_code == 0, result.stderr
    assert "warning: the model was trained on 40% of the stories" in result.stderr
    assert not Path("figures/calibration.json").exists()


def test_without_a_file_the_sample_is_used_if_it_is_unseen(model: Path, tmp_path: Path) -> None:
    unseen = trained_on(model, tmp_path, STORIES)
    result = figures("confidence", "--model", str(unseen), "--data", "--dpi", "50", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(Path("figures/calibration.json").read_text(encoding="utf-8"))["stories"] >= 50


def test_the_list_names_them_all() -> None:
    result = figures("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()][:5] == FIVE


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "no figure was named"),
        (("embeding",), 2, "did you mean embedding?"),
        (("--all", "--format", "bmp"), 2, "--format must be one of png, svg, pdf"),
        (("--all", "--theme", "neon"), 2, "--theme must be one of"),
        (("embedding", "--method", "mds"), 2, "--method must be one of"),
        (("importance", "--text", "a"), 2, "2 to 255 tokens"),
        (("importance", "--target", "xylophonist"), 2, "is not one token"),
        (("confidence", "--held-out", "nothing.jsonl"), 4, "nothing.jsonl"),
        (("dynamics", "--model", "nowhere/at/all"), 3, "nowhere"),
        (("dynamics", "--dpi", "10"), 2, "dpi"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence_and_leaves_nothing(arguments: tuple[str, ...], code: int, message: str) -> None:
    result = figures(*arguments)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert result.stdout == ""
    assert not list(Path("figures").glob("*")) if Path("figures").exists() else True


def test_a_damaged_model_is_refused(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(model, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    result = figures("dynamics", "--model", str(copy))
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("error: ")
