"""The remotes of an installation: ``[remotes]`` of its configuration, and what each domain has.

Version 3.19 kept one remote for each domain, in ``remote.json`` of its folder. Such a remote has
the name of the domain here. One that stands in both places is written to both, so that either
version finds it; where they differ, the configuration counts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from eventdbx.config import parse_config, with_remote
from eventdbx.domain.endpoints import remote_endpoint
from eventdbx.errors import ConfigError, EventDBXError, SerializationError, StorageError
from eventdbx.services.files import locked_directory, read_text, replace_text
from eventdbx.services.workspace import Workspace
from eventdbx.settings import Remote

FILE_NAME = "remote.json"
REDACTED = "<redacted>"
NAME_CHARACTERS_MAX = 128

_SEALED = "ENCv1:"
_WRAPPED = "__eventdbx_encrypted"
_JWT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Remotes:
    """The remotes of a workspace. Every method reads files."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return the remotes by name, tokens sealed or ``"<redacted>"``, never plain."""
        kept = {name: _document(remote) for name, remote in self._of_domains().items()}
        kept |= {one.name: _document(one) for one in self._workspace.read().remotes}
        return dict(sorted(kept.items()))

    def put(
        self, name: str, endpoint: str, token: str | None, token_env: str | None = None
    ) -> tuple[bool, dict[str, Any]]:
        """Store a remote; return whether it is new, and its document. Raises ConfigError."""
        name = _checked_name(name)
        if not endpoint.strip():
            raise ConfigError("remote endpoint cannot be empty")
        token, token_env = _checked_token(token, token_env)
        endpoint = remote_endpoint(endpoint)
        path = self._workspace.config_path
        with locked_directory(path.parent):
            known = {one.name: one for one in self._workspace.read().remotes}
            of_domain = self._of_domains().get(name)
            before = known.get(name, of_domain)
            remote = Remote(
                name=name,
                endpoint=endpoint,
                token=None if token is None else self._sealed(token),
                token_env=token_env,
                remote_domain=None if before is None else before.remote_domain,
                tenant=None if before is None else before.tenant,
            )
            changed = with_remote(read_text(path) or "", name, _members(remote))
            # What is kept must be readable to the next command.
            parse_config(changed, origin=str(path), environ={})
            replace_text(path, changed)
        if of_domain is not None:
            self._write_of_domain(remote, token)
        return before is None, _document(remote)

    def delete(self, name: str) -> bool:
        """Remove a remote; return False when there is none of that name."""
        name = name.strip()
        path = self._workspace.config_path
        with locked_directory(path.parent):
            found = any(one.name == name for one in self._workspace.read().remotes)
            if found:
                replace_text(path, with_remote(read_text(path) or "", name, None))
        if name in self._of_domains():
            self._path_of(name).unlink(missing_ok=True)
            found = True
        return found

    def change_of_domain(self, domain: str, changes: Mapping[str, str | None]) -> bool:
        """Change members of a domain's own remote (None removes); tell whether any has changed.

        Raises SerializationError when the file is damaged.
        """
        path = self._path_of(domain)
        with locked_directory(path.parent):
            text = read_text(path)
            before = {} if text is None else self._opened(text)
            after = {**before, **changes}
            after = {member: value for member, value in after.items() if value is not None}
            if after == before:
                return False
            if after:
                self._write_document(domain, after)
            else:
                path.unlink(missing_ok=True)
            return True

    def sealed_texts(self) -> Iterator[tuple[str, str]]:
        """Yield (where, text) of what is sealed with a data key. Raises what reading raises."""
        for one in self._workspace.read().remotes:
            if one.token is not None and one.token.startswith(_SEALED):
                yield f"remotes.{one.name}.token", one.token
        for domain in self._workspace.domain_names():
            text = read_text(self._path_of(domain))
            with suppress(SerializationError):
                sealed = None if text is None else _parsed(text).get(_WRAPPED)
                if isinstance(sealed, str):
                    yield str(self._path_of(domain)), sealed

    def seal_anew(self) -> None:
        """Seal every token once more, with the present key. Raises what opening them raises."""
        from eventdbx.application.sealing import unseal

        path, keys = self._workspace.config_path, self._workspace.data_keys
        with locked_directory(path.parent):
            text = before = read_text(path) or ""
            for one in self._workspace.read().remotes:
                if one.token is not None and one.token.startswith(_SEALED):
                    token = self._sealed(unseal(one.token, keys, "remotes"))
                    text = with_remote(text, one.name, _members(replace(one, token=token)))
            if text != before:
                replace_text(path, text)
        for domain in self._workspace.domain_names():
            # Also what names no address, and so is no remote yet: `dbx checkout --token`.
            path = self._path_of(domain)
            # One that is damaged, or of keys that are lost, is told by whoever wants to read it.
            with suppress(SerializationError, StorageError), locked_directory(path.parent):
                kept = read_text(path)
                if kept is not None and _WRAPPED in _parsed(kept):
                    self._write_document(domain, self._opened(kept))

    def _sealed(self, token: str) -> str:
        from eventdbx.application.sealing import seal

        keys = self._workspace.data_keys
        return seal(token, keys[0], os.urandom(12)) if keys else token

    def _path_of(self, domain: str) -> Path:
        return self._workspace.domain_dir(domain) / FILE_NAME

    def _of_domains(self) -> dict[str, Remote]:
        """Return what ``remote.json`` of each domain says; a file that is damaged says nothing."""
        found: dict[str, Remote] = {}
        for domain in self._workspace.domain_names():
            try:
                text = read_text(self._path_of(domain))
                document = None if text is None else self._opened(text)
            except EventDBXError:
                continue
            if document is None or not isinstance(document.get("connect_addr"), str):
                continue
            token, tenant = document.get("token"), document.get("tenant")
            found[domain] = Remote(
                name=domain,
                endpoint=f"tcp://{document['connect_addr']}",
                token=token if isinstance(token, str) else None,
                tenant=tenant if isinstance(tenant, str) else None,
            )
        return found

    def _opened(self, text: str) -> dict[str, Any]:
        from eventdbx.application.sealing import unseal

        document = _parsed(text)
        sealed = document.get(_WRAPPED)
        if not isinstance(sealed, str):
            return document
        return _parsed(unseal(sealed, self._workspace.data_keys, "remotes"))

    def _write_of_domain(self, remote: Remote, token: str | None) -> None:
        """Write the remote of a domain as version 3.19 does."""
        document: dict[str, Any] = {"connect_addr": remote.endpoint.removeprefix("tcp://")}
        document |= {"token": token} if token is not None else {}
        document |= {"tenant": remote.tenant} if remote.tenant is not None else {}
        self._write_document(remote.name, document)

    def _write_document(self, domain: str, document: dict[str, Any]) -> None:
        sealed = self._sealed(json.dumps(document))
        if sealed.startswith(_SEALED):
            document = {_WRAPPED: sealed}
        replace_text(self._path_of(domain), json.dumps(document, indent=2) + "\n")


