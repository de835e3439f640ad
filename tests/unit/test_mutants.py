"""A damaged or malicious checkpoint is a sentence and exit code 4, and nothing in it is ever run: 2,000 of them, spoiled by mutants.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("mutants.py")
EACH = 500
SEED = int(os.environ.get("MUTANTS_SEED", "1"))

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits the address space as Linux does")


@pytest.mark.parametrize("part", range(4))
def test_every_mutant_is_whole_or_refused_in_words(tiny_checkpoint: Path, tmp_path: Path, part: int) -> None:
    seed = SEED + part * EACH
    print(f"seeds {seed} to {seed + EACH - 1}; others: MUTANTS_SEED=…")
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(tiny_checkpoint), str(tmp_path), str(seed), str(EACH)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["wrong"] == []
    assert sum(told["outcomes"].values()) == EACH
    # Most of what is spoiled is noticed; what is free to edit may be changed and stay a model.
    assert sum(count for way, count in told["outcomes"].items() if way.endswith(" 4")) > EACH / 2
