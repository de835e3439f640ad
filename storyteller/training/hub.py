"""Stories from the Hugging Face Hub, through ``datasets``: streamed while the Hub answers, else from the cache of ``datasets``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storyteller.errors import CorpusEmpty, DataInvalid, DownloadFailed
from storyteller.training.atomic import write_json
from storyteller.training.readers import choose_column, text_of

OFFLINE_HINT = "Train on files instead: storyteller train FILE…, or on the sample that comes along: storyteller train --dataset sample"
_PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Revision:
    """The commit of a data set, "" if it is not known, and whether the Hub answers just now."""

    commit: str
    online: bool


def revision_of(hub_id: str, folder: Path) -> Revision:
    """The commit that ``hub_id`` is at. If the Hub cannot be reached: the one seen last, kept in ``folder/hub-revisions.json``.

    Raises :class:`DownloadFailed` if the Hub has no such data set.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    path = folder / "hub-revisions.json"
    try:
        seen = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        seen = {}
    try:
        commit = HfApi().dataset_info(hub_id, timeout=_PROBE_SECONDS).sha or ""
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise _unknown(hub_id) from error
    except _transport_errors():
        return Revision(str(seen.get(hub_id, "")), online=False)
    if seen.get(hub_id) != commit:
        write_json(path, {**seen, hub_id: commit})
    return Revision(commit, online=True)


def read_hub(hub_id: str, revision: Revision, *, split: str = "train", text_column: str | None = None) -> Iterator[str]:
    """The texts of a data set of the Hub, blank ones left out; not online, only what ``datasets`` has in its cache is read.

    Raises :class:`DownloadFailed` if it cannot be had, :class:`DataInvalid` if it has no such split or column, :class:`CorpusEmpty`.
    """
    number = 0
    column = None
    for number, row in enumerate(_rows(hub_id, revision, split), 1):
        where = f"{hub_id}, row {number}"
        if column is None:
            column = choose_column(list(row), text_column, where)
        yield from text_of(row[column], where)
    if not number:
        raise CorpusEmpty(f"{hub_id}: no story in its split {split!r}", OFFLINE_HINT)


def _rows(hub_id: str, revision: Revision, split: str) -> Iterator[dict[str, Any]]:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    try:
        with _quiet():
            if revision.online:
                rows = datasets.load_dataset(hub_id, split=split, revision=revision.commit or None, streaming=True)
            else:
                with _offline():
                    rows = datasets.load_dataset(hub_id, split=split)
        yield from rows
    except DatasetNotFoundError as error:
        raise _unknown(hub_id) from error
    except _transport_errors() as error:
        if not revision.online:
            raise DownloadFailed(f"the Hub cannot be reached, and no copy of {hub_id} is in the cache", OFFLINE_HINT) from error
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DownloadFailed(f"could not fetch {hub_id} from the Hub: {reason}", OFFLINE_HINT) from error
    except ValueError as error:  # what datasets raises for an unknown split or configuration
        raise DataInvalid(f"{hub_id}: {next(iter(str(error).splitlines()), 'cannot be read')}") from error


def _unknown(hub_id: str) -> DownloadFailed:
    return DownloadFailed(f"the Hub has no data set {hub_id!r} that you may read, and there is no such file here", OFFLINE_HINT)


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP clients under ``datasets`` raise. Which they are depends on its version; one that is not loaded raises nothing."""
    clients = {"httpx": "HTTPError", "httpx2": "HTTPError", "aiohttp": "ClientError", "requests": "RequestException"}
    return (OSError, *(getattr(sys.modules[module], name) for module, name in clients.items() if module in sys.modules))


@contextmanager
def _offline() -> Iterator[None]:
    """As if HF_HUB_OFFLINE were set: without it ``datasets`` tries for half a minute to reach a Hub that did not answer just before."""
    import datasets.config
    import huggingface_hub.constants

    modules: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module in modules:
        module.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of ``datasets``: a download shows itself in our own way, or not at all."""
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()