def connect_address(text: str, port: int | None) -> str:
    """Return ``host:port`` for the address of a domain's remote. Raises ConfigError.

    A host without a port gets that of the control protocol, one of IPv6 gets brackets; who writes
    these says the port, too.
    """
    text = text.strip()
    if port == 0:
        raise ConfigError("remote port must be greater than zero")
    if text.startswith("[") and text.endswith("]") and port is None:
        raise ConfigError(f"remote address '{text}' must include a port (e.g. {text}:6363)")
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    if port is not None:
        has_port = re.search(r"\]:\d*$" if text.startswith("[") else r":\d*$", text)
        if has_port:
            raise ConfigError(f"remote address '{text}' has a port already; leave --port out")
        text = f"{text}:{port}"
    return remote_endpoint(text).removeprefix("tcp://")


def checked_remote_token(text: str) -> str:
    """Return the token of a domain's remote. Raises ConfigError."""
    token = text.strip()
    if token.count(".") != 2:
        raise ConfigError("remote token must be a JWT (expected three segments separated by '.')")
    if not _JWT.fullmatch(token):
        raise ConfigError("remote token must be a JWT (its segments must be base64url)")
    return token


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SerializationError(str(error)) from None
    if not isinstance(document, dict):
        raise SerializationError("a remote must be a JSON object")
    return document


def _checked_name(text: str) -> str:
    name = text.strip()
    if not name:
        raise ConfigError("remote name cannot be empty")
    if len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise ConfigError(
            f"remote name must be at most {NAME_CHARACTERS_MAX} characters that can be printed"
        )
    if name == "schema":
        raise ConfigError("a remote cannot be named 'schema': `push schema` means something else")
    return name


def _checked_token(token: str | None, variable: str | None) -> tuple[str | None, str | None]:
    if token is not None and variable is not None:
        raise ConfigError("remote token and token_env exclude each other")
    if variable is not None:
        if not _VARIABLE.fullmatch(variable.strip()):
            raise ConfigError("remote token_env must be the name of a variable")
        return None, variable.strip()
    token = (token or "").strip()
    if not token:
        raise ConfigError("remote token cannot be empty")
    if not _JWT.fullmatch(token):
        raise ConfigError("remote token must be a JWT with three segments")
    return token, None


def _members(remote: Remote) -> dict[str, str]:
    members = {
        "endpoint": remote.endpoint,
        "token": remote.token,
        "token_env": remote.token_env,
        "remote_domain": remote.remote_domain,
        "tenant": remote.tenant,
    }
    return {name: value for name, value in members.items() if value is not None}


def _document(remote: Remote) -> dict[str, Any]:
    document: dict[str, Any] = {"endpoint": remote.endpoint}
    if remote.token is not None:
        document["token"] = remote.token if remote.token.startswith(_SEALED) else REDACTED
    if remote.token_env is not None:
        document["token_env"] = remote.token_env
    document |= {"locator": remote.locator, "remote_domain": remote.remote_domain}
    return document if remote.tenant is None else {**document, "tenant": remote.tenant}
