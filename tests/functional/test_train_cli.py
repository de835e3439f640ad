"""``storyteller train`` as a person types it: plan, signals, crashes, errors in words."""

from __future__ import annotations

import io
import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import torch
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner, Result

from storyteller.checkpoint.format import verify
from storyteller.cli.main import app
from storyteller.cli.train import SECTIONS
from storyteller.cli.train_live import LiveDisplay, loss_curve
from storyteller.training.config import RULES
from storyteller.training.events import Iterated, Sampled
from storyteller.training.state import load_trainer

SMALL = (
    *("--preset", "tiny", "--embed-dim", "12", "--hidden-dim", "16", "--vocab-size", "300", "--batch-size", "4", "--seq-len", "16"),
    *("--device", "cpu", "--precision", "float32", "--threads", "1", "--eval-stories", "5"),
)
KILLS = 5


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "stories.txt"
    rng = random.Random(2)
    words = ["fox", "owl", "ball", "red", "hill", "ran", "saw", "little", "went"]
    path.write_text("\n\n".join(f"The {' '.join(rng.choices(words, k=rng.randint(6, 40)))} of {n} ended." for n in range(150)), "utf-8")
    return path


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def train(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def spawn(*arguments: object, stderr: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "storyteller", "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    """What the process writes to stderr until a line holds ``words``."""
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if words in line:
            return told
    raise AssertionError(f"ended without {words!r}: {told}")


def test_a_training_in_plain_lines(tmp_path: Path, stories: Path) -> None:
    out = tmp_path / "mine"
    result = train(stories, "--out", out, "--max-iterations", 6, "--eval-every", 3, "--sample-prompt", "The fox", *SMALL)
    assert (result.exit_code, result.stdout) == (0, "")
    told = result.stderr
    for words in (
        "to train on",
        "held out",
        "parameters",
        "device: cpu, float32, 1 threads",
        "6 iterations",
        "about",
        "bits per byte",
        "The fox",
    ):
        assert words in told
    assert "done (complete): 6 iterations" in told
    assert "\x1b" not in told
    verify(out)
    again = train(stories, "--out", out, *SMALL)
    assert again.exit_code == 2
    assert "already holds a training" in again.stderr and "--resume" in again.stderr


def test_dry_run_shows_the_plan_and_leaves_nothing(tmp_path: Path, stories: Path) -> None:
    result = train(stories, "--out", tmp_path / "mine", "--epochs", 3, "--dry-run", *SMALL)
    assert result.exit_code == 0
    assert "(3.0 epochs)" in result.stderr and "about" in result.stderr
    assert not (tmp_path / "mine").exists()


def test_json_is_one_event_a_line(tmp_path: Path, stories: Path) -> None:
    result = train(stories, "--out", tmp_path / "mine", "--max-iterations", 2, "--json", "--sample-every", 0, *SMALL)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events] == [
        *("planned", "saved", "evaluated", "iterated", "iterated", "evaluated", "saved", "evaluated", "finished"),
    ]
    assert events[-1]["result"]["path"] == str(tmp_path / "mine")
    assert events[0]["settings"]["batch_size"] == 4
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--dropout", "1.5"], 2, "dropout must be a number from 0 to below 1"),
        (["--preset", "huge"], 2, "one of tiny, small, base"),
        (["--time-limit", "soon"], 2, "90m"),
        (["--layrs", "2"], 2, "no such option"),
        (["--init-from", "/nowhere"], 3, "no model"),
        (["/nowhere/stories.txt"], 4, "no such file"),
        (["--device", "tpu"], 2, "tpu is not here"),
    ],
)
def test_what_makes_no_sense_is_an_error_in_words(tmp_path: Path, stories: Path, arguments: list[str], code: int, words: str) -> None:
    data = [] if arguments[0].startswith("/nowhere/s") else [stories]
    result = train(*data, "--out", tmp_path / "mine", *SMALL, *arguments)
    assert result.exit_code == code
    assert result.stderr.startswith("error: ") and words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "mine").exists()


def test_a_bare_train_without_a_network_names_the_file_options(tmp_path: Path) -> None:
    result = train()
    assert result.exit_code == 5
    assert "hint: storyteller train FILE.txt" in result.stderr
    assert "--dataset sample" in result.stderr


def test_without_torch_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = "import sys; sys.modules['torch'] = None; sys.argv = ['storyteller', 'train', '--dataset', 'sample', *sys.argv[1:]]; "
    code = hidden + "from storyteller.cli.main import run; run()"
    for more in ([], ["--preset", "tiny"]):
        result = subprocess.run([sys.executable, "-c", code, *more], capture_output=True, text=True, timeout=60)
        assert result.returncode == 1
        assert result.stderr == "error: training needs the package torch\nhint: pip install torch\n"


def test_every_setting_has_an_option_or_is_of_the_reference_form() -> None:
    offered = {field for fields in SECTIONS.values() for field in fields}
    assert set(RULES) - offered == {"files", "train_csv_path", "val_csv_path", "custom_text_file", "use_tinystories"}
    parameters = {parameter.name for parameter in get_command(app).commands["train"].params}  # type: ignore[attr-defined]
    assert offered <= parameters


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends_with_130_and_the_rest_is_exact(tmp_path: Path, stories: Path, number: signal.Signals) -> None:
    settings = (stories, "--max-iterations", 300, "--eval-every", 150, "--sample-every", 0, "--dropout", 0.2, *SMALL)
    out = tmp_path / "mine"
    with spawn(*settings, "--out", out) as process:
        wait_for(process, "iteration 1/300")
        process.send_signal(number)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "stopped and saved" in told and f"storyteller train --resume --out {out}" in told
    stopped_at = load_trainer(out).progress.iteration
    assert 0 < stopped_at < 300
    verify(out)
    if number == signal.SIGINT:
        return
    assert train("--resume", "--out", out).exit_code == 0
    assert train(*settings, "--out", tmp_path / "whole").exit_code == 0
    one, two = load_trainer(out), load_trainer(tmp_path / "whole")
    assert all(torch.equal(tensor, two.tensors[name]) for name, tensor in one.tensors.items())


def test_a_second_signal_ends_it_at_once(tmp_path: Path, stories: Path) -> None:
    code = (
        "import sys, time, signal; from storyteller.training.session import Session\n"
        "def endless(self):\n    print('here', file=sys.stderr, flush=True)\n    while True: time.sleep(0.01)\n"
        "Session.iterate = endless\nfrom storyteller.cli.main import run; run()"
    )
    command = [sys.executable, "-c", code, "train", str(stories), "--out", str(tmp_path / "m"), "--sample-every", "0", *SMALL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(process, "here")
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    verify(tmp_path / "m")


def test_killed_at_any_moment_it_leaves_a_model_and_goes_on(tmp_path: Path, stories: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    out = tmp_path / "mine"
    settings = (stories, "--max-iterations", 100_000, "--eval-every", 3, "--sample-every", 0, "--save-every", 0, "--plain", *SMALL)
    before = 0
    for _ in range(KILLS):
        with spawn(*settings, "--out", out, "--resume") as process:
            wait_for(process, "iteration ")
            time.sleep(rng.uniform(0, 0.4))
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        verify(out)
        now = load_trainer(out).progress.iteration
        assert now >= before
        before = now
    assert before > 0


def test_a_terminal_gets_a_live_picture(tmp_path: Path, stories: Path) -> None:
    master, slave = pty.openpty()
    arguments = (stories, "--out", tmp_path / "mine", "--max-iterations", 30, "--eval-every", 10, *SMALL)
    with os.fdopen(slave, "wb") as terminal:
        process = spawn(*arguments, stderr=terminal)
    told = b""
    while True:
        if not select.select([master], [], [], 60)[0]:
            break
        try:
            told += os.read(master, 65536)
        except OSError:
            break
    out, _ = process.communicate()
    os.close(master)
    assert (process.returncode, out) == (0, "")
    text = told.decode("utf-8", "replace")
    for words in ("parameters", "loss, nats per token", "tokens/s", "the model, by now", "gradient norm", "done (complete): 30 iterations"):
        assert words in text


def test_the_live_picture_shows_what_is_known_and_never_obeys_the_model() -> None:
    console = Console(width=100, height=40, record=True, file=io.StringIO())
    live = LiveDisplay(console)
    live.preparing("reading tales.txt", 3000)
    console.print(live.picture())
    for iteration in range(1, 60):
        live.show(iterated(iteration, loss=6 / iteration))
    live.show(Sampled(iteration=3, samples=(("Once", " \x1b[31m[bold]upon[/bold] a time"),)))
    console.print(live.picture())
    text = console.export_text()
    for words in ("reading tales.txt: 3,000 stories", "iteration 59/100", "1,000 tokens/s", "gradient norm 0.50", "[bold]upon[/bold]"):
        assert words in text
    assert "\x1b" not in text and "\ufffd" in text


def iterated(iteration: int, loss: float) -> Iterated:
    return Iterated(
        iteration=iteration,
        total=100,
        epoch=0.5,
        tokens=iteration * 64,
        seconds=float(iteration),
        loss=loss,
        learning_rate=0.001,
        grad_norm=0.5,
        tokens_per_second=1000.0,
    )


def test_the_curve_falls_as_the_loss_does() -> None:
    lines = loss_curve([8.0, 4.0, 2.0, 1.0], width=10, height=3)
    assert len(lines) == 3
    assert lines[0].startswith("  8.000 █") and lines[-1].startswith("  1.000 ███▁")
    assert [sum(line[8 + column] != " " for line in lines) for column in range(4)] == [3, 2, 2, 1]
    assert loss_curve([1.0], 10, 3) == []
    assert len(loss_curve([float(n + 1) for n in range(1000)], 40, 2)[0]) == 8 + 40


def test_a_long_training_keeps_a_bounded_curve() -> None:
    live = LiveDisplay(Console(file=sys.stderr))
    for _ in range(10_000):
        live.show(iterated(1, 2.5))
    assert 1000 < len(live.losses) < 4096
    assert set(live.losses) == {2.5}
