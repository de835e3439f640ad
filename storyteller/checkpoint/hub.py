"""Models on the Hugging Face Hub, through ``huggingface_hub``, whose cache, resuming, login and variables (HF_…) are used as they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storyteller import __version__
from storyteller.checkpoint.archive import FILES, REQUIRED, largest
from storyteller.checkpoint.fetch import Progress, Report, is_local
from storyteller.checkpoint.format import WEIGHTS
from storyteller.checkpoint.weights import path_sha256
from storyteller.errors import CheckpointInvalid, ChecksumMismatch, DownloadFailed
from storyteller.paths import cache_dir

LIBRARY: dict[str, Any] = {"library_name": "storyteller", "library_version": __version__}
PATIENCE = 15.0
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of the Hub at one commit: its files with their sizes, and the sha256 of those that the Hub names one for.

    ``commit`` is "" where only what is in the cache can be had (HF_HUB_OFFLINE): sizes and checksums are not known then.
    """

    repo: str
    revision: str | None
    commit: str
    sizes: Mapping[str, int]
    digests: Mapping[str, str]


def look_up(repo: str, revision: str | None = None) -> HubModel:
    """Ask the Hub what it has under ``repo``; raises :class:`DownloadFailed`, and :class:`CheckpointInvalid` for another kind of model."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    with _in_words(repo, revision):
        try:
            info = HfApi(**LIBRARY).model_info(repo, revision=revision, files_metadata=True, timeout=PATIENCE)
        except OfflineModeIsEnabled:
            return HubModel(repo, revision, "", {}, {})
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    missing = [name for name in REQUIRED if name not in siblings]
    if missing:
        pickled = any(name.endswith(PICKLED) for name in siblings)
        raise CheckpointInvalid(
            f"{repo} is no model of storyteller: it lacks {', '.join(missing)}",
            "its weights are pickled; fetch them yourself and try: storyteller models import FILE" if pickled else "",
        )
    found = {name: siblings[name] for name in FILES if name in siblings}
    sizes = {name: sibling.size or 0 for name, sibling in found.items()}
    for name, size in sizes.items():
        if size > largest(name):
            raise CheckpointInvalid(f"{name} of {repo} is too large to be what it should be ({size:,} bytes)")
    digests = {name: sibling.lfs.sha256 for name, sibling in found.items() if sibling.lfs is not None}
    return HubModel(repo, revision, str(info.sha), sizes, digests)


def bring(model: HubModel, folder: Path, report: Report) -> None:
    """Put the files of ``model`` into ``folder``, by way of the Hub's own cache, and the weights by way of a partial file in ours.

    The client of the Hub goes on with a file after a drop, but begins it again in another process; the weights are large enough to mind.
    Raises :class:`DownloadFailed`, and :class:`ChecksumMismatch` for bytes that are not those that the Hub named.
    """
    from huggingface_hub import hf_hub_download

    if not model.commit:
        _copy_from_cache(model, folder)
        return
    with _in_words(model.repo, model.revision):
        for name, size in model.sizes.items():
            bar = _reporting(report, name, size)
            if name == WEIGHTS and name in model.digests and not _cached(model, name):
                _bring_weights(model, folder / name, bar)
                continue
            path = hf_hub_download(model.repo, name, revision=model.commit, tqdm_class=bar, **LIBRARY)
            shutil.copyfile(path, folder / name)
    for name, digest in model.digests.items():
        if path_sha256(folder / name) != digest:
            raise ChecksumMismatch(
                f"{name} of {model.repo} is not what the Hub has (sha256)", "hf cache prune, then the same command again"
            )


def _bring_weights(model: HubModel, target: Path, bar: Any) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, but not in its __all__

    part = cache_dir() / "downloads" / f"{model.digests[WEIGHTS]}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() and part.stat().st_size <= model.sizes[WEIGHTS] else 0
    with part.open("r+b" if have else "wb") as file:
        file.seek(have)
        http_get(
            hf_hub_url(model.repo, WEIGHTS, revision=model.commit),
            file,
            resume_size=have,
            headers=build_hf_headers(**LIBRARY),
            expected_size=model.sizes[WEIGHTS],
            displayed_filename=WEIGHTS,
            tqdm_class=bar,
        )
    if path_sha256(part) != model.digests[WEIGHTS]:
        part.unlink()
        if have:
            _bring_weights(model, target, bar)
            return
        raise ChecksumMismatch(f"{WEIGHTS} of {model.repo} did not arrive as the Hub has it (sha256)", "the same command fetches it again")
    # The cache may be on another disk.
    shutil.move(part, target)


def _copy_from_cache(model: HubModel, folder: Path) -> None:
    found = {name: path for name in FILES if (path := _cached(model, name))}
    if not set(REQUIRED) <= set(found):
        raise DownloadFailed(f"{model.repo} is not in the Hub's cache, and HF_HUB_OFFLINE is set", "HF_HUB_OFFLINE=0 lets the Hub be asked")
    for name, path in found.items():
        shutil.copyfile(path, folder / name)


def _cached(model: HubModel, name: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model.repo, name, revision=model.commit or model.revision)
    return path if isinstance(path, str) else None


def cached_size(model: HubModel) -> int:
    """Bytes of ``model`` that are in the Hub's cache already, at this commit."""
    return sum(Path(path).stat().st_size for path in (_cached(model, name) for name in model.sizes) if path)


