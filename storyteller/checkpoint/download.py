"""Bringing a model from the Hub, an https address, an archive or a folder into one's own models.

Everything is gathered in a hidden directory, read and checked there, and appears under its name by one rename where nothing was: a download
that is killed at any moment leaves nothing that looks like a model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from storyteller.checkpoint import hub
from storyteller.checkpoint.archive import FILES, OPTIONAL, largest, unpack
from storyteller.checkpoint.fetch import Report, check_url, fetch, size_of
from storyteller.checkpoint.files import sync_directory
from storyteller.checkpoint.format import CONFIG, TOKENIZER, WEIGHTS, read_checkpoint, verify
from storyteller.checkpoint.registry import HUB_ID
from storyteller.checkpoint.space import check_space, free_space
from storyteller.checkpoint.weights import path_sha256
from storyteller.errors import CheckpointInvalid, ChecksumMismatch, DownloadFailed, ModelNotFound, StorytellerError, UsageInvalid
from storyteller.paths import cache_dir, models_dir

Kind = Literal["hub", "archive-url", "files-url", "archive", "folder"]
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip")
HOW = "name a Hub id (owner/model), an https address with --sha256, or a folder (./folder)"
STALE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from; ``sha256`` is that of an archive, or of ``config.json`` where single files are fetched."""

    kind: Kind
    location: str
    name: str
    revision: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a download would do: sizes in bytes, None where the server does not say; ``here`` says that this very model is there already."""

    source: Source
    target: Path
    size: int | None
    free: int
    here: bool
    files: Mapping[str, int]
    model: hub.HubModel | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "source": self.source.location,
            "kind": self.source.kind,
            "revision": self.model.commit if self.model is not None else None,
            "name": self.target.name,
            "path": str(self.target),
            "size": self.size,
            "free": self.free,
            "files": dict(self.files),
            "here": self.here,
        }


def parse_source(
    text: str, known: Mapping[str, str], *, name: str | None = None, revision: str | None = None, sha256: str | None = None
) -> Source:
    """What ``text`` means: a name of ``known`` sources, a Hub id, an address, an archive or a folder; nothing is guessed.

    Raises :class:`ModelNotFound` for what is none of these, :class:`UsageInvalid` for what could be several, or is not complete.
    """
    if text in known:
        return parse_source(known[text], {}, name=name or text, revision=revision, sha256=sha256)
    source = _address(text, sha256) if "://" in text else _here_or_hub(text, known)
    if revision is not None and source.kind != "hub":
        raise UsageInvalid("--revision is for models of the Hub")
    if sha256 is not None and source.kind in ("hub", "folder"):
        raise UsageInvalid("--sha256 is for addresses and archives: a model's own config.json names the checksums of its files")
    chosen = name or source.name
    if not NAME.fullmatch(chosen):
        raise UsageInvalid(f"{chosen!r} cannot be the name of a model", "choose one with --name: letters, digits, dots, dashes")
    digest = (sha256 or source.sha256 or "").lower() or None
    if digest is not None and not SHA256.fullmatch(digest):
        raise UsageInvalid(f"a sha256 has 64 hexadecimal digits, not {digest!r}")
    if source.kind.endswith("-url") and digest is None:
        raise UsageInvalid("a model from an address needs the checksum that its owner names", f"storyteller download {text} --sha256 …")
    return replace(source, name=chosen, revision=revision or source.revision, sha256=digest)


def plan(source: Source) -> Plan:
    """Ask what there is, and how large; nothing is written. Raises what the source's own errors are, and if there is no room."""
    target = models_dir() / source.name
    model, digest = None, None
    files: Mapping[str, int] = {}
    missing: int | None
    if source.kind == "hub":
        model = hub.look_up(source.location, source.revision)
        files, digest = model.sizes, model.digests.get(WEIGHTS)
        missing = sum(files.values())
        if files:
            check_space(cache_dir(), max(0, missing - hub.cached_size(model)))
    elif source.kind == "folder":
        checkpoint = read_checkpoint(Path(source.location))
        digest = checkpoint.sha256
        files = {name: (checkpoint.path / name).stat().st_size for name in FILES if (checkpoint.path / name).is_file()}
        missing = sum(files.values())
    elif source.kind == "archive":
        missing = Path(source.location).stat().st_size
    else:
        missing = size_of(source.location if source.kind == "archive-url" else source.location + WEIGHTS)
        if missing is not None:
            check_space(cache_dir(), missing)
    here = _check_target(target, digest)
    if missing is not None and not here:
        check_space(target.parent, missing)
    return Plan(source, target, missing if files or source.kind != "hub" else None, free_space(target.parent), here, files, model)


