"""Where stories come from: TinyStories by name, any data set of the Hub, the sample corpus of the package, local files and folders."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from storyteller.errors import ConfigInvalid, CorpusEmpty, DataInvalid
from storyteller.training.filehash import FileHashes
from storyteller.training.hub import Revision, read_hub, revision_of
from storyteller.training.readers import SUFFIXES, read_file, txt_separator
from storyteller.training.sample import sample_sha256, sample_stories

TINYSTORIES = "roneneldan/TinyStories"
TINYSTORIES_MAX = 1_000_000
_MAX_NOTES = 5

Kind = Literal["tinystories", "hub", "sample", "file"]
KINDS: tuple[Kind, ...] = ("tinystories", "hub", "sample", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place that stories are read from, and how much of it counts. Raises :class:`ConfigInvalid` for values that make no sense.

    - ``kind``, ``location``: "tinystories" and "sample" need no location, "hub" takes an id like ``owner/name``, "file" a path.
    - ``text_column``: of CSV, JSON lines, Parquet and Hub data; None = "text", "story", or the only one.
    - ``weight``: how often each of its stories is in the training text, on average: 2 = twice; 0.5 = half of them, chosen by content.
      A source's share of the mix is ``weight × stories / Σ (weight × stories)``. Validation stories are never repeated or left out.
    - ``separator``: what parts the stories of ``.txt`` files, see :func:`storyteller.training.readers.read_txt`.
    - ``max_stories``: read no more than this many; None = all (for TinyStories: 1,000,000).
    - ``split``: of Hub data.
    - ``keep_cut_off``: keep stories without end punctuation (for poems and other text that has none).
    """

    kind: Kind
    location: str = ""
    text_column: str | None = None
    weight: float = 1.0
    separator: str | None = None
    max_stories: int | None = None
    split: str = "train"
    keep_cut_off: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigInvalid(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.kind in ("hub", "file") and not self.location:
            raise ConfigInvalid(f"a source of kind {self.kind!r} needs a location")
        if not (math.isfinite(self.weight) and 0 < self.weight <= 1000):
            raise ConfigInvalid(f"weight must be above 0 and at most 1000, not {self.weight}")
        if self.max_stories is not None and self.max_stories < 1:
            raise ConfigInvalid(f"max_stories must be at least 1, not {self.max_stories}")

    @property
    def name(self) -> str:
        """What a person calls it: its location, or "tinystories", "sample"."""
        name = self.location if self.kind in ("hub", "file") else self.kind
        return name if self.split == "train" or self.kind not in ("hub", "tinystories") else f"{name} ({self.split})"

    @property
    def hub_id(self) -> str:
        """The data set's id on the Hub, for the kinds "hub" and "tinystories"."""
        return self.location or TINYSTORIES

    @property
    def limit(self) -> int | None:
        """The most stories that are read."""
        return TINYSTORIES_MAX if self.max_stories is None and self.kind == "tinystories" else self.max_stories


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A local file: where it is, what parts its stories (``.txt`` only), and the SHA-256 of its content."""

    path: Path
    separator: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source whose files are found and whose content is known by hash, ready to be read.

    ``files``: of the kind "file"; ``revision``: of Hub data, else None.
    """

    source: Source
    files: tuple[OpenedFile, ...] = ()
    revision: Revision | None = None

    def signature(self) -> dict[str, object]:
        """All that decides which stories are read and kept, as JSON: contents and options, not places."""
        source = self.source
        options: dict[str, object] = {
            "text_column": source.text_column,
            "weight": source.weight,
            "max_stories": source.limit,
            "keep_cut_off": source.keep_cut_off,
        }
        if self.revision is not None:
            return options | {"hub": source.hub_id, "split": source.split, "revision": self.revision.commit}
        if source.kind == "sample":
            return options | {"sample": sample_sha256()}
        return options | {"contents": [(file.path.suffix.lower(), file.separator, file.sha256) for file in self.files]}

    def notes(self) -> list[str]:
        """What a person should know about how the source is read."""
        if self.source.separator is not None:
            return []
        parted = [file for file in self.files if file.separator is not None]
        more = [f"… and {len(parted) - _MAX_NOTES} more text files."] if len(parted) > _MAX_NOTES else []
        return [f"{file.path}: stories parted by {file.separator}." for file in parted[:_MAX_NOTES]] + more

    def texts(self) -> Iterator[str]:
        """The stories as they stand there, at most ``limit``.

        Raises :class:`DataInvalid`, :class:`CorpusEmpty` or :class:`DownloadFailed`.
        """
        return islice(self._all_texts(), self.source.limit)

    def _all_texts(self) -> Iterator[str]:
        source = self.source
        if self.revision is not None:
            yield from read_hub(source.hub_id, self.revision, split=source.split, text_column=source.text_column)
        elif source.kind == "sample":
            yield from (story.text for story in sample_stories())
        else:
            found = 0
            for file in self.files:
                for text in read_file(file.path, text_column=source.text_column, separator=file.separator):
                    found += 1
                    yield text
            if not found:
                raise CorpusEmpty(f"{source.location}: no story in it", "storyteller train --dataset sample")


def open_source(source: Source, hashes: FileHashes) -> OpenedSource:
    """Find the files of a source and hash them, or ask the Hub for the revision; reads no story.

    Raises :class:`DataInvalid` for a path that is not there or of a kind that cannot be read, :class:`CorpusEmpty` for a folder that
    holds none of the kinds that can.
    """
    if source.kind in ("hub", "tinystories"):
        return OpenedSource(source, revision=revision_of(source.hub_id, hashes.folder))
    if source.kind == "sample":
        return OpenedSource(source)
    paths = _paths(Path(source.location))
    return OpenedSource(source, tuple(OpenedFile(path, _separator(path, source), hashes.sha256(path)) for path in paths))


def _separator(path: Path, source: Source) -> str | None:
    if path.suffix.lower() != ".txt":
        return None
    return source.separator or txt_separator(path)


def _paths(location: Path) -> list[Path]:
    kinds = ", ".join(SUFFIXES)
    if location.is_dir():
        inside = (path for path in location.rglob("*") if not any(part.startswith(".") for part in path.relative_to(location).parts))
        found = sorted(path for path in inside if path.suffix.lower() in SUFFIXES and path.is_file())
        if not found:
            raise CorpusEmpty(f"{location}: no file in this folder that can be read ({kinds})", "storyteller train --dataset sample")
        return found
    if not location.exists():
        raise DataInvalid(f"{location}: no such file or folder", "Name a file, a folder, or --dataset tinystories | sample.")
    if location.suffix.lower() not in SUFFIXES:
        raise DataInvalid(f"{location}: cannot read a file of this kind (can: {kinds})", f"Rename or convert it to one of {kinds}.")
    return [location]
