"""Which model a name, a path, or nothing means."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from storyteller import paths
from storyteller.checkpoint.registry import find, list_models
from storyteller.errors import CheckpointInvalid, ModelNotFound


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory beside an installed package whose shipped models are the ones put here."""
    package, work = tmp_path / "package", tmp_path / "work"
    (package / "shipped").mkdir(parents=True)
    work.mkdir()
    monkeypatch.setattr(paths, "PACKAGE", package)
    monkeypatch.chdir(work)
    return package / "shipped"


def put(checkpoint: Path, place: Path) -> Path:
    shutil.copytree(checkpoint, place)
    return place.resolve()


def test_a_path_is_taken_as_it_is(shipped: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(tiny_checkpoint) == find(str(tiny_checkpoint)) == tiny_checkpoint.resolve()
    monkeypatch.chdir(tiny_checkpoint.parent)
    assert find("tiny") == find("./tiny") == tiny_checkpoint.resolve()


def test_the_weights_file_means_its_directory(shipped: Path, tiny_checkpoint: Path) -> None:
    assert find(tiny_checkpoint / "model.safetensors") == tiny_checkpoint.resolve()


def test_the_nearest_model_of_a_name_is_meant_and_listed(shipped: Path, tiny_checkpoint: Path) -> None:
    far = put(tiny_checkpoint, shipped / "fox")
    assert find("fox") == far
    nearer = put(tiny_checkpoint, paths.models_dir() / "fox")
    assert find("fox") == nearer
    nearest = put(tiny_checkpoint, Path("models/fox"))
    assert find("fox") == nearest
    assert [(entry.name, entry.origin) for entry in list_models()] == [("fox", "project")]


def test_nothing_said_means_the_marked_one_and_never_one_of_the_working_directory(shipped: Path, tiny_checkpoint: Path) -> None:
    put(tiny_checkpoint, shipped / "aardvark")
    marked = put(tiny_checkpoint, shipped / "fox")
    (shipped / "default").write_text("fox\n", encoding="utf-8")
    put(tiny_checkpoint, Path("models/fox"))
    assert find() == marked
    assert [(entry.name, entry.origin, entry.default) for entry in list_models()] == [
        ("fox", "project", False),
        ("aardvark", "shipped", False),
    ]


def test_variable_and_settings_say_which_is_meant_when_nobody_does(
    shipped: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fox", "owl", "hen"):
        put(tiny_checkpoint, shipped / name)
    (shipped / "default").write_text("fox", encoding="utf-8")
    assert find().name == "fox"
    Path("storyteller.toml").write_text('model = "owl"', encoding="utf-8")
    assert find().name == "owl"
    monkeypatch.setenv("STORYTELLER_MODEL", "hen")
    assert find().name == "hen"
    assert find("fox").name == "fox"


def test_an_unknown_name_names_the_nearest_and_all(shipped: Path, tiny_checkpoint: Path) -> None:
    put(tiny_checkpoint, shipped / "tinystories-small")
    with pytest.raises(ModelNotFound, match="no model named 'tinystory-small'; did you mean tinystories-small") as caught:
        find("tinystory-small")
    assert caught.value.hint == "models here: tinystories-small"


def test_where_no_model_is_the_hint_says_how_to_make_one(shipped: Path) -> None:
    with pytest.raises(ModelNotFound) as caught:
        find("fox")
    assert "storyteller train" in caught.value.hint
    with pytest.raises(ModelNotFound, match="no model came with this installation") as caught:
        find()
    assert "storyteller train" in caught.value.hint


@pytest.mark.parametrize("path", ["./nowhere", "no/where", "~/nowhere"])
def test_a_path_without_a_model_is_never_taken_for_a_name(shipped: Path, tiny_checkpoint: Path, path: str) -> None:
    put(tiny_checkpoint, shipped / "nowhere")
    with pytest.raises(ModelNotFound, match="there is no model at"):
        find(path)


def test_a_directory_that_holds_no_model_says_so(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="holds no model"):
        find(tmp_path)


@pytest.mark.parametrize("name", ["x.pt", "folder/x.pth", "x.PKL", "x.ckpt", "pytorch_model.bin"])
def test_a_pickled_file_is_refused_whether_it_is_there_or_not(shipped: Path, name: str) -> None:
    path = Path(name)
    for _ in range(2):
        with pytest.raises(CheckpointInvalid, match="never read") as caught:
            find(name)
        assert "storyteller models import" in caught.value.hint
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x80\x02}q\x00.")


def test_unfinished_and_other_directories_are_not_listed(shipped: Path, tiny_checkpoint: Path) -> None:
    put(tiny_checkpoint, shipped / ".fox.new-12")
    (shipped / "notes").mkdir()
    (shipped / "README.md").write_text("", encoding="utf-8")
    assert list_models() == []
