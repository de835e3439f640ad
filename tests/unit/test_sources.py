"""A source finds its files, knows them by content, and says what it cannot use."""

import os
import time
from pathlib import Path

import pytest

from storyteller.errors import ConfigInvalid, CorpusEmpty, DataInvalid
from storyteller.training import sources
from storyteller.training.filehash import FileHashes
from storyteller.training.hub import Revision
from storyteller.training.sample import sample_stories
from storyteller.training.sources import Source, open_source


def texts(source: Source, cache: Path) -> list[str]:
    return list(open_source(source, FileHashes(cache)).texts())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "web"}, "kind must be one of tinystories, hub, sample, file"),
        ({"kind": "file"}, "needs a location"),
        ({"kind": "sample", "weight": 0}, "weight must be above 0"),
        ({"kind": "sample", "weight": float("nan")}, "weight must be above 0"),
        ({"kind": "sample", "weight": 1001}, "at most 1000"),
        ({"kind": "sample", "max_stories": 0}, "max_stories must be at least 1"),
    ],
)
def test_nonsense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        Source(**options)  # type: ignore[arg-type]


def test_names_and_limits() -> None:
    assert Source(kind="tinystories").limit == 1_000_000
    assert Source(kind="tinystories").hub_id == "roneneldan/TinyStories"
    assert Source(kind="tinystories", max_stories=5).limit == 5
    assert Source(kind="tinystories", split="validation").name == "tinystories (validation)"
    assert Source(kind="hub", location="a/b").name == "a/b"
    assert Source(kind="hub", location="a/b").limit is None


def test_sample_is_the_corpus_of_the_package(tmp_path: Path) -> None:
    stories = texts(Source(kind="sample"), tmp_path)
    assert len(stories) == len(set(stories)) == 2100
    assert texts(Source(kind="sample", max_stories=3), tmp_path) == stories[:3]


def test_sample_stories_tell_what_they_are() -> None:
    stories = list(sample_stories())
    assert len({story.genre for story in stories}) == 30
    for story in stories:
        assert len(story.words) == 3
        assert story.who


def test_a_folder_is_all_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "tales"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "two.jsonl").write_text('{"text": "Two."}\n')
    (folder / "a.TXT").write_text("One.\n\nMore.")
    (folder / "c.csv").write_text("text\nThree.\n")
    (folder / "empty.txt").write_text("")
    (folder / "picture.png").write_bytes(b"\0\0")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "no.txt").write_text("No.")
    assert texts(Source(kind="file", location=str(folder)), tmp_path) == ["One.", "More.", "Two.", "Three."]
    assert texts(Source(kind="file", location=str(folder), max_stories=3), tmp_path) == ["One.", "More.", "Two."]


def test_what_is_not_there_or_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"no\.txt: no such file or folder"):
        texts(Source(kind="file", location=str(tmp_path / "no.txt")), tmp_path)
    (tmp_path / "tale.docx").write_bytes(b"x")
    with pytest.raises(DataInvalid, match=r"tale\.docx: cannot read a file of this kind"):
        texts(Source(kind="file", location=str(tmp_path / "tale.docx")), tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(CorpusEmpty, match="folder: no file in this folder that can be read"):
        texts(Source(kind="file", location=str(tmp_path / "folder")), tmp_path)
    for name, content in {"empty.txt": "", "blank.txt": " \n\n ", "header.csv": "text\n", "none.jsonl": "\n"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(CorpusEmpty, match=rf"{name}: no story in it"):
            texts(Source(kind="file", location=str(tmp_path / name)), tmp_path)


def test_a_signature_is_of_contents_and_options_not_of_places(tmp_path: Path) -> None:
    for name in ("one.txt", "other.txt"):
        (tmp_path / name).write_text("A tale.")
    (tmp_path / "one.csv").write_text("A tale.")
    hashes = FileHashes(tmp_path / "cache")

    def signature(name: str, **options: object) -> dict[str, object]:
        return open_source(Source(kind="file", location=str(tmp_path / name), **options), hashes).signature()  # type: ignore[arg-type]

    assert signature("one.txt") == signature("other.txt")
    assert signature("one.txt") != signature("one.csv")
    for options in ({"weight": 2.0}, {"text_column": "x"}, {"separator": "***"}, {"max_stories": 1}, {"keep_cut_off": True}):
        assert signature("one.txt", **options) != signature("one.txt")
    (tmp_path / "other.txt").write_text("A longer tale.")
    assert signature("one.txt") != signature("other.txt")


def test_how_a_text_file_was_parted_is_noted(tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text("One.\n\nTwo.")
    opened = open_source(Source(kind="file", location=str(tmp_path)), FileHashes(tmp_path / "cache"))
    assert opened.notes() == [f"{tmp_path / 'tale.txt'}: stories parted by blank-lines."]
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text("One.")
    assert (
        open_source(Source(kind="file", location=str(tmp_path)), FileHashes(tmp_path / "cache")).notes()[-1] == "… and 5 more text files."
    )
    asked = Source(kind="file", location=str(tmp_path), separator="whole-file")
    assert open_source(asked, FileHashes(tmp_path / "cache")).notes() == []


def test_hub_sources_are_known_by_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = iter(("abc", "abc", "def"))
    monkeypatch.setattr(sources, "revision_of", lambda hub_id, folder: Revision(next(commits), online=True))
    one, same, newer = (open_source(Source(kind="tinystories"), FileHashes(tmp_path)).signature() for _ in range(3))
    assert one == same != newer


def settled(path: Path, content: str, when: float) -> None:
    path.write_text(content)
    os.utime(path, (when, when))


def test_hashes_of_settled_files_are_remembered(tmp_path: Path) -> None:
    path, cache = tmp_path / "tale.txt", tmp_path / "cache"
    long_ago = time.time() - 1000
    settled(path, "one", long_ago)
    first = FileHashes(cache).sha256(path)
    settled(path, "two", long_ago)
    assert FileHashes(cache).sha256(path) == first, "size and time are the same: the file is not read again"
    settled(path, "two", long_ago + 1)
    assert FileHashes(cache).sha256(path) != first


def test_hashes_of_files_just_written_are_not_remembered(tmp_path: Path) -> None:
    path, cache = tmp_path / "tale.txt", tmp_path / "cache"
    now = time.time()
    settled(path, "one", now)
    first = FileHashes(cache).sha256(path)
    settled(path, "two", now)
    assert FileHashes(cache).sha256(path) != first


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_a_damaged_memory_of_hashes_is_forgotten(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "tale.txt"
    settled(path, "one", time.time() - 1000)
    first = FileHashes(tmp_path).sha256(path)
    (tmp_path / "file-hashes.json").write_text(damage)
    assert FileHashes(tmp_path).sha256(path) == first


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="cannot be read"):
        FileHashes(tmp_path).sha256(tmp_path)
