"""Stories from the Hugging Face Hub, through ``datasets``: streamed while there is a network, from its cache where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storyteller.errors import DataInvalid, DownloadFailed
from storyteller.training.atomic import write_json
from storyteller.training.readers import TEXT_COLUMNS

OFFLINE_HINT = "Train on files instead: storyteller train FILE…, or on the sample that comes along: storyteller train --dataset sample"
_REVISION_TIMEOUT = 10.0


def revision_of(hub_id: str, folder: Path) -> str:
    """The commit that ``hub_id`` is at now. Without a network: the one seen last (kept in ``folder/hub-revisions.json``), or "" if none was."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

    path = folder / "hub-revisions.json"
    try:
        seen = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        seen = {}
    try:
        revision = HfApi().dataset_info(hub_id, timeout=_REVISION_TIMEOUT).sha or ""
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise DownloadFailed(f"the Hub has no data set {hub_id!r} that you may read", OFFLINE_HINT) from error
    except (OfflineModeIsEnabled, HfHubHTTPError, OSError, *_transport_errors()):
        return str(seen.get(hub_id, ""))
    if seen.get(hub_id) != revision:
        write_json(path, {**seen, hub_id: revision})
    return revision


def read_hub(hub_id: str, *, split: str = "train", text_column: str | None = None, revision: str = "") -> Iterator[str]:
    """The texts of a data set of the Hub. HF_HUB_OFFLINE is respected: then only what ``datasets`` has in its cache is read.

    Raises :class:`DownloadFailed` if it cannot be had, :class:`DataInvalid` if it has no such column.
    """
    import datasets
    from huggingface_hub import constants

    with _as_download_failed(hub_id), _no_progress_bars():
        rows = datasets.load_dataset(hub_id, split=split, revision=revision or None, streaming=not constants.HF_HUB_OFFLINE)
    iterator = iter(rows)
    column = None
    while True:
        with _as_download_failed(hub_id):
            row = next(iterator, None)
        if row is None:
            return
        if column is None:
            column = _column(row, text_column, hub_id)
        if isinstance(row[column], str) and row[column].strip():
            yield row[column]


def _column(row: dict[str, object], asked: str | None, hub_id: str) -> str:
    texts = [name for name, value in row.items() if isinstance(value, str)]
    for name in (asked,) if asked is not None else (*TEXT_COLUMNS, *(texts if len(texts) == 1 else ())):
        if name in row:
            return name
    wanted = f"{asked!r}" if asked is not None else "'text' or 'story'"
    raise DataInvalid(f"{hub_id}: no column {wanted} (there: {', '.join(map(repr, row))})", "Name it with --text-column.")


@contextmanager
def _as_download_failed(hub_id: str) -> Iterator[None]:
    """Turn what ``datasets`` and its transport raise for a missing network or data set into :class:`DownloadFailed`."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except DatasetNotFoundError as error:
        raise DownloadFailed(f"the Hub has no data set {hub_id!r} that you may read", OFFLINE_HINT) from error
    except (OfflineModeIsEnabled, HfHubHTTPError, OSError, *_transport_errors()) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DownloadFailed(f"could not fetch {hub_id}: {reason}", OFFLINE_HINT) from error
    except ValueError as error:  # an unknown split or configuration
        raise DataInvalid(f"{hub_id}: {next(iter(str(error).splitlines()), 'cannot be read')}") from error


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP clients under ``datasets`` raise; which of them are installed depends on its version."""
    from importlib import import_module
    from importlib.util import find_spec

    names = {"httpx": "HTTPError", "httpx2": "HTTPError", "aiohttp": "ClientError", "requests": "RequestException"}
    return tuple(getattr(import_module(module), name) for module, name in names.items() if find_spec(module))


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()