def make_repository(repo: str, *, private: bool = False) -> None:
    """Make sure that ``repo`` is there and that we may write to it; raises :class:`DownloadFailed` if not."""
    from huggingface_hub import HfApi

    with _in_words(repo, None):
        HfApi(**LIBRARY).create_repo(repo, private=private, exist_ok=True)


def push(folder: Path, repo: str, *, revision: str | None = None, message: str = "Upload a storyteller model") -> str:
    """Upload the files of the checkpoint in ``folder``, card included, in one commit, and return the commit's address."""
    from huggingface_hub import HfApi

    with _in_words(repo, revision), _cause():
        commit = HfApi(**LIBRARY).upload_folder(
            repo_id=repo, folder_path=folder, revision=revision, commit_message=message, allow_patterns=list(FILES)
        )
    return str(commit.commit_url)


@contextmanager
def _cause() -> Iterator[None]:
    """Let through what lies behind the RuntimeError that the client of the Hub makes of an upload that fails."""
    try:
        yield
    except RuntimeError as error:
        raise (error.__cause__ if isinstance(error.__cause__, Exception) else OSError(str(error))) from None


@contextmanager
def _in_words(repo: str, revision: str | None) -> Iterator[None]:
    import httpx2
    from huggingface_hub import errors

    login = "storyteller uses the login of the Hub: hf auth login, or HF_TOKEN"
    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadFailed(f"{repo} is shown only to those whom its owner lets in", "ask on its page, then: hf auth login") from error
    except errors.RevisionNotFoundError as error:
        raise DownloadFailed(f"{repo} has no revision {revision!r}", "leave --revision out, or look at its page") from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadFailed(f"the Hub has no model {repo} that you may see", f"check the name; {login}") from error
    except errors.HFValidationError as error:
        raise DownloadFailed(f"{repo!r} is no name that the Hub could have", "names look like owner/model") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise DownloadFailed(
            f"{repo} is not in the Hub's cache, and the Hub is not asked or does not answer",
            "check the network, and that HF_HUB_OFFLINE is not set",
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise DownloadFailed(f"{repo} wants a login", login) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        words = {401: "wants a login", 403: "does not let you", 429: "has been asked too often"}.get(status, "failed")
        hint = login if status in (401, 403) else "try again later: what has come so far is kept"
        raise DownloadFailed(f"{repo}: the Hub {words} (HTTP {status})", hint) from error
    except (httpx2.HTTPError, OSError, errors.FileMetadataError) as error:
        if is_local(error):
            raise
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DownloadFailed(f"{repo}: the Hub cannot be reached, or broke off: {reason}", "the same command goes on from there") from error


def _reporting(report: Report, name: str, total: int) -> Any:
    """A class in the place of tqdm's, as ``hf_hub_download`` asks for it, that draws nothing and reports everything."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]

    class Reporting(tqdm):  # type: ignore[misc, type-arg, unused-ignore]  # tqdm carries no types
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call, unused-ignore]
            self.done = int(options.get("initial") or 0)
            report(Progress(name, self.done, total))

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            report(Progress(name, self.done, total))

    return Reporting
