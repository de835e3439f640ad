"""Run by test_mutants.py in processes of its own: spoil a checkpoint in many ways, and see what ``storyteller models verify`` says of each.

Usage: mutants.py CHECKPOINT FOLDER SEED COUNT. Writes one JSON object: how often each outcome came, and everything that must not be.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import resource
import shutil
import sys
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from typer.main import get_command

from storyteller.checkpoint.weights import load_weights, save_weights
from storyteller.cli.main import app
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.tokenizer import Tokenizer

ROOM = 256 << 20
DIGITS = sys.get_int_max_str_digits()
JSONS = ("config.json", "tokenizer.json", "generation_config.json", "training.json")
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**64,
    10**4000,
    10**5000,
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "\0",
    "\ud800",
    "é" * 1000,
    "../" * 9,
    [],
    {},
    [[]],
    {"a": {}},
    [1] * 1000,
]
DTYPES = ("F32", "F16", "BF16", "F64", "I8", "I32", "I64", "U8", "BOOL", "F8_E4M3", "F4", "", None, 7, ["F32"])


class Touch:
    """A pickle of this makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


class Mutator:
    """Each method spoils the checkpoint in ``self.path`` in another way."""

    def __init__(self, path: Path, chance: random.Random, trace: Path) -> None:
        self.path = path
        self.chance = chance
        self.trace = trace

    def any_file(self) -> Path:
        return self.path / self.chance.choice([*JSONS, "model.safetensors", "model.safetensors"])

    def header(self) -> tuple[dict[str, Any], bytes]:
        raw = (self.path / "model.safetensors").read_bytes()
        length = int.from_bytes(raw[:8], "little")
        return json.loads(raw[8 : 8 + length]), raw[8 + length :]

    def put_header(self, header: Any, body: bytes) -> None:
        text = json.dumps(header).encode()
        (self.path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)

    def sign(self) -> None:
        """Let config.json vouch for what is there now, or, now and then, not."""
        config = self.path / "config.json"
        try:
            values = json.loads(config.read_bytes())
            for key, name in (("weights", "model.safetensors"), ("tokenizer", "tokenizer.json")):
                if self.chance.random() < 0.8:
                    values["sha256"][key] = hashlib.sha256((self.path / name).read_bytes()).hexdigest()
            if self.chance.random() < 0.2:
                values["sha256"].pop("weights")
            config.write_text(json.dumps(values))
        except (ValueError, KeyError, TypeError, RecursionError, OSError):
            return

    def truncate(self) -> None:
        file = self.any_file()
        raw = file.read_bytes()
        places = [0, 1, 7, 8, 9, len(raw) - 1, self.chance.randrange(len(raw) + 1)]
        if file.suffix == ".safetensors":
            length = 8 + int.from_bytes(raw[:8], "little")
            ends = [length + one["data_offsets"][1] for name, one in self.header()[0].items() if name != "__metadata__"]
            places += [end + shift for end in (length, *ends) for shift in (-1, 0, 1, 4)]
        file.write_bytes(raw[: self.chance.choice(places)])

    def flip_bits(self) -> None:
        file = self.any_file()
        raw = bytearray(file.read_bytes())
        for _ in range(self.chance.choice([1, 1, 2, 30])):
            place = self.chance.randrange(min(len(raw), self.chance.choice([8, 64, 2000, len(raw)])))
            raw[place] ^= 1 << self.chance.randrange(8)
        file.write_bytes(raw)

    def insert_bytes(self) -> None:
        file = self.any_file()
        raw = file.read_bytes()
        place = self.chance.choice([0, len(raw), self.chance.randrange(len(raw) + 1)])
        file.write_bytes(raw[:place] + self.chance.choice([b"\0", b"}", b" ", b"\xff\xfe", self.chance.randbytes(40)]) + raw[place:])

    def swap_tokenizer(self) -> None:
        words = [f"{self.chance.random()} words" for _ in range(40)]
        (self.path / "tokenizer.json").write_text(Tokenizer.train(words, self.chance.choice([257, 300, 320, 400])).to_str())

    def swap_files(self) -> None:
        one, other = self.any_file(), self.any_file()
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)

    def odd_numbers(self) -> None:
        """Weights that no network can compute with, in a file that is otherwise right."""
        config = GRUConfig.from_dict(json.loads((self.path / "config.json").read_bytes()))
        weights = load_weights(self.path / "model.safetensors", config.shapes())
        save_weights(self.path / "model.safetensors", weights, config.shapes(), self.chance.choice(["float32", "float16"]))
        if self.chance.random() < 0.8:
            header, body = self.header()
            array = np.frombuffer(body, np.uint8).copy()
            place = self.chance.randrange(len(array) // 4) * 4
            array[place : place + 4] = np.frombuffer(np.float32(self.chance.choice([np.nan, np.inf, -np.inf])).tobytes(), np.uint8)
            self.put_header(header, array.tobytes())

    def declare(self) -> None:
        """An architecture, a tensor's shape, type or place that is not so."""
        header, body = self.header()
        config = json.loads((self.path / "config.json").read_bytes())
        for _ in range(self.chance.choice([1, 1, 3])):
            name = self.chance.choice([name for name, entry in header.items() if name != "__metadata__" and isinstance(entry, dict)])
            match self.chance.randrange(6):
                case 0:
                    config[self.chance.choice(["vocab_size", "hidden_dim", "embed_dim", "num_layers"])] = self.chance.choice(
                        [1, 64, 65_535, 1 << 20, 1 << 40]
                    )
                case 1:
                    header[name]["shape"] = self.chance.choice([[1 << 40], [1 << 31, 1 << 31], [], [0], [-1], [1.5], "x", None, [1] * 99])
                case 2:
                    header[name]["dtype"] = self.chance.choice(DTYPES)
                case 3:
                    header[name]["data_offsets"] = self.chance.choice(
                        [[0, 1 << 60], [-8, 0], [8, 0], [0], None, [0.0, 8.0], [0, 2**70], ["0", "8"]]
                    )
                case 4:
                    header[self.chance.choice(["extra.weight", "__metadata__", ""])] = self.chance.choice([header[name], *ODD])
                case _:
                    header.pop(name, None) if len(header) > 3 else None
        self.put_header(header, body)
        (self.path / "config.json").write_text(json.dumps(config))

    def header_length(self) -> None:
        raw = (self.path / "model.safetensors").read_bytes()
        length = self.chance.choice([0, 1, 2, 2**31, 2**63, 2**64 - 1, len(raw), len(raw) - 8, 16 << 20, self.chance.randrange(len(raw))])
        (self.path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + raw[8:])

    def odd_values(self) -> None:
        """A value of a JSON file, at any depth, that is something else."""
        file = self.path / self.chance.choice(JSONS)
        place = values = json.loads(file.read_bytes())
        for _ in range(4):
            keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = self.chance.choice(keys)
            if isinstance(place[key], dict | list) and self.chance.random() < 0.7:
                place = place[key]
                continue
            place[key] = self.chance.choice(ODD)
            break
        file.write_text(json.dumps(values))

    def deep(self) -> None:
        depth = self.chance.choice([50, 130, 2_000, 200_000])
        text = self.chance.choice(['{"a":' * depth + "1" + "}" * depth, "[" * depth + "]" * depth, "[" * depth, '{"sha256":' * depth])
        name = self.chance.choice([*JSONS, "header", "metadata"])
        if name == "header":
            (self.path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text.encode())
        elif name == "metadata":
            _, body = self.header()
            made = b'{"__metadata__":' + text.encode() + b"}"
            (self.path / "model.safetensors").write_bytes(len(made).to_bytes(8, "little") + made + body)
        else:
            (self.path / name).write_text(text)

    def link(self) -> None:
        """Something that is no plain file; what has no config.json is no model, and so not asked here."""
        file = self.path / self.chance.choice(["tokenizer.json", "model.safetensors", "generation_config.json", "training.json"])
        content = file.read_bytes()
        file.unlink()
        match self.chance.randrange(7):
            case 0:
                file.symlink_to("/dev/zero")
            case 1:
                file.symlink_to("/etc/passwd")
            case 2:
                file.symlink_to(file.name)
            case 3:
                file.symlink_to("nothing")
            case 4:
                file.mkdir()
            case 5:
                os.mkfifo(file)
            case _:
                (self.path / "elsewhere").write_bytes(content)
                file.symlink_to("elsewhere")

    def remove(self) -> None:
        (self.path / self.chance.choice([*JSONS[1:], "model.safetensors"])).unlink()

    def disguise(self) -> None:
        """A pickle, or a zip with one as torch.save writes it, under another name."""
        pickled = pickle.dumps({"weight": Touch(self.trace)}, protocol=self.chance.randrange(6))
        if self.chance.random() < 0.4:
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as opened:
                opened.writestr("archive/data.pkl", pickled)
            pickled = archive.getvalue()
        self.any_file().write_bytes(pickled)

    def ways(self) -> list[Callable[[], None]]:
        return [
            self.truncate,
            self.truncate,
            self.flip_bits,
            self.flip_bits,
            self.insert_bytes,
            self.swap_tokenizer,
            self.swap_files,
            self.odd_numbers,
            self.declare,
            self.declare,
            self.header_length,
            self.odd_values,
            self.odd_values,
            self.deep,
            self.link,
            self.remove,
            self.disguise,
        ]


def limit_memory() -> None:
    """No more address space than what is there and ROOM."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))


def verify(command: Any, path: Path) -> tuple[Any, str]:
    """Exit code and stderr of ``storyteller models verify``."""
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        try:
            command.main(["models", "verify", str(path)], prog_name="storyteller")
        except SystemExit as end:
            return end.code, said.getvalue()
        except BaseException:
            traceback.print_exc()
    return "fell", said.getvalue()


def main(source: Path, folder: Path, seed: int, count: int) -> None:
    command = get_command(app)
    trace = folder / "executed"
    assert verify(command, source) == (0, "")
    # What is spoiled here need not outlive the computer, and waiting for the disk takes far longer than all the rest.
    os.fsync = lambda handle: None
    limit_memory()
    outcomes: Counter[str] = Counter()
    wrong: list[dict[str, Any]] = []
    longest = 0.0
    for number in range(seed, seed + count):
        path = folder / "mutant"
        shutil.copytree(source, path)
        mutator = Mutator(path, random.Random(number), trace)
        way = mutator.chance.choice(mutator.ways())
        # Python itself writes no whole number of so many digits, unless told to; what is tested reads none, either.
        sys.set_int_max_str_digits(0)
        way()
        if mutator.chance.random() < 0.6 and way.__name__ != "link":
            mutator.sign()
        sys.set_int_max_str_digits(DIGITS)
        begin = time.perf_counter()
        code, said = verify(command, path)
        longest = max(longest, time.perf_counter() - begin)
        outcomes[f"{way.__name__} {code}"] += 1
        in_words = code == 0 or (said.startswith("error: ") and "Traceback" not in said)
        if code not in (0, 4) or not in_words or trace.exists():
            wrong.append({"seed": number, "way": way.__name__, "code": code, "said": said[-400:]})
        shutil.rmtree(path)
    print(json.dumps({"outcomes": outcomes, "wrong": wrong, "longest": longest}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
