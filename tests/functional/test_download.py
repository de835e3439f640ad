"""``storyteller download`` against a server that misbehaves: what is asked again, what is refused, and that no half model ever appears."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from typer.testing import CliRunner, Result

from storyteller import paths
from storyteller.checkpoint import fetch, space
from storyteller.checkpoint.format import read_checkpoint, verify
from storyteller.cli.main import app

MODEL = "owner/bears"
FILES = ("config.json", "tokenizer.json", "model.safetensors", "generation_config.json", "training.json", "README.md")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "shipped_models_dir", lambda: tmp_path / "shipped")
    monkeypatch.setenv("STORYTELLER_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, none of which is made."""
    made: list[float] = []
    monkeypatch.setattr(fetch, "time", SimpleNamespace(sleep=made.append, monotonic=time.monotonic))
    return made


@pytest.fixture
def offered(hub: Any, tiny_checkpoint: Path) -> Any:
    """The Hub, with a model on it, beside files that no model has."""
    hub.models[MODEL] = {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()}
    hub.models[MODEL] |= {"pytorch_model.bin": b"\x80\x02never", "evil.onnx": b"ignored"}
    return hub


def download(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["download", *arguments])


def models_here() -> list[str]:
    """Everything in the directory of the user's models, hidden things too."""
    return sorted(path.name for path in paths.models_dir().iterdir()) if paths.models_dir().exists() else []


def refused(result: Result, code: int, words: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert words in result.stderr
    assert "\nhint: " in result.stderr
    assert "Traceback" not in result.stderr
    assert models_here() == []


def test_a_model_of_the_hub_arrives_whole_and_tells(offered: Any, tiny_checkpoint: Path) -> None:
    result = download(MODEL)
    assert (result.exit_code, result.stdout) == (0, f"{paths.models_dir() / 'bears'}\n"), result.stderr
    assert sorted(path.name for path in (paths.models_dir() / "bears").iterdir()) == sorted(FILES)
    assert verify(paths.models_dir() / "bears").sha256 == read_checkpoint(tiny_checkpoint).sha256
    assert "model.safetensors  " in result.stderr
    told = [CliRunner().invoke(app, ["gen", "-s", "1", "-n", "5", "-m", model]).stdout for model in ("bears", str(tiny_checkpoint))]
    assert told[0] == told[1]


def test_json_says_what_came_and_quiet_says_nothing(offered: Any) -> None:
    result = download(MODEL, "--json", "--quiet", "--name", "others")
    values = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (values["name"], values["kind"], values["source"], values["schema_version"]) == ("others", "hub", MODEL, 1)
    assert values["size"] == sum(values["files"].values())
    assert values["sha256"] == read_checkpoint(paths.models_dir() / "others").sha256


def test_dry_run_brings_nothing(offered: Any) -> None:
    values = json.loads(download(MODEL, "--dry-run", "--json").stdout)
    assert sorted(values["files"]) == sorted(FILES)
    assert "model.safetensors" in download(MODEL, "--dry-run").stdout
    assert models_here() == []
    assert offered.ranges("/resolve/") == []


def test_what_is_here_is_not_brought_again_and_not_overwritten(offered: Any) -> None:
    download(MODEL)
    asked = len(offered.asked)
    again = download(MODEL)
    assert (again.exit_code, "was here already" in again.stderr) == (0, True)
    assert {one.method for one in offered.asked[asked:]} == {"GET"}
    assert offered.ranges("/resolve/")[asked:] == []
    offered.models[MODEL]["model.safetensors"] += b"another"
    result = download(MODEL)
    assert (result.exit_code, "is already there" in result.stderr) == (2, True)


def test_a_drop_is_asked_for_again_from_where_it_broke_off(offered: Any) -> None:
    half = 20_000
    offered.faults["GET", "model.safetensors"] = [offered.Fault(after=half)]
    assert download(MODEL).exit_code == 0
    assert offered.ranges("model.safetensors") == [None, f"bytes={half}-"]


def test_a_download_that_was_given_up_goes_on_with_the_next_command(offered: Any) -> None:
    half = 20_000
    offered.faults["GET", "model.safetensors"] = [offered.Fault(after=half), *[offered.Fault(status=503)] * 9]
    refused(download(MODEL), 5, "HTTP 503")
    offered.faults.clear()
    assert download(MODEL).exit_code == 0
    assert offered.ranges("model.safetensors")[-1] == f"bytes={half}-"


def test_large_files_may_lie_elsewhere_and_no_token_goes_there(offered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    offered.redirects_large_files = True
    assert download(MODEL).exit_code == 0
    assert [one.token for one in offered.asked if one.path.startswith("/api/")] == ["Bearer hf_secret"]
    assert [one.token for one in offered.asked if one.path == "/cdn/owner/bears/model.safetensors"] == [None]


def test_what_the_cache_of_the_hub_has_is_not_fetched(offered: Any) -> None:
    for name in FILES:
        huggingface_hub.hf_hub_download(MODEL, name)
    asked = len(offered.asked)
    assert download(MODEL).exit_code == 0
    assert {one.method for one in offered.asked[asked:] if "/resolve/" in one.path} <= {"HEAD"}


def test_wrong_bytes_are_not_taken_and_not_kept(offered: Any) -> None:
    offered.faults["GET", "model.safetensors"] = [offered.Fault(wrong=True)]
    refused(download(MODEL), 4, "did not arrive as the Hub has it")
    assert download(MODEL).exit_code == 0


def test_a_length_that_is_a_lie_is_not_believed(offered: Any) -> None:
    offered.always["GET", "model.safetensors"] = offered.Fault(lies=50)
    refused(download(MODEL), 5, MODEL)


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {"X-Error-Code": "RepoNotFound"}, "the Hub has no model owner/bears that you may see"),
        (401, {}, "wants a login"),
        (403, {"X-Error-Code": "GatedRepo"}, "whom its owner lets in"),
        (403, {}, "does not let you"),
        (404, {"X-Error-Code": "RepoNotFound"}, "the Hub has no model owner/bears"),
        (429, {}, "asked too often (HTTP 429)"),
        (500, {}, "failed (HTTP 500)"),
    ],
)
def test_refusals_of_the_hub_are_told_in_words(offered: Any, status: int, headers: dict[str, str], words: str) -> None:
    offered.always["GET", "/api/models"] = offered.Fault(status=status, headers=headers)
    refused(download(MODEL), 5, words)


