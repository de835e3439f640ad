"""From nothing to the first word: whole processes, measured from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from storyteller.errors import StorytellerError

# Run by a small process of its own: the largest resident set of a child is never less than that of the process which forked it.
WATCH = """
import json, resource, subprocess, sys, time
begin = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL).returncode
seconds = time.perf_counter() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)]))
"""


def cold_start(model: Path, precision: str, rounds: int) -> dict[str, Any]:
    """Seconds of ``storyteller gen -n 1``, of ``import torch`` beside it, and the largest memory of the first, in bytes.

    All medians of processes that took turns, with a warm file cache; ``processor_seconds`` is what they computed, however busy the
    computer is.
    """
    tell = ["-m", "storyteller", "gen", "-n", "1", "--seed", "1", "--model", str(model), "--precision", precision, "Once"]
    commands = {"gen": tell, "torch": ["-c", "import torch"], "python": ["-c", "pass"]}
    taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            taken[name].append(_watched([sys.executable, *arguments]))
    medians = {name: [median(column) for column in zip(*rows, strict=True)] for name, rows in taken.items()}
    return {
        "seconds": medians["gen"][0],
        "processor_seconds": medians["gen"][1],
        "memory_bytes": max(memory for _, _, memory in taken["gen"]),
        "import_torch_seconds": medians["torch"][0],
        "python_seconds": medians["python"][0],
        "slowest": max(seconds for seconds, _, _ in taken["gen"]),
        "fastest": min(seconds for seconds, _, _ in taken["gen"]),
        "precision": precision,
    }


def _watched(command: list[str]) -> tuple[float, float, int]:
    result = subprocess.run([sys.executable, "-c", WATCH, *command], capture_output=True, text=True, check=True)
    code, seconds, processor_seconds, memory = json.loads(result.stdout)
    if code:
        raise StorytellerError(f"{' '.join(command[1:])} failed with exit code {code}", "run it by itself to see why")
    return seconds, processor_seconds, memory
