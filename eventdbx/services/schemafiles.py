"""The files that tell other tools about a domain's schemas: an export, never the truth.

``schemas.json`` may still be edited by hand while no server runs: the next opening takes it over.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import orjson
from twisted.logger import Logger

from eventdbx.application.schemas import Catalogue, Exported, Origin
from eventdbx.domain.schemas.history import file_of, manifest
from eventdbx.errors import EventDBXError, IoError
from eventdbx.services.files import make_directory, read_text, replace_text


class SchemaFiles:
    """The exported files of one domain, in its folder."""

    log = Logger()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "schemas.json"
        self._written = 0
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
        if read_text(self._path) != exported.text:
            replace_text(self._path, exported.text)

    def adopt(self, catalogue: Catalogue, *, writes: bool) -> list[str]:
        """Take over ``schemas.json`` if somebody has edited it; export it if it is missing.

        Without ``writes`` the catalogue only looks as if. Returns warnings. Raises
        SerializationError and InvalidSchema for a file that cannot be in force.
        """
        text = read_text(self._path)
        edited = text is not None and text.strip() and not catalogue.is_own_text(text.encode())
        if edited:
            assert text is not None
            try:
                prepared = catalogue.prepare(text)
            except EventDBXError as error:
                error.args = (f"{error} (in {self._path})",)
                raise
            if writes:
                origin = Origin(None, "schemas.json was edited by hand")
                catalogue.replace(prepared, origin=origin).addErrback(self._not_kept)
            else:
                catalogue.look_at(prepared)
            return list(prepared.warnings)
        if writes and (text is None or not catalogue.is_current_text(text.encode())):
            catalogue.export().addErrback(self._not_kept)
        return []

    def _not_kept(self, failure: object) -> None:
        self.log.error("the edited schemas.json is not taken over: {reason}", reason=str(failure))
