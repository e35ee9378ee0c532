"""The files that tell other tools about a domain's schemas: an export, never the truth.

``schemas.json`` may still be edited by hand while no server runs: the next opening takes it over.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Lock

import orjson
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from eventdbx.application.schema_work import Origin, Prepared
from eventdbx.application.schemas import Catalogue, Exported, RunSlowly
from eventdbx.domain.schemas.history import file_of, manifest
from eventdbx.errors import EventDBXError, IoError
from eventdbx.services.files import make_directory, read_text, replace_text

BY_HAND = Origin(None, "schemas.json was edited by hand")


class SchemaFiles:
    """The exported files of one domain, in its folder."""

    log = Logger()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "schemas.json"
        self._written = 0
        self._known: str | None = None  # What the file said when it was last looked at.
        self._lock = Lock()

    def write(self, exported: Exported) -> None:
        """Write what is not written yet; from any thread, the newest wins.

        What cannot be written is logged: the store has it, and the next opening tries again.
        """
        with self._lock:
            if exported.number <= self._written:
                return
            try:
                self._write(exported)
            except IoError as error:
                self.log.error("cannot export schemas: {reason}", reason=str(error))
                return
            self._written = exported.number

    def _write(self, exported: Exported) -> None:
        history = exported.history
        if history.versions:
            make_directory(self._folder / "schemas" / "versions")
            for number, version in enumerate(history.versions):
                path = self._folder / file_of(version.id)
                if not path.exists():
                    replace_text(path, exported.text_of(number).decode())
            text = orjson.dumps(manifest(history), option=orjson.OPT_INDENT_2).decode()
            path = self._folder / "schemas" / "schema_manifest.json"
            if read_text(path) != text:
                replace_text(path, text)
        found = read_text(self._path)
        if found != exported.text:
            if found is not None and found.strip() and found != self._known:
                self._spare(found)
            replace_text(self._path, exported.text)
        self._known = exported.text

    def _spare(self, text: str) -> None:
        """Keep what somebody wrote into the file while the domain was at work."""
        number = 1
        while (path := self._path.with_name(f"schemas.json.edited-{number}")).exists():
            number += 1
        replace_text(path, text)
        self.log.warn(
            "schemas.json was edited while other schemas were put in force; the edit is not in "
            "force, it is kept in {path}",
            path=str(path),
        )

    def adopt(self, catalogue: Catalogue, *, writes: bool) -> list[str]:
        """Take over ``schemas.json`` if somebody has edited it; export it if it is missing.

        Without ``writes`` the catalogue only looks as if. Returns warnings. Raises
        SerializationError and InvalidSchema for a file that cannot be in force.
        """
        prepared, is_current = self._read(catalogue)
        if prepared is None:
            if writes and not is_current:
                catalogue.export().addErrback(self._not_kept)
            return []
        if writes:
            catalogue.replace(prepared, origin=BY_HAND).addErrback(self._not_kept)
        else:
            catalogue.look_at(prepared)
        return list(prepared.warnings)

    def reload(self, catalogue: Catalogue, run_slowly: RunSlowly) -> Deferred[list[str]]:
        """Do what ``adopt`` does while the domain is at work, and answer when it is done."""
        return Deferred.fromCoroutine(self._reload(catalogue, run_slowly))

    async def _reload(self, catalogue: Catalogue, run_slowly: RunSlowly) -> list[str]:
        prepared, is_current = await run_slowly(partial(self._read, catalogue))
        if prepared is None:
            if not is_current:
                await catalogue.export()
            return []
        await catalogue.replace(prepared, origin=BY_HAND)
        return list(prepared.warnings)

    def _read(self, catalogue: Catalogue) -> tuple[Prepared | None, bool]:
        """Return what was edited by hand, or None and whether the file is that of the set."""
        text = self._known = read_text(self._path)
        if text is None or not text.strip() or catalogue.is_own_text(text.encode()):
            return None, text is not None and catalogue.is_current_text(text.encode())
        try:
            return catalogue.prepare(text), False
        except EventDBXError as error:
            error.args = (f"{error} (in {self._path})",)
            raise

    def _not_kept(self, failure: object) -> None:
        self.log.error("the edited schemas.json is not taken over: {reason}", reason=str(failure))
