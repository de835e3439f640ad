"""The checkpoint directory: what was written is read, and what is damaged is found, in words, and never run."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from storyteller.checkpoint import files
from storyteller.checkpoint.format import begin_checkpoint, read_checkpoint, seal, unseal, verify, write_checkpoint
from storyteller.checkpoint.weights import load_weights, save_weights
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.params import SamplingParams
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid, ModelNotFound

CONFIG = GRUConfig(vocab_size=300, embed_dim=4, hidden_dim=5, num_layers=1, dropout=0.0, tie_weights=True)
PARAMS = SamplingParams(temperature=0.5, stop=("The end",))


def tokenizer() -> Tokenizer:
    return Tokenizer.train(["Once upon a time there was a fox. The fox was small."] * 3, 300)


def weights(config: GRUConfig = CONFIG, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return {name: random.normal(0, 1, shape).astype(np.float32) for name, shape in config.shapes().items()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    write_checkpoint(
        path, CONFIG, weights(), tokenizer(), PARAMS, {"data": 1}, "# card\n", styles={"wild": SamplingParams(temperature=1.5)}
    )
    return path


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text("utf-8"))
    edit(values)
    path.write_text(json.dumps(values), "utf-8")


def fails(path: Path, match: str) -> None:
    with pytest.raises(CheckpointInvalid, match=match) as caught:
        verify(path)
    assert caught.value.exit_code == 4
    assert "\n" not in caught.value.message


def test_what_was_written_is_read(model: Path) -> None:
    checkpoint = verify(model)
    assert (checkpoint.name, checkpoint.config, checkpoint.generation) == ("model", CONFIG, PARAMS)
    assert checkpoint.styles == {"wild": SamplingParams(temperature=1.5)}
    assert checkpoint.training == {"data": 1}
    assert checkpoint.sealed
    assert checkpoint.tokenizer.decode(checkpoint.tokenizer.encode("a fox")) == "a fox"
    for name, array in checkpoint.weights().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, weights()[name])
    assert sorted(file.name for file in model.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "training.json",
    ]


def test_other_tools_read_the_weights(model: Path) -> None:
    from safetensors.numpy import load_file

    for name, array in load_file(model / "model.safetensors").items():
        np.testing.assert_array_equal(array, weights()[name])


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_weights(tmp_path / name, weights(), CONFIG.shapes())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_half_the_bytes_are_read_as_float32(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "half", CONFIG, weights(), tokenizer(), dtype="float16")
    for name, array in verify(tmp_path / "half").weights().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, weights()[name].astype(np.float16).astype(np.float32))


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    shapes = {"a": (3, 2), "b": (4,)}
    exact = {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) * 0.5 - 1 for name, shape in shapes.items()}
    raw = {name: (array.view(np.uint32) >> 16).astype("<u2").tobytes() for name, array in exact.items()}
    header = {
        "a": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [0, 12]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [12, 20]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "w").write_bytes(len(text).to_bytes(8, "little") + text + raw["a"] + raw["b"])
    with (tmp_path / "w").open("rb") as file:
        import hashlib

        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for name, array in load_weights(tmp_path / "w", shapes, digest).items():
        np.testing.assert_array_equal(array, exact[name])


def test_nothing_is_a_model_until_all_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storyteller.checkpoint.format.seal", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_checkpoint(tmp_path / "model", CONFIG, weights(), tokenizer())
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(model: Path) -> None:
    before = (model / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointInvalid, match="already there"):
        write_checkpoint(model, CONFIG, weights(seed=1), tokenizer())
    assert (model / "model.safetensors").read_bytes() == before


def test_weights_of_another_shape_are_not_written(tmp_path: Path) -> None:
    wrong = weights() | {"output.bias": np.zeros(7, np.float32)}
    with pytest.raises(CheckpointInvalid, match="architecture"):
        save_weights(tmp_path / "w", wrong, CONFIG.shapes())


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, "float32"), (np.inf, "float32"), (1e30, "float16")])
def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path, value: float, dtype: Any) -> None:
    wrong = weights()
    wrong["output.bias"][3] = value
    with pytest.raises(CheckpointInvalid, match=r"output\.bias"):
        save_weights(tmp_path / "w", wrong, CONFIG.shapes(), dtype)
    assert list(tmp_path.iterdir()) == []


def test_no_model_is_said_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no config\.json") as caught:
        read_checkpoint(tmp_path)
    assert caught.value.exit_code == 3 and caught.value.hint


@pytest.mark.parametrize("sealed", [True, False])
def test_every_flipped_bit_of_the_weights_is_found(model: Path, sealed: bool) -> None:
    if not sealed:
        unseal(model)
        assert not verify(model).sealed
    path = model / "model.safetensors"
    whole = path.read_bytes()
    random = np.random.default_rng(11)
    header = int.from_bytes(whole[:8], "little") + 8
    places = [*range(0, header, 7), *random.integers(header, len(whole), 60), len(whole) - 1]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            damaged = verify(model).weights()
        except CheckpointInvalid as error:
            assert "\n" not in error.message
            continue
        # A space between two words of the header carries nothing.
        assert not sealed and place < header
        for name, array in damaged.items():
            np.testing.assert_array_equal(array, weights()[name])


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_found(model: Path, sealed: bool, share: float) -> None:
    if not sealed:
        unseal(model)
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointInvalid):
        read_checkpoint(model)


def test_trailing_bytes_are_found(model: Path) -> None:
    unseal(model)
    with (model / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    fails(model, "cut off or has bytes")


def test_missing_files_are_named(model: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        moved = (model / name).rename(model / "elsewhere")
        fails(model, name)
        moved.rename(model / name)
    for name in ("generation_config.json", "training.json", "README.md"):
        (model / name).unlink()
    checkpoint = verify(model)
    assert (checkpoint.generation, checkpoint.training) == (SamplingParams(), {})


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda v: v.update(hidden_dim=6), "shape|architecture"),
        (lambda v: v.update(num_layers=2), "another architecture"),
        (lambda v: v.update(tie_weights=False), "another architecture"),
        (lambda v: v.update(hidden_dim=1 << 20, embed_dim=1 << 20, num_layers=64), "another architecture"),
        (lambda v: v.update(hidden_dim=10**30), "hidden_dim must be"),
        (lambda v: v.update(vocab_size="300"), "vocab_size must be"),
        (lambda v: v.pop("embed_dim"), "embed_dim"),
        (lambda v: v.update(model_type="llama"), "another kind"),
        (lambda v: v.update(format_version=2), "format version 2; this storyteller reads up to 1"),
        (lambda v: v.update(format_version="1"), "format_version"),
        (lambda v: v.pop("format_version"), "format_version"),
        (lambda v: v.pop("sha256"), "sha256"),
        (lambda v: v.update(sha256={"tokenizer": v["sha256"]["tokenizer"], "weights": 5}), "sha256"),
        (lambda v: v["sha256"].update(weights="0" * 64), "damaged"),
        (lambda v: v["sha256"].update(tokenizer="0" * 64), r"tokenizer\.json is damaged"),
    ],
)
def test_a_config_that_does_not_fit_is_told(model: Path, edit: Callable[[dict[str, Any]], object], match: str) -> None:
    change(model / "config.json", edit)
    fails(model, match)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "training.json"])
@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 100_000])
def test_json_that_is_none_is_told(model: Path, name: str, text: bytes) -> None:
    (model / name).write_bytes(text)
    fails(model, name)


@pytest.mark.parametrize("edit", [{"temperature": -1}, {"temprature": 1}, {"styles": 3}, {"styles": {"a": {"top_p": 7}}}, {"stop": [3]}])
def test_a_generation_config_out_of_range_is_told(model: Path, edit: dict[str, Any]) -> None:
    change(model / "generation_config.json", lambda values: values.update(edit))
    fails(model, r"generation_config\.json")


def test_card_generation_and_training_are_free_to_edit(model: Path) -> None:
    (model / "README.md").write_text("# another", "utf-8")
    change(model / "generation_config.json", lambda values: values.update(temperature=0.1))
    change(model / "training.json", lambda values: values.update(more=[1]))
    assert verify(model).generation.temperature == 0.1


def test_an_edited_tokenizer_is_found(model: Path) -> None:
    file = model / "tokenizer.json"
    file.write_text(file.read_text("utf-8").replace("fo", "of"), "utf-8")
    fails(model, r"tokenizer\.json is damaged")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_pickle_is_named_and_never_run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, sealed: bool) -> None:
    monkeypatch.chdir(tmp_path)
    if not sealed:
        unseal(model)
    raw = pickle.dumps({"w": Bomb()}, protocol)
    (model / "model.safetensors").write_bytes(raw)
    with pytest.raises(CheckpointInvalid, match="pickle"):
        verify(model)
    with zipfile.ZipFile(model / "model.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", raw)
    with pytest.raises(CheckpointInvalid, match="pickle"):
        verify(model)
    (model / "pytorch_model.bin").write_bytes(raw)
    assert not (tmp_path / "exploded").exists()


def header_of(shapes: dict[str, tuple[int, ...]], **changes: Any) -> bytes:
    header: dict[str, Any] = {}
    place = 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    header["a"] |= changes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(place)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shape": [10**12]}, "shape"),
        ({"shape": [3, 2, -1]}, "shape"),
        ({"dtype": "I64"}, "'I64'"),
        ({"dtype": ["F32"]}, "not as float32"),
        ({"data_offsets": [0, 10**15]}, "where it should"),
        ({"data_offsets": [-24, 0]}, "where it should"),
        ({"data_offsets": [0, 24.0]}, "damaged header"),
        ({"data_offsets": None}, "damaged header"),
    ],
)
def test_a_header_that_lies_is_found_before_anything_is_allocated(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    shapes = {"a": (3, 2), "b": (4,)}
    path = tmp_path / "w"
    path.write_bytes(header_of(shapes, **changes))
    with pytest.raises(CheckpointInvalid, match=match):
        load_weights(path, shapes)


def test_a_file_without_any_digest_is_not_trusted(tmp_path: Path) -> None:
    shapes = {"a": (3, 2), "b": (4,)}
    (tmp_path / "w").write_bytes(header_of(shapes))
    with pytest.raises(CheckpointInvalid, match="no digest"):
        load_weights(tmp_path / "w", shapes)


@pytest.mark.parametrize("raw", [b"", b"\0" * 7, (10**18).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"[]"])
def test_what_is_no_safetensors_file_is_told(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "w").write_bytes(raw)
    with pytest.raises(CheckpointInvalid):
        load_weights(tmp_path / "w", {"a": (1,)})


def test_nan_in_a_file_with_the_right_digest_is_found(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unseal(model)
    wrong = weights()
    wrong["output.bias"][0] = np.nan
    with monkeypatch.context() as patched:
        patched.setattr("storyteller.checkpoint.weights.np.isfinite", lambda array: np.ones_like(array, bool))
        save_weights(model / "model.safetensors", wrong, CONFIG.shapes())
    seal(model)
    fails(model, "not finite")


def test_sealing_vouches_for_the_weights_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "model"
    begin_checkpoint(
        path, CONFIG, tokenizer(), SamplingParams(), lambda _: save_weights(path / "model.safetensors", weights(), CONFIG.shapes())
    )
    assert not read_checkpoint(path).sealed
    digest = seal(path)
    assert read_checkpoint(path).sha256 == digest
    save_weights(path / "model.safetensors", weights(seed=1), CONFIG.shapes())
    fails(path, "damaged")
    unseal(path)
    np.testing.assert_array_equal(verify(path).weights()["output.bias"], weights(seed=1)["output.bias"])


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_crash_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    path = tmp_path / "file"
    files.replace_text(path, "old")

    def crash(*_: object) -> None:
        raise RuntimeError("the light went out")

    def write(fresh: Path) -> None:
        fresh.write_text("ne")
        if moment == "write":
            crash()
        fresh.write_text("new")

    with monkeypatch.context() as patched:
        if moment == "fsync":
            patched.setattr(files.os, "fsync", crash)
        elif moment == "replace":
            patched.setattr(Path, "replace", crash)
        with pytest.raises(RuntimeError):
            files.replace_file(path, write)
    assert path.read_text() == "old"
    files.replace_file(path, write if moment != "write" else lambda fresh: fresh.write_text("new"))
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_model_is_as_public_as_its_neighbours(model: Path) -> None:
    assert len({file.stat().st_mode for file in model.iterdir()}) == 1


def test_neither_torch_nor_safetensors_is_needed_to_read(model: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from storyteller.checkpoint.format import verify; "
        f"verify(Path({str(model)!r})); print([name for name in ('torch', 'safetensors', 'pickle5') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