def test_a_moment_of_trouble_is_waited_for(offered: Any) -> None:
    offered.faults["HEAD", "tokenizer.json"] = [offered.Fault(status=503), offered.Fault(status=429)]
    offered.faults["GET", "model.safetensors"] = [offered.Fault(status=429)]
    assert download(MODEL).exit_code == 0


def test_revisions(offered: Any) -> None:
    assert download(MODEL, "--revision", "v2").exit_code == 0
    assert "/api/models/owner/bears/revision/v2" in [one.path for one in offered.asked]
    assert download(f"{MODEL}@v2").exit_code == 0
    result = download(MODEL, "--revision", "v3", "--name", "other")
    assert (result.exit_code, "no revision 'v3'" in result.stderr) == (5, True)


def test_another_kind_of_model_is_refused_before_anything_is_brought(offered: Any) -> None:
    del offered.models[MODEL]["model.safetensors"]
    result = download(MODEL)
    refused(result, 4, "it lacks model.safetensors")
    assert "storyteller models import" in result.stderr
    assert offered.ranges("/resolve/") == []


def test_a_model_that_is_damaged_on_the_hub_does_not_become_one_here(offered: Any) -> None:
    offered.models[MODEL]["tokenizer.json"] += b" "
    result = download(MODEL)
    assert (result.exit_code, "tokenizer.json is damaged" in result.stderr) == (4, True)
    assert models_here() == []


