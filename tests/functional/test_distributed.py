"""Two real processes train as one does: gloo on the CPU, met over a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storyteller.training import Config, train_events
from storyteller.training.events import Evaluated, Iterated

NEVER = -1
WORKER = """
import json, sys
import torch

rank, store, jobs = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
from storyteller.training import Config, train_events
from storyteller.training.session import Session

passed = Session._pass

def without_exchange(self, *arguments):
    with self.accelerator.no_sync(self.network):
        return passed(self, *arguments)

curves = []
for settings, exchanged, stop_at in jobs:
    Session._pass = passed if exchanged else without_exchange
    curve = []
    for event in train_events(Config(**settings), stop=lambda: len(curve) == stop_at):
        kind = type(event).__name__
        if kind == "Iterated":
            curve.append(event.loss)
        elif kind == "Evaluated":
            curve.append(event.nats_per_token)
        elif kind == "Planned":
            assert event.processes == 2
    curves.append(curve)
print(json.dumps(curves))
torch.distributed.destroy_process_group()
"""


def settings(out: Path, stories: Path, **more: Any) -> dict[str, Any]:
    return {
        "preset": "tiny",
        "embed_dim": 12,
        "hidden_dim": 16,
        "num_layers": 2,
        "dropout": 0.0,
        "vocab_size": 300,
        "batch_size": 6,
        "seq_len": 12,
        "max_iterations": 15,
        "eval_every": 6,
        "valid_share": 0.2,
        "sample_every": 0,
        "learning_rate": 0.03,
        "threads": 1,
        "device": "cpu",
        "precision": "float32",
        "files": [str(stories)],
        "out": str(out),
        **more,
    }


def by_two(folder: Path, jobs: list[tuple[dict[str, Any], bool, int]]) -> list[list[float]]:
    """The curves that two processes agree on; a job is settings, whether gradients are exchanged, and after how many figures to stop."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(folder / "store"), json.dumps(jobs)],
            # accelerate wants to know an address, though the processes have met already.
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        told = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], told
    curves: list[list[list[float]]] = [json.loads(out.splitlines()[-1]) for out, _ in told]
    assert curves[0] == curves[1]
    return curves[0]


def by_one(values: dict[str, Any]) -> list[float]:
    curve = []
    for event in train_events(Config(**values)):
        if isinstance(event, Iterated):
            curve.append(event.loss)
        elif isinstance(event, Evaluated) and event.nats_per_token is not None:
            curve.append(event.nats_per_token)
    return curve


def test_two_processes_train_as_one_and_resume_exactly(tmp_path: Path) -> None:
    stories = tmp_path / "stories.txt"
    told = (f"A {'big ' * (n % 7)}fox ate {n} of {n * n % 13} pies and {'slept' * (n % 3)} went home." for n in range(80))
    stories.write_text("\n\n".join(told))
    one = by_one(settings(tmp_path / "one", stories))
    assert len(one) == 15 + 5 and one[-1] < one[0] - 1

    hard = {"dropout": 0.2, "accumulate": 2, "batch_size": 8, "time_limit": 3600, "max_iterations": 12}
    two, apart, whole, begun, rest = by_two(
        tmp_path,
        [
            (settings(tmp_path / "two", stories), True, NEVER),
            (settings(tmp_path / "apart", stories), False, NEVER),
            (settings(tmp_path / "whole", stories, **hard), True, NEVER),
            (settings(tmp_path / "parts", stories, **hard), True, 9),
            (settings(tmp_path / "parts", stories, resume=True, **hard), True, NEVER),
        ],
    )
    assert two == pytest.approx(one, abs=1e-5)
    # The line above must notice when gradients are not exchanged.
    assert max(abs(a - b) for a, b in zip(apart, one, strict=True)) > 1e-3
    assert len(begun) == 9
    assert begun + rest == whole
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (tmp_path / "parts" / "model.safetensors").read_bytes()
