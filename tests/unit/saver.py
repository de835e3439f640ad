"""Run by test_saves.py in a process of its own: saves that are killed, and saves for which there is no room.

Usage: saver.py kill|full CHECKPOINT SEED. Writes one JSON object: what was found afterwards.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from storyteller.checkpoint.files import replace_text
from storyteller.checkpoint.format import TRAINING, WEIGHTS, read_checkpoint, unseal, verify
from storyteller.checkpoint.weights import save_weights

KILLS = 30


def save(path: Path, value: float) -> None:
    """What a training does when it has a better model: the weights, then what is said about them."""
    shapes = read_checkpoint(path).config.shapes()
    save_weights(path / WEIGHTS, {name: np.full(shape, value, np.float32) for name, shape in shapes.items()}, shapes)
    replace_text(path / TRAINING, json.dumps({"value": value, "filler": "x" * 5000}))


def value_of(path: Path) -> float:
    """The one number that all weights of a whole save are; raises if the checkpoint is not whole."""
    checkpoint = verify(path)
    (value,) = {float(number) for array in checkpoint.weights().values() for number in np.unique(array)}
    assert set(checkpoint.training) == {"value", "filler"}
    return value


def killed(path: Path, chance: random.Random) -> list[float]:
    """The value that is there after each kill, of a process that does nothing but save."""
    save(path, 0.0)
    found = []
    for _ in range(KILLS):
        ready, begun = os.pipe()
        child = os.fork()
        if child == 0:
            value = found[-1] if found else 0.0
            while True:
                value += 1.0
                save(path, value)
                os.write(begun, b".")
        for _ in range(chance.randrange(1, 3)):
            os.read(ready, 1)
        time.sleep(chance.uniform(0.0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(begun)
        found.append(value_of(path))
    return found


def full(path: Path, chance: random.Random) -> list[float]:
    """The value that is there after each save that the system cut off at some length."""
    save(path, 7.0)
    size = (path / WEIGHTS).stat().st_size
    found = []
    for limit in (0, 1, 8, 100, size // 2, size - 1, *(chance.randrange(size) for _ in range(10))):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            save(path, 8.0)
        except OSError as error:
            assert str(error)
        else:
            raise AssertionError(f"a save of {size} bytes went through {limit}")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        found.append(value_of(path))
    return found


if __name__ == "__main__":
    place = Path(sys.argv[2])
    unseal(place)
    found = (killed if sys.argv[1] == "kill" else full)(place, random.Random(int(sys.argv[3])))
    print(json.dumps({"found": found, "left": sorted(file.name for file in place.iterdir())}))
