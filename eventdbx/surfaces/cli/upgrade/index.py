"""Asking the package index which versions there are, as pip on this machine would ask.

The address comes from pip's own settings: its environment variables, then its files. One bounded
request, which has a few seconds; nothing else is ever fetched.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from eventdbx.surfaces.cli.failures import UNREACHABLE, Failure
from eventdbx.surfaces.cli.upgrade.tags import PACKAGE, is_prerelease, order_of

DEFAULT_INDEX = "https://pypi.org/simple"
ANSWER_S = 5.0
"""For the whole answer, name lookup included: it is only news."""

_BYTES_MAX = 16 << 20
_JSON_TYPE = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON_TYPE}, text/html;q=0.2"
_FILE = re.compile(rf"{PACKAGE}-([^-]+?)(?:-[^/]*\.whl|\.tar\.gz|\.zip)", re.IGNORECASE)


class Index(NamedTuple):
    """Where to ask. ``shown`` is the address without what is secret in it."""

    url: str
    shown: str
    authorization: str | None
    proxy: str | None
    ca_file: str | None


class Release(NamedTuple):
    """A version that can be installed."""

    version: str
    published_at: str | None

    def document(self, active: str, index: Index) -> dict[str, Any]:
        """Return the release as it is printed; ``active`` is the version that runs."""
        here = order_of(self.version) == order_of(active)
        return {
            "tag": f"v{self.version}",
            "name": f"{PACKAGE} {self.version}",
            "published_at": self.published_at,
            "draft": False,
            "prerelease": is_prerelease(self.version),
            "html_url": _page(index, self.version),
            "installed": here,
            "active": here,
        }


def configured_index(environ: Mapping[str, str]) -> Index:
    """Return the index that pip is told to use. Raises Failure when it is told to use none."""
    import base64
    from urllib.parse import unquote, urlsplit

    told = dict(_pip_files(environ))
    for name in ("index-url", "no-index", "proxy", "cert"):
        given = environ.get("PIP_" + name.upper().replace("-", "_"), "").strip()
        if given:
            told[name] = given
    if told.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t"):
        raise Failure("pip is configured to use no package index", hint="see `pip config list`")
    url = told.get("index-url", DEFAULT_INDEX).rstrip("/")
    parts = urlsplit(url)
    shown, authorization = url, None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Failure(
            "the package index of pip's settings is no http or https address",
            hint="see `pip config list`",
        )
    if "@" in parts.netloc:
        secret, _at, host = parts.netloc.rpartition("@")
        shown = url = parts._replace(netloc=host).geturl()
        word = base64.b64encode(unquote(secret).encode()).decode()
        authorization = f"Basic {word}"
    return Index(url, shown, authorization, told.get("proxy"), told.get("cert"))


def _pip_files(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what pip's files say, those that count most last."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    system = [Path(one) for one in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if one]
    files = [folder / "pip" / "pip.conf" for folder in reversed(system)]
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files += [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", own / "pip" / "pip.conf"]
    files.append(Path(sys.prefix) / "pip.conf")
    named = environ.get("PIP_CONFIG_FILE", "").strip()
    if named == os.devnull:
        return
    if named:
        files.append(Path(named))
    for path in files:
        settings = configparser.RawConfigParser()
        try:
            settings.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if settings.has_section(section):
                for key, value in settings.items(section):
                    yield key.replace("_", "-"), value.strip()


def releases(index: Index, *, patience_s: float = ANSWER_S) -> list[Release]:
    """Return the versions on the index, newest first. Raises Failure within the time given."""
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(_parsed(*_fetched(index, patience_s)))
        except (OSError, ValueError) as error:
            found.append(error)
        except (KeyError, TypeError, AttributeError):
            found.append(ValueError("its answer is not that of a package index"))

    # A thread: looking up a name has no time limit of its own.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience_s)
    if not found:
        raise _silent(index, f"no answer within {patience_s:g} s")
    if isinstance(found[0], Exception):
        raise _silent(index, _reason(found[0]))
    listed: list[Release] = found[0]
    return listed


def _silent(index: Index, reason: str) -> Failure:
    return Failure(
        f"failed to ask the package index {index.shown}",
        reason,
        hint="without a network, `dbx upgrade VERSION` prints the command all the same",
        code=UNREACHABLE,
    )


def _reason(error: Exception) -> str:
    from urllib.error import HTTPError

    if isinstance(error, HTTPError):
        if error.code == 404:
            return f"it does not have {PACKAGE}"
        return f"it answers {error.code} {error.reason}"
    inner = getattr(error, "reason", error)
    if isinstance(inner, OSError):
        return inner.strerror or str(inner) or type(inner).__name__
    return str(inner)


def _fetched(index: Index, patience_s: float) -> tuple[str, bytes]:
    """Return the kind and the body of the page of our package."""
    import ssl
    from http.client import HTTPException
    from urllib import request

    headers = {"Accept": _ACCEPT, "User-Agent": f"{PACKAGE}-upgrade"}
    if index.authorization is not None:
        headers["Authorization"] = index.authorization
    asked = request.Request(f"{index.url}/{PACKAGE}/", headers=headers)
    ways: list[Any] = []
    if index.proxy:
        ways.append(request.ProxyHandler({"http": index.proxy, "https": index.proxy}))
    if index.url.startswith("https:"):
        context = ssl.create_default_context(cafile=index.ca_file)
        ways.append(request.HTTPSHandler(context=context))
    try:
        with request.build_opener(*ways).open(asked, timeout=patience_s) as answer:
            body = answer.read(_BYTES_MAX + 1)
            kind = answer.headers.get_content_type()
    except HTTPException as error:
        raise ValueError(f"it does not speak HTTP as expected ({type(error).__name__})") from None
    if len(body) > _BYTES_MAX:
        raise ValueError("its answer is too large")
    return kind, body


def _parsed(kind: str, body: bytes) -> list[Release]:
    published: dict[str, str | None] = {}
    if kind.endswith("json"):
        document = json.loads(body)
        for one in document["files"]:
            named = _FILE.match(one["filename"])
            if named is None or one.get("yanked"):
                continue
            at, known = one.get("upload-time"), published.get(named[1])
            published[named[1]] = at if known is None else min(known, at or known)
    else:
        for name in re.findall(rb">\s*([^<>\s]+)\s*</a>", body):
            named = _FILE.match(name.decode(errors="replace"))
            if named is not None:
                published.setdefault(named[1])
    listed = [Release(version, at) for version, at in published.items()]
    return sorted(listed, key=lambda one: order_of(one.version), reverse=True)


def _page(index: Index, version: str) -> str:
    base, slash, last = index.shown.rpartition("/")
    if slash and last == "simple":
        return f"{base}/project/{PACKAGE}/{version}/"
    return f"{index.shown}/{PACKAGE}/"


def newest(listed: list[Release]) -> Release | None:
    """Return the newest version that is a release, if there is one."""
    return next((one for one in listed if not is_prerelease(one.version)), None)
