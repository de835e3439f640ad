"""One file over HTTPS: resumed where it broke off, and kept only if it has the promised sha256.

What has come so far lies in the cache under the promised checksum, not under the address, so that any server that has the same bytes can go
on with it, after a drop as after a kill.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from storyteller import __version__
from storyteller.checkpoint.space import check_space
from storyteller.checkpoint.weights import path_sha256
from storyteller.errors import ChecksumMismatch, DownloadFailed, UsageInvalid

TIMEOUT = 30.0
STALL_SECONDS = 60.0
SLOWEST = 1024
"""Bytes per second, over STALL_SECONDS, below which a server is taken for stuck."""
TRIES = 6
PROGRESS_THAT_COUNTS = 1 << 20
LONGEST_PAUSE = 60.0
CHUNK = 1 << 18
LOOPBACK = ("127.0.0.1", "::1", "localhost")
OFFLINE = "check the network; what has come so far is kept, and the same command goes on from there"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file has come, in bytes; ``total`` is None where nobody said."""

    file: str
    done: int
    total: int | None


Report = Callable[[Progress], None]


def check_url(url: str) -> None:
    """Raise :class:`UsageInvalid` unless ``url`` is https, or http to this very computer."""
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise UsageInvalid(f"a model is fetched over https only, not from {url}", "storyteller download https://…/NAME.tar.gz --sha256 …")


def size_of(url: str) -> int | None:
    """What the server says that ``url`` is long, None if it does not say; raises :class:`DownloadFailed` if it has no such thing."""
    try:
        with closing(_open(urllib.request.Request(url, method="HEAD"))) as response:
            return _length(response)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (405, 429) or error.code >= 500:
                return None
            raise _refused(url, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadFailed(f"{url} cannot be reached: {_reason(error)}", OFFLINE) from error


def fetch(url: str, target: Path, sha256: str | None, largest: int, report: Report, *, folder: Path) -> None:
    """Bring ``url`` to ``target``, by way of a partial file in ``folder``, in several tries if need be.

    ``sha256`` None takes whatever comes, from the beginning. Raises :class:`DownloadFailed`, and :class:`ChecksumMismatch` if what came
    twice from the beginning is not what was promised.
    """
    check_url(url)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{sha256 or hashlib.sha256(url.encode()).hexdigest()}.part"
    for attempt in (1, 2):
        if sha256 is None or attempt == 2:
            part.unlink(missing_ok=True)
        begun = part.stat().st_size if part.exists() else 0
        _bring(url, part, largest, report, target.name)
        if sha256 is None or path_sha256(part) == sha256:
            # The cache may be on another disk.
            shutil.move(part, target)
            return
        if not begun:
            break
    part.unlink(missing_ok=True)
    raise ChecksumMismatch(f"what {url} gave is not what was promised: its sha256 is another one", "ask whoever named the checksum")


def is_local(error: BaseException) -> bool:
    """Whether it is this computer's disk that failed, and not the network."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)


def _bring(url: str, part: Path, largest: int, report: Report, name: str) -> None:
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        pause = min(2.0**failures, LONGEST_PAUSE)
        try:
            _continue(url, part, largest, report, name)
            return
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and before:
                    # Nothing lies beyond what is here: it is whole, or the rest never comes. The checksum tells.
                    return
                if error.code != 429 and error.code < 500:
                    raise _refused(url, error) from error
                asked = error.headers.get("Retry-After", "")
                pause = min(float(asked), LONGEST_PAUSE) if asked.isdigit() else pause
                reason: Exception = _refused(url, error)
        except (OSError, http.client.HTTPException) as error:
            if is_local(error):
                raise
            reason = DownloadFailed(f"{url} broke off: {_reason(error)}", OFFLINE)
        came = (part.stat().st_size if part.exists() else 0) - before
        failures = 1 if came >= PROGRESS_THAT_COUNTS else failures + 1
        if failures >= TRIES:
            raise reason
        time.sleep(pause)


def _continue(url: str, part: Path, largest: int, report: Report, name: str) -> None:
    """Ask for what is missing and append it; raises if less comes than was announced."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with closing(_open(request)) as response:
        if response.status != 206 or not str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
            have = 0
        length = _length(response)
        total = None if length is None else have + length
        if total is not None and total > largest:
            raise DownloadFailed(f"{url} is {total:,} bytes long: no model file is")
        if length is not None:
            check_space(part.parent, length)
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            _receive(response, file, have, total, largest, lambda done: report(Progress(name, done, total)))


def _receive(response: Any, file: IO[bytes], done: int, total: int | None, largest: int, tell: Callable[[int], None]) -> None:
    since, then = time.monotonic(), done
    tell(done)
    while chunk := response.read1(CHUNK):
        file.write(chunk)
        done += len(chunk)
        tell(done)
        if done > largest:
            raise DownloadFailed("what comes is longer than any model file")
        now = time.monotonic()
        if now - since > STALL_SECONDS:
            if done - then < SLOWEST * (now - since):
                raise TimeoutError(f"less than {SLOWEST:,} bytes per second came for {STALL_SECONDS:g} seconds")
            since, then = now, done
    if total is not None and done < total:
        raise ConnectionError(f"{total - done:,} of {total:,} bytes did not come")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to https only: what was asked for safely is not brought unsafely."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> urllib.request.Request | None:
        try:
            check_url(newurl)
        except UsageInvalid as error:
            raise DownloadFailed(f"{req.full_url} leads to {newurl}, which is not https") from error
        followed = super().redirect_request(req, fp, code, msg, headers, newurl)
        if followed is not None:
            followed.method = req.get_method()
        return followed


def _open(request: urllib.request.Request) -> Any:
    request.add_header("User-Agent", f"storyteller/{__version__}")
    request.add_header("Accept-Encoding", "identity")
    return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)


def _length(response: Any) -> int | None:
    text = str(response.headers.get("Content-Length", ""))
    return int(text) if text.isdigit() else None


def _refused(url: str, error: urllib.error.HTTPError) -> DownloadFailed:
    words = {
        401: "wants a login, which storyteller does not have",
        403: "does not let you have it",
        404: "has nothing there",
        410: "has nothing there any more",
        429: "has been asked too often",
    }.get(error.code, "failed" if error.code >= 500 else "refused")
    hint = "try again later: what has come so far is kept" if error.code == 429 or error.code >= 500 else "check the address"
    return DownloadFailed(f"{url}: the server {words} (HTTP {error.code})", hint)


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    return str(inner or error) or type(error).__name__
