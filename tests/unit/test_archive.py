"""Archives: what is unpacked, and all that is not."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storyteller.checkpoint import archive
from storyteller.checkpoint.archive import unpack
from storyteller.errors import CheckpointInvalid

WHOLE = {"config.json": b"{}", "tokenizer.json": b"[]", "model.safetensors": b"12345678"}


def info(name: str, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def tar_of(path: Path, files: dict[str, bytes], *odd: tarfile.TarInfo, mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            tar.addfile(info(name, size=len(content)), io.BytesIO(content))
        for one in odd:
            tar.addfile(one, io.BytesIO(bytes(one.size)))
    return path


def zip_of(path: Path, files: dict[str, bytes], *odd: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
        for one, content in odd:
            opened.writestr(one, content)
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    folder = path.parent / "out"
    folder.mkdir()
    unpack(path, folder)
    return {file.name: file.read_bytes() for file in folder.rglob("*")}


def within(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {folder + name: content for name, content in files.items()}


@pytest.mark.parametrize("folder", ["", "bears/", "./", "./bears/"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path, files: tar_of(path, files),
        lambda path, files: tar_of(path, files, mode="w:gz"),
        lambda path, files: zip_of(path, files),
    ],
)
def test_a_model_is_found_at_the_top_or_in_a_folder_and_nothing_else_is_written(
    tmp_path: Path, folder: str, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    others = {"model.onnx": b"1", "run.py": b"1", "trainer.safetensors": b"1", "deep/er/config.json": b"1"}
    assert unpacked(make(tmp_path / "a", within(folder, WHOLE | {"README.md": b"hello"} | others))) == WHOLE | {"README.md": b"hello"}


BAD_NAMES = ("/etc/config", "../config.json", "a/../../b", "..", "C:/x", "a\\..\\b", "bears/../../x")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_elsewhere_refuse_the_whole(tmp_path: Path, name: str) -> None:
    for path in (tar_of(tmp_path / "a.tar", WHOLE | {name: b"x"}), zip_of(tmp_path / "a.zip", WHOLE | {name: b"x"})):
        with pytest.raises(CheckpointInvalid, match="leads elsewhere"):
            unpack(path, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "a.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", ["model.safetensors", "harmless"])
def test_links_and_devices_refuse_the_whole(tmp_path: Path, kind: bytes, name: str) -> None:
    files = {key: value for key, value in WHOLE.items() if key != name}
    path = tar_of(tmp_path / "a.tar", files, info(name, type=kind, linkname="/etc/passwd"))
    with pytest.raises(CheckpointInvalid, match="a link, a device or the like"):
        unpack(path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_in_a_zip(tmp_path: Path, kind: int) -> None:
    odd = zipfile.ZipInfo("model.safetensors")
    odd.external_attr = (kind | 0o777) << 16
    path = zip_of(tmp_path / "a.zip", {"config.json": b"{}"}, (odd, b"/etc/passwd"))
    with pytest.raises(CheckpointInvalid, match="a link, a device"):
        unpack(path, tmp_path)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    raw = bytearray(zip_of(tmp_path / "a.zip", WHOLE).read_bytes())
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(CheckpointInvalid, match="encrypted"):
        unpack(tmp_path / "a.zip", tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a/config.json": b"{}", "b/config.json": b"{}"}, "holds 2 models"),
        ({"README.md": b"x"}, "holds no model"),
        ({"config.json": b"{}", "model.safetensors": b""}, "lacks tokenizer.json"),
        ({}, "neither a"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    with pytest.raises(CheckpointInvalid, match=words):
        unpack(tar_of(tmp_path / "a.tar", files), tmp_path)


def test_a_file_twice(tmp_path: Path) -> None:
    with pytest.raises(CheckpointInvalid, match=r"config.json twice"):
        unpack(tar_of(tmp_path / "a.tar", WHOLE, info("config.json")), tmp_path)


def test_sizes_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST_JSON", 10)
    with pytest.raises(CheckpointInvalid, match=r"tokenizer.json in .* is too large"):
        unpack(tar_of(tmp_path / "a.tar", WHOLE | {"tokenizer.json": bytes(11)}), tmp_path)
    monkeypatch.setattr(archive, "LARGEST_MODEL", 1000)
    for path in (
        tar_of(tmp_path / "b.tgz", WHOLE, info("x", size=2000), mode="w:gz"),
        zip_of(tmp_path / "b.zip", WHOLE | {"x": bytes(2000)}),
    ):
        with pytest.raises(CheckpointInvalid, match="larger inside"):
            unpack(path, tmp_path)
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    with pytest.raises(CheckpointInvalid, match="larger inside"):
        unpack(tar_of(tmp_path / "c.tar", WHOLE | {"x": b""}), tmp_path)


def test_a_header_of_absurd_length_is_not_read_into_memory(tmp_path: Path) -> None:
    made = info("config.json", size=archive.LONGEST_READ * 2, type=tarfile.XHDTYPE)
    with gzip.open(tmp_path / "a.tgz", "wb", compresslevel=1) as file:
        file.write(made.tobuf(tarfile.USTAR_FORMAT) + bytes(2000))
    with pytest.raises(CheckpointInvalid, match="damaged"):
        unpack(tmp_path / "a.tgz", tmp_path)


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    raw = bytearray(
        zip_of(tmp_path / "a.zip", {"config.json": b"{}", "tokenizer.json": b"[]", "model.safetensors": bytes(5000)}).read_bytes()
    )
    place = raw.index(b"PK\x01\x02")
    last = raw.rindex(b"PK\x01\x02")
    assert last > place
    raw[last + 24 : last + 28] = (50).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(CheckpointInvalid):
        unpack(tmp_path / "a.zip", tmp_path / "..")


@pytest.mark.parametrize(
    "make", [lambda path: tar_of(path, WHOLE), lambda path: tar_of(path, WHOLE, mode="w:gz"), lambda path: zip_of(path, WHOLE)]
)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_a_beginning_is_no_archive(tmp_path: Path, make: Callable[[Path], Path], share: float) -> None:
    path = make(tmp_path / "a")
    raw = path.read_bytes().rstrip(b"\0")
    path.write_bytes(raw[: int(len(raw) * share)])
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointInvalid):
        unpack(path, tmp_path / "out")


def test_what_is_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello" * 200)
    with pytest.raises(CheckpointInvalid, match="neither a"):
        unpack(tmp_path / "a", tmp_path)