def test_offline_means_offline(offered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(download(MODEL), 5, "not in the Hub's cache")
    assert offered.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert download(MODEL).exit_code == 0
    for name in FILES:
        huggingface_hub.hf_hub_download(MODEL, name)
    asked = len(offered.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download(MODEL, "--name", "again").exit_code == 0
    assert len(offered.asked) == asked
    assert verify(paths.models_dir() / "again")


def test_nobody_there(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(download(MODEL), 5, "the Hub cannot be reached")


def test_the_variables_of_the_hub_are_honoured_in_a_process_of_its_own(offered: Any, place: Path) -> None:
    variables = {"HF_ENDPOINT": offered.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(place / "hf"), "HF_TOKEN": "hf_mine"}
    result = subprocess.run(
        [sys.executable, "-m", "storyteller", "download", MODEL], env=os.environ | variables, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (0, f"{paths.models_dir() / 'bears'}\n"), result.stderr
    assert {one.token for one in offered.asked} == {"Bearer hf_mine"}
    assert (place / "hf" / "hub" / "models--owner--bears").is_dir()


@pytest.fixture
def archive(tiny_checkpoint: Path, place: Path, hub: Any) -> Iterator[str]:
    """``URL --sha256 …`` of an archive on the server."""
    with tarfile.open(place / "bears.tar.gz", "w:gz") as tar:
        tar.add(tiny_checkpoint, "bears")
    hub.files["/bears.tar.gz"] = (place / "bears.tar.gz").read_bytes()
    yield hashlib.sha256(hub.files["/bears.tar.gz"]).hexdigest()


def test_an_archive_from_an_address(hub: Any, archive: str, tiny_checkpoint: Path) -> None:
    result = download(f"{hub.url}/bears.tar.gz", "--sha256", archive)
    assert (result.exit_code, result.stdout) == (0, f"{paths.models_dir() / 'bears'}\n"), result.stderr
    assert verify(paths.models_dir() / "bears").sha256 == read_checkpoint(tiny_checkpoint).sha256
    assert list((paths.cache_dir() / "downloads").iterdir()) == []


def test_single_files_from_an_address(hub: Any, tiny_checkpoint: Path) -> None:
    hub.files |= {f"/m/bears/{path.name}": path.read_bytes() for path in tiny_checkpoint.iterdir()}
    digest = hashlib.sha256((tiny_checkpoint / "config.json").read_bytes()).hexdigest()
    assert download(f"{hub.url}/m/bears/#sha256={digest}").exit_code == 0
    assert sorted(path.name for path in (paths.models_dir() / "bears").iterdir()) == sorted(FILES)
    result = download(f"{hub.url}/m/bears/", "--sha256", "0" * 64, "--name", "other")
    assert (result.exit_code, "is not what was promised" in result.stderr) == (4, True)


@pytest.mark.usefixtures("pauses")
def test_an_address_that_drops_is_asked_for_the_rest(hub: Any, archive: str) -> None:
    hub.faults["GET", "bears"] = [hub.Fault(after=100), hub.Fault(after=50), hub.Fault(lies=7)]
    assert download(f"{hub.url}/bears.tar.gz", "--sha256", archive).exit_code == 0
    assert hub.ranges("bears") == [None, "bytes=100-", "bytes=150-", f"bytes={len(hub.files['/bears.tar.gz'])}-"]


@pytest.mark.usefixtures("pauses")
def test_a_server_that_cannot_go_on_is_asked_for_all(hub: Any, archive: str) -> None:
    hub.faults["GET", "bears"] = [hub.Fault(after=100), hub.Fault(ignores_range=True)]
    assert download(f"{hub.url}/bears.tar.gz", "--sha256", archive).exit_code == 0
    assert hub.ranges("bears") == [None, "bytes=100-"]


def test_what_came_before_a_failure_is_gone_on_with(hub: Any, archive: str, pauses: list[float]) -> None:
    hub.faults["GET", "bears"] = [hub.Fault(after=100), *[hub.Fault(status=500)] * 9]
    refused(download(f"{hub.url}/bears.tar.gz", "--sha256", archive), 5, "failed (HTTP 500)")
    assert len(pauses) == fetch.TRIES - 1
    hub.faults.clear()
    hub.files["/elsewhere/bears.tar.gz"] = hub.files["/bears.tar.gz"]
    assert download(f"{hub.url}/elsewhere/bears.tar.gz", "--sha256", archive).exit_code == 0
    assert hub.ranges("elsewhere") == ["bytes=100-"]


def test_a_beginning_that_was_wrong_is_thrown_away_once(hub: Any, archive: str) -> None:
    part = paths.cache_dir() / "downloads" / f"{archive}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"something else")
    assert download(f"{hub.url}/bears.tar.gz", "--sha256", archive).exit_code == 0
    assert hub.ranges("bears") == ["bytes=14-", None]


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("fault", [{"wrong": True}, {"lies": -9}])
def test_bytes_that_were_not_promised_are_refused(hub: Any, archive: str, fault: dict[str, Any]) -> None:
    hub.always["GET", "bears"] = hub.Fault(**fault)
    refused(download(f"{hub.url}/bears.tar.gz", "--sha256", archive), 4, "is not what was promised")
    assert list((paths.cache_dir() / "downloads").iterdir()) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "wants a login"), (403, "does not let you have it"), (404, "has nothing there"), (418, "refused (HTTP 418)")],
)
def test_refusals_of_an_address_are_told_at_once(hub: Any, archive: str, pauses: list[float], status: int, words: str) -> None:
    hub.always["HEAD", "bears"] = hub.Fault(status=405)
    hub.always["GET", "bears"] = hub.Fault(status=status)
    refused(download(f"{hub.url}/bears.tar.gz", "--sha256", archive), 5, words)
    assert pauses == []


def test_a_server_that_asks_for_patience_gets_it(hub: Any, archive: str, pauses: list[float]) -> None:
    hub.faults["GET", "bears"] = [
        hub.Fault(status=429, headers={"Retry-After": "7"}),
        hub.Fault(status=503, headers={"Retry-After": "9999"}),
    ]
    assert download(f"{hub.url}/bears.tar.gz", "--sha256", archive).exit_code == 0
    assert pauses == [7, fetch.LONGEST_PAUSE]


@pytest.mark.usefixtures("pauses")
def test_a_trickle_is_given_up(hub: Any, archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "STALL_SECONDS", 0.05)
    monkeypatch.setattr(fetch, "TRIES", 2)
    hub.always["GET", "bears"] = hub.Fault(slowly=True)
    refused(download(f"{hub.url}/bears.tar.gz", "--sha256", archive), 5, "less than 1,024 bytes per second")


def test_redirects_are_followed_but_not_out_of_safety(hub: Any, archive: str) -> None:
    hub.always["GET", "/here"] = hub.Fault(location="/bears.tar.gz")
    hub.always["HEAD", "/here"] = hub.Fault(location="/bears.tar.gz")
    assert download(f"{hub.url}/here", "--sha256", archive, "--name", "one").exit_code == 0
    hub.always["HEAD", "/out"] = hub.Fault(location="http://example.org/bears.tar.gz")
    result = download(f"{hub.url}/out", "--sha256", archive, "--name", "two")
    assert (result.exit_code, "which is not https" in result.stderr) == (5, True)
    hub.always["HEAD", "/round"] = hub.Fault(location="/round")
    result = download(f"{hub.url}/round", "--sha256", archive, "--name", "three")
    assert result.exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("http://example.org/bears.zip",), 2, "over https only"),
        (("ftp://example.org/bears.zip",), 2, "over https only"),
        (("https://example.org/bears.zip",), 2, "needs the checksum"),
        (("https://example.org/bears.zip", "--sha256", "12"), 2, "64 hexadecimal digits"),
        (("https://example.org/..zip", "--sha256", "0" * 64), 2, "cannot be the name of a model"),
        (("owner/bears", "--name", "../bears"), 2, "cannot be the name of a model"),
        (("owner/bears", "--sha256", "0" * 64), 2, "--sha256 is for addresses"),
        (("https://example.org/bears.zip", "--sha256", "0" * 64, "--revision", "v2"), 2, "--revision is for models of the Hub"),
        (("bears",), 3, "nothing to download under 'bears'"),
        (("./bears",), 3, "nothing to download"),
        (("--dry-run",), 2, "no source"),
    ],
)
def test_what_makes_no_sense_is_refused_without_a_network(
    arguments: tuple[str, ...], code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *more, **options: pytest.fail("reached for the network"))
    result = download(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_a_folder_that_could_be_a_hub_id_is_not_guessed_at(place: Path, tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, place / "owner" / "bears")
    result = download("owner/bears")
    assert (result.exit_code, "could be a Hub id, too" in result.stderr) == (2, True)
    assert download("./owner/bears").exit_code == 0
    assert verify(paths.models_dir() / "bears")


def test_a_folder_and_a_local_archive(place: Path, tiny_checkpoint: Path, archive: str) -> None:
    assert download(str(tiny_checkpoint), "--name", "one").exit_code == 0
    assert download("./bears.tar.gz", "--sha256", archive).exit_code == 0
    assert download("./bears.tar.gz", "--sha256", "0" * 64, "--name", "three").exit_code == 4
    assert models_here() == ["bears", "one"]
    again = download(str(tiny_checkpoint), "--name", "one")
    assert (again.exit_code, "was here already" in again.stderr) == (0, True)


def test_no_room_is_said_before_anything_is_written(offered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: SimpleNamespace(free=space.RESERVE + 1000))
    result = download(MODEL)
    refused(result, 1, "MB are free")
    assert offered.ranges("/resolve/") == []


def test_a_disk_that_fills_up_is_not_taken_for_the_network(
    hub: Any, archive: str, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(*more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetch, "_receive", fill_up)
    result = download(f"{hub.url}/bears.tar.gz", "--sha256", archive)
    assert (result.exit_code, result.stderr) == (1, "error: No space left on device\n")
    assert pauses == []
    assert models_here() == []


def test_sources_of_the_settings_are_names(offered: Any) -> None:
    CliRunner().invoke(app, ["config", "set", "sources.winnie", f"{MODEL}@v2"])
    result = CliRunner().invoke(app, ["gen", "-m", "winnie"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "hint: storyteller download winnie\n" in result.stderr
    assert "winnie" in download().stdout
    assert download("winnie").exit_code == 0
    assert models_here() == ["winnie"]
    assert (download("winie").exit_code, "did you mean winnie?" in download("winie").stderr) == (3, True)


def test_an_unknown_model_is_never_fetched_by_itself(offered: Any) -> None:
    result = CliRunner().invoke(app, ["gen", "-m", MODEL])
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"hint: storyteller download {MODEL}\n" in result.stderr
    assert offered.asked == []


def test_without_a_source_it_shows_what_is_here_and_how_to_bring_more(tiny_checkpoint: Path, place: Path) -> None:
    shutil.copytree(tiny_checkpoint, place / "shipped" / "little")
    shutil.copytree(tiny_checkpoint, paths.models_dir() / "mine")
    result = download()
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["shipped", "little", "yours", "mine"]
    assert "owner/model" in result.stderr
    assert [one["name"] for one in json.loads(download("--json").stdout)["models"]] == ["mine", "little"]


def test_killed_at_any_moment_it_leaves_nothing_that_looks_like_a_model(offered: Any, place: Path, tiny_checkpoint: Path) -> None:
    offered.always["GET", "model.safetensors"] = offered.Fault(slowly=True)
    variables = {"HF_ENDPOINT": offered.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(place / "hf")}
    process = subprocess.Popen(
        [sys.executable, "-m", "storyteller", "download", MODEL],
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not offered.ranges("model.safetensors") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert offered.ranges("model.safetensors") == [None]
    assert [name for name in models_here() if not name.startswith(".")] == []
    assert json.loads(CliRunner().invoke(app, ["models", "list", "--json"]).stdout)["models"] == []
    offered.always.clear()
    assert download(MODEL).exit_code == 0
