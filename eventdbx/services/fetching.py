"""Gets the file of a bundle, from a path or a URL, and its SHA-256 on the way.

Used by commands, which wait: the standard library's client does.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib import error as url_error
from urllib import parse as url_parse
from urllib import request as url_request

from eventdbx import limits
from eventdbx._version import __version__
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.bundles import BundleRefused
from eventdbx.services.unpacking import system_text

_CHUNK = 1 << 16
_SILENCE_S = 15.0
"""How long a server may say nothing."""


class Fetched(NamedTuple):
    """A bundle: the name that it came under, where it came from, its SHA-256 in hex."""

    called: str
    source: dict[str, JSON]
    sha256: str


def is_url(source: str) -> bool:
    """Say whether a source is fetched from a server."""
    return source.lower().startswith(("http://", "https://"))


def fetch(source: str, target: Path) -> Fetched:
    """Copy a bundle to ``target``, a file that does not exist; raises BundleRefused."""
    if is_url(source):
        return _download(source, target)
    path = os.path.abspath(source)
    failed = f"failed to open plugin bundle at {source}"
    try:
        # Without waiting for a writer, should it be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as reading:
            status = os.fstat(reading.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BundleRefused(failed, "it is not a file")
            if status.st_size > limits.BUNDLE_BYTES_MAX:
                raise _too_large()
            digest = _save(iter(lambda: reading.read(_CHUNK), b""), target)
    except OSError as error:
        raise BundleRefused(failed, system_text(error)) from None
    return Fetched(os.path.basename(path), {"type": "local", "path": path}, digest)


def _save(chunks: Iterator[bytes], target: Path) -> str:
    digest = hashlib.sha256()
    size = 0
    with target.open("xb") as writing:
        for chunk in chunks:
            size += len(chunk)
            if size > limits.BUNDLE_BYTES_MAX:
                raise _too_large()
            digest.update(chunk)
            writing.write(chunk)
    return digest.hexdigest()


def _too_large() -> BundleRefused:
    return BundleRefused(f"plugin bundle is larger than {limits.BUNDLE_BYTES_MAX >> 20} MiB")


def _shown(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query."""
    parts = url_parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return url_parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


class _Redirects(url_request.HTTPRedirectHandler):
    """Follows redirects to servers, and never from a protected connection to an open one."""

    def redirect_request(
        self, req: url_request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> url_request.Request | None:
        scheme = url_parse.urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise BundleRefused(
                f"failed to download plugin bundle from {_shown(req.full_url)}",
                f"it redirects to {_shown(newurl)}",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, target: Path) -> Fetched:
    failed = f"failed to download plugin bundle from {_shown(url)}"
    if "@" in url_parse.urlsplit(url).netloc:
        raise BundleRefused(
            failed, "it names a user; download the file and give its path as --source"
        )
    asking = url_request.Request(
        url, headers={"User-Agent": f"eventdbx/{__version__.public()}", "Accept": "*/*"}
    )
    deadline = time.monotonic() + limits.BUNDLE_DOWNLOAD_S
    try:
        with url_request.build_opener(_Redirects).open(asking, timeout=_SILENCE_S) as answer:
            digest = _save(_received(answer, deadline), target)
            final = str(answer.geturl())
    except url_error.HTTPError as error:
        raise BundleRefused(f"{failed} ({error.code} {error.reason})") from None
    except url_error.URLError as error:
        reason = error.reason
        cause = system_text(reason) if isinstance(reason, OSError) else str(reason)
        raise BundleRefused(failed, cause) from None
    except TimeoutError:
        raise BundleRefused(failed, "the server does not answer in time") from None
    except (http.client.HTTPException, ValueError) as error:
        raise BundleRefused(failed, str(error) or type(error).__name__) from None
    except OSError as error:
        raise BundleRefused(failed, system_text(error)) from None
    called = url_parse.unquote(url_parse.urlsplit(final).path).rpartition("/")[2]
    return Fetched(called or "bundle", {"type": "remote", "registry": _shown(final)}, digest)


def _received(answer: Any, deadline: float) -> Iterator[bytes]:
    """Yield what a server sends; raise unless all of what it announced comes in time."""
    length = answer.headers.get("Content-Length") or ""
    announced = int(length) if re.fullmatch("[0-9]{1,18}", length) else None
    if announced is not None and announced > limits.BUNDLE_BYTES_MAX:
        raise _too_large()
    size = 0
    while chunk := answer.read1(_CHUNK):
        if time.monotonic() > deadline:
            raise TimeoutError
        size += len(chunk)
        yield chunk
    if announced is not None and size < announced:
        raise ValueError(f"it ends after {size} of {announced} bytes")