def download(planned: Plan, report: Report) -> Path:
    """Do what was planned, and return the directory of the model, which was read from its first byte to its last.

    Raises :class:`DownloadFailed`, :class:`ChecksumMismatch` or :class:`CheckpointInvalid`, and leaves nothing but what a further try goes
    on with.
    """
    if planned.here:
        return planned.target
    source = planned.source
    with _gathered(planned.target) as folder:
        if planned.model is not None:
            hub.bring(planned.model, folder, report)
        elif source.kind == "folder":
            place = Path(source.location)
            _copy({name: place / name for name in FILES if (place / name).is_file()}, folder)
        elif source.kind == "files-url":
            _fetch_files(source, folder, report)
        else:
            _unpack(source, folder, report)
        verify(folder)
    return planned.target


def _address(text: str, sha256: str | None) -> Source:
    address, _, fragment = text.partition("#")
    check_url(address)
    digest = sha256 or fragment.removeprefix("sha256=") or None
    name = PurePosixPath(urlsplit(address).path).name
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return Source("files-url" if urlsplit(address).path.endswith("/") else "archive-url", address, name, sha256=digest)


def _here_or_hub(text: str, known: Mapping[str, str]) -> Source:
    path = Path(text).expanduser()
    marked = text.startswith((".", "~", "/")) or path.is_absolute()
    match = None if marked else HUB_ID.fullmatch(text)
    if match and path.exists():
        raise UsageInvalid(f"{text} is here, and could be a Hub id, too", f"say which: ./{text}, or storyteller download {text}@main")
    if match:
        return Source("hub", match["repo"], match["repo"].rpartition("/")[2], match["revision"])
    if path.is_dir():
        return Source("folder", str(path.resolve()), path.resolve().name)
    if path.is_file():
        name = path.name
        for ending in ENDINGS:
            name = name.removesuffix(ending)
        return Source("archive", str(path.resolve()), name)
    near = get_close_matches(text, known, 1)
    raise ModelNotFound(f"there is nothing to download under {text!r}" + (f"; did you mean {near[0]}?" if near else ""), HOW)


def _check_target(target: Path, digest: str | None) -> bool:
    """Whether this very model is at ``target`` already; raises :class:`UsageInvalid` if something else is."""
    if not target.exists():
        return False
    try:
        here = digest is not None and read_checkpoint(target).sha256 == digest == path_sha256(target / WEIGHTS)
    except StorytellerError:
        here = False
    if not here:
        raise UsageInvalid(f"{target} is already there", f"choose another --name, or: storyteller models remove {target.name}")
    return True


@contextmanager
def _gathered(target: Path) -> Iterator[Path]:
    """A hidden directory that becomes ``target`` when the body is done, and is gone if it is not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.incoming-*"):
        if time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    folder = target.with_name(f".{target.name}.incoming-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        for path in folder.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(folder)
        try:
            folder.rename(target)
        except OSError as error:
            raise UsageInvalid(f"{target} has come to be there meanwhile", "choose another --name") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sync_directory(target.parent)


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    check_space(folder, sum(path.stat().st_size for path in files.values()))
    for name, path in files.items():
        shutil.copyfile(path, folder / name)


def _unpack(source: Source, folder: Path, report: Report) -> None:
    archive = Path(source.location)
    if source.kind == "archive-url":
        parts = cache_dir() / "downloads"
        archive = parts / f"{source.sha256}.archive"
        fetch(source.location, archive, source.sha256, largest(WEIGHTS), report, folder=parts)
    elif source.sha256 is not None and path_sha256(archive) != source.sha256:
        raise ChecksumMismatch(f"{archive} is not what was promised: its sha256 is another one", "ask whoever named the checksum")
    try:
        check_space(folder, archive.stat().st_size)
        unpack(archive, folder)
    finally:
        if source.kind == "archive-url":
            archive.unlink()


def _fetch_files(source: Source, folder: Path, report: Report) -> None:
    """``config.json`` under the promised checksum, and what it vouches for; the rest as far as it is there."""

    def bring(name: str, digest: str | None) -> None:
        fetch(source.location + name, folder / name, digest, largest(name), report, folder=cache_dir() / "downloads")

    bring(CONFIG, source.sha256)
    try:
        digests = json.loads((folder / CONFIG).read_bytes())["sha256"]
        promised = {TOKENIZER: str(digests["tokenizer"]), WEIGHTS: str(digests["weights"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointInvalid(f"{source.location}{CONFIG} does not name the checksums of tokenizer and weights") from error
    if not all(SHA256.fullmatch(digest) for digest in promised.values()):
        raise CheckpointInvalid(f"{source.location}{CONFIG} does not name the checksums of tokenizer and weights")
    for name, digest in promised.items():
        bring(name, digest)
    for name in OPTIONAL:
        if _is_there(source.location + name):
            bring(name, None)


def _is_there(url: str) -> bool:
    try:
        size_of(url)
    except DownloadFailed:
        return False
    return True
