"""Hub data is streamed, or taken from the cache of ``datasets`` offline; what fails is said in words. No test reaches the network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

from storyteller.errors import CorpusEmpty, DataInvalid, DownloadFailed
from storyteller.training.hub import Revision, read_hub, revision_of

ONLINE, OFFLINE = Revision("", online=True), Revision("", online=False)


def tales(folder: Path, **columns: list[object]) -> str:
    """A data set in a local folder, which ``datasets`` streams as it does one of the Hub."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns).to_parquet(folder / "train-0.parquet")
    return str(folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "hf"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    datasets.disable_progress_bars()
    return cache


def test_streams_the_text_column(tmp_path: Path) -> None:
    name = tales(tmp_path / "tales", id=[1, 2, 3, 4], story=["One.", None, " ", "Four."])
    assert list(read_hub(name, ONLINE)) == ["One.", "Four."]
    assert list(read_hub(name, ONLINE, text_column="story")) == ["One.", "Four."]


def test_columns_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    name = tales(tmp_path / "tales", id=[1], length=[2])
    with pytest.raises(DataInvalid, match=r"tales, row 1: no column 'text' or 'story' \(there: 'id', 'length'\)"):
        list(read_hub(name, ONLINE))
    with pytest.raises(DataInvalid, match="row 1: the column holds a int, not a text"):
        list(read_hub(name, ONLINE, text_column="id"))


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    name = tales(tmp_path / "tales", text=["One."])
    with pytest.raises(DataInvalid, match="split"):
        list(read_hub(name, ONLINE, split="validation"))


def test_an_empty_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: iter(()))
    with pytest.raises(CorpusEmpty, match="a/b: no story in its split 'train'"):
        list(read_hub("a/b", ONLINE))


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (datasets.exceptions.DatasetNotFoundError("gone"), DownloadFailed),
        (ConnectionError("no route"), DownloadFailed),
        (TimeoutError(), DownloadFailed),
        (ValueError("Bad split: x"), DataInvalid),
    ],
)
def test_failures_while_streaming_are_said_in_words(failure: Exception, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(*args: object, **options: object):
        yield {"text": "One."}
        raise failure

    monkeypatch.setattr(datasets, "load_dataset", rows)
    stories = read_hub("a/b", ONLINE)
    assert next(stories) == "One."
    with pytest.raises(error, match="a/b") as caught:
        next(stories)
    if error is DownloadFailed:
        assert "storyteller train FILE" in caught.value.hint
        assert "--dataset sample" in caught.value.hint


def test_offline_reads_the_copy_that_datasets_has(tmp_path: Path, own_cache: Path) -> None:
    datasets.load_dataset("parquet", data_files={"train": tales(tmp_path / "x", text=["One.", "Two."]) + "/train-0.parquet"})
    (info,) = own_cache.rglob("dataset_info.json")
    copy = own_cache / "owner___tales" / "default" / "0.0.0" / "abc"
    shutil.copytree(info.parent, copy)
    (copy / "parquet-train.arrow").rename(copy / "tales-train.arrow")
    facts = json.loads((copy / "dataset_info.json").read_text()) | {"config_name": "default", "dataset_name": "tales"}
    (copy / "dataset_info.json").write_text(json.dumps(facts))

    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    assert list(read_hub("owner/tales", OFFLINE)) == ["One.", "Two."]
    assert before == (datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE)
    with pytest.raises(DownloadFailed, match="the Hub cannot be reached, and no copy of owner/others is in the cache"):
        list(read_hub("owner/others", OFFLINE))


def answer(monkeypatch: pytest.MonkeyPatch, result: object) -> None:
    def dataset_info(self: object, hub_id: str, timeout: float) -> object:
        if isinstance(result, Exception):
            raise result
        return SimpleNamespace(sha=result)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)


def test_the_last_revision_is_remembered_for_times_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, OfflineModeIsEnabled("off"))
    assert revision_of("a/b", tmp_path) == Revision("", online=False)
    answer(monkeypatch, "c0ffee")
    assert revision_of("a/b", tmp_path) == Revision("c0ffee", online=True)
    answer(monkeypatch, ConnectionError("no route"))
    assert revision_of("a/b", tmp_path) == Revision("c0ffee", online=False)
    assert revision_of("a/c", tmp_path) == Revision("", online=False)


def test_an_impossible_name_is_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, HFValidationError("bad"))
    with pytest.raises(DownloadFailed, match="the Hub has no data set 'a b'"):
        revision_of("a b", tmp_path)


def test_hf_hub_offline_is_respected(tmp_path: Path) -> None:
    program = """
import socket, sys
def refuse(*args, **options): raise SystemExit("reached for the network")
socket.getaddrinfo = refuse
from pathlib import Path
from storyteller.errors import DownloadFailed
from storyteller.training.corpus import Source, prepare
try:
    prepare([Source(kind="tinystories")], cache_dir=Path(sys.argv[1]))
except DownloadFailed as error:
    print(error.message)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    told = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "the Hub cannot be reached, and no copy of roneneldan/TinyStories is in the cache\n"
    assert told.stderr == ""
