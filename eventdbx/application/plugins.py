"""The plugins of a domain: what its ``plugins.json`` says, and every change of it.

The file itself is in ``services.pluginfiles``, its text in ``domain.delivery.reading`` and
``writing``. Nothing here delivers; whoever does is told through ``on_change``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import NoReturn, Protocol

from twisted.logger import Logger

from eventdbx.domain.canonical import JSON
from eventdbx.domain.commands import PublishTarget
from eventdbx.domain.delivery.cleaning import check_name, cleaned, in_force
from eventdbx.domain.delivery.editing import configured, with_options
from eventdbx.domain.delivery.entries import Entry, PluginEntry
from eventdbx.domain.delivery.former import with_former_name
from eventdbx.domain.delivery.targets import Target, folded, targets_as_given
from eventdbx.domain.grants import Grant
from eventdbx.errors import (
    ConfigError,
    EventDBXError,
    NameTaken,
    StillInUse,
    Unauthorized,
    UnknownName,
)

Make = Callable[["Entry | None"], PluginEntry]
"""Makes an entry of the one that is there, or of None."""


class EntryFile(Protocol):
    """Where the entries are kept: in creation order, as they were read."""

    def load(self) -> list[Entry]:
        """Return the entries; raises SerializationError or IoError when they cannot be read."""

    def save(self, entries: Sequence[Entry]) -> None:
        """Put these in place of all; raises IoError."""

    def changed(self, *, now: bool = False) -> bool:
        """Say whether somebody else has saved since the last ``load`` or ``save``.

        Looks at most once a second, or ``now``.
        """

    def locked(self) -> AbstractContextManager[None]:
        """Hold off others who would change the entries between a ``load`` and a ``save``."""


class EntriesInMemory:
    """Entries that are in no file: for a domain that nobody configures from outside."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self._entries = list(entries)

    def load(self) -> list[Entry]:
        return list(self._entries)

    def save(self, entries: Sequence[Entry]) -> None:
        self._entries = list(entries)

    def changed(self, *, now: bool = False) -> bool:
        return False

    def locked(self) -> AbstractContextManager[None]:
        return nullcontext()


class Plugins:
    """The configured plugins, as one domain sees them. For one thread, the reactor's.

    Names are those of entries, exact; one without a name answers to its kind. Every change is in
    the file when its method returns, and raises UnknownName (``no plugin named 'x' is
    configured``), IoError or SerializationError when the file cannot be read or written.
    ``on_change`` is called after each change, whoever made it; ``problem`` says why the file
    cannot be read now: the entries read before stay in force.
    """

    log = Logger()

    def __init__(self, file: EntryFile, *, domain: str) -> None:
        self._file = file
        self._domain = domain
        self._listed: tuple[Entry, ...] = ()
        self._entries: tuple[Entry, ...] = ()
        self.problem: str | None = None
        self.shared = False
        """Whether the file is that of all domains of the installation."""
        self.on_change: list[Callable[[], None]] = []
        self._read()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries that serve this domain, in creation order, unavailable ones too."""
        return self._entries

    @property
    def listed(self) -> tuple[Entry, ...]:
        """All entries of the file, which may be shared by domains."""
        return self._listed

    def shown_to(self, grant: Grant) -> tuple[Entry, ...]:
        """Return the entries that the holder of a grant may know of: with a file of all domains,
        who is bound to some sees what serves this one."""
        return self._entries if self.shared and grant.tenants else self._listed

    def require_own(self, grant: Grant) -> None:
        """Raise Unauthorized for who is bound to some domains, if entries are those of all."""
        if self.shared and grant.tenants:
            raise Unauthorized

    def find(self, name: str) -> Entry | None:
        """Return the entry of the file that answers to a name; a usable one before others."""
        found = [entry for entry in self._listed if _answers(entry, name)]
        found.sort(key=lambda entry: (type(entry) is not PluginEntry, entry.name != name))
        return found[0] if found else None

    def refresh(self, *, now: bool = False) -> bool:
        """Read the file again if somebody changed it; looks at most once a second, or ``now``.

        Never raises: a file that cannot be read is logged. Says whether entries are different.
        """
        return self._file.changed(now=now) and self._read()

    def look(self) -> None:
        """Look at the file now: an event is about to ask for plugins by name.

        That is before the step that writes it, for a new plugin has a step of its own to come.
        """
        self.refresh(now=True)

    def tidy(self) -> None:
        """Clean the list as every command does first: names trimmed, the last of one name kept."""
        with self._file.locked():
            before = self._file.load()
            after = cleaned(before)
            if after != before:
                self._file.save(after)
        self._take(after)

    def configure(
        self, document: Mapping[str, JSON], given: Collection[str] | None = None
    ) -> tuple[bool, PluginEntry]:
        """Add an entry, or change the one of the same kind and name; say whether it is new.

        ``document`` is an entry as in the file, with what was given; ``given`` names those of its
        members that were, when it holds others too (:func:`..editing.configured`).
        """
        with self._changing() as entries:
            wanted = configured(document, None, given)
            place = _place_for(entries, wanted.kind, wanted.name)
            if place is None:
                entries.append(wanted)
                return True, wanted
            wanted = configured(document, entries[place], given)
            entries[place] = wanted
        return False, wanted

    def planned(self, name: str, kind: str, make: Make) -> tuple[Entry | None, PluginEntry]:
        """Return what :meth:`put` would find and store, and store nothing."""
        entries = cleaned(self._file.load())
        place = _place_for(entries, kind, check_name(name))
        found = None if place is None else entries[place]
        return found, make(found)

    def put(self, name: str, kind: str, make: Make) -> tuple[Entry | None, PluginEntry]:
        """Store what ``make`` makes of the entry of a name and kind, or of None when it is new.

        Returns both. Raises NameTaken when a plugin of another kind has the name; whatever
        ``make`` raises leaves everything as it was.
        """
        with self._changing() as entries:
            place = _place_for(entries, kind, check_name(name))
            found = None if place is None else entries[place]
            wanted = make(found)
            if place is None:
                entries.append(wanted)
            else:
                entries[place] = wanted
        return found, wanted

    def edit(
        self, name: str, change: Callable[[PluginEntry], PluginEntry]
    ) -> tuple[PluginEntry, PluginEntry]:
        """Put what ``change`` makes of an entry in its place; return the old and the new one."""
        with self._changing() as entries:
            place = self._place(entries, name)
            before = self._usable(entries[place])
            entries[place] = after = change(before)
        return before, after

    def enable(self, name: str) -> bool:
        """Enable a plugin, without a check whether it can be reached; False if it was enabled."""
        return self._switch(name, enabled=True)

    def disable(self, name: str) -> bool:
        """Disable a plugin; False if it was disabled."""
        return self._switch(name, enabled=False)

    def pause(self, name: str) -> bool:
        """Stop deliveries without skipping anything; False if they were stopped."""
        return self._switch(name, paused=True)

    def resume(self, name: str) -> bool:
        """Let deliveries go on; False if they were not stopped."""
        return self._switch(name, paused=False)

    def remove(
        self,
        name: str,
        *,
        disable: bool = False,
        check: Callable[[Entry], None] = lambda entry: None,
    ) -> bool:
        """Remove an entry, an enabled one only with ``disable``; say whether it was enabled.

        An unavailable entry delivers nothing and needs no ``disable``. ``check`` may refuse.
        """
        with self._changing() as entries:
            place = self._place(entries, name)
            entry = entries[place]
            check(entry)
            enabled = isinstance(entry, PluginEntry) and entry.enabled
            if enabled and not disable:
                raise StillInUse(
                    f"disable plugin '{name}' before removing it "
                    f"(use plugin disable {name} or pass --disable)"
                )
            del entries[place]
        return enabled

    def rename(self, name: str, to: str) -> PluginEntry:
        """Give a plugin another name; return the entry."""
        with self._changing() as entries:
            place = self._place(entries, name)
            to = check_name(to)
            others = entries[:place] + entries[place + 1 :]
            if any(_answers(one, to) for one in others):
                raise NameTaken(f"plugin name '{to}' is already used")
            entry = _renamed(self._usable(entries[place]), to)
            entries[place] = entry
        return entry

    def swap(self, name: str, by: str) -> PluginEntry:
        """Remove a plugin and give its name to the plugin ``by``; return the entry of that."""
        with self._changing() as entries:
            old, new = self._place(entries, name), self._place(entries, by)
            if old == new:
                raise ConfigError(f"plugin '{name}' cannot take its own place")
            entry = _renamed(self._usable(entries[new]), entries[old].name or name)
            entries[new] = entry
            del entries[old]
        return entry

    def set_options(
        self, name: str, changes: Mapping[str, JSON], unset: Collection[str] = ()
    ) -> PluginEntry:
        """Set optional members of an entry or of its config, or bring them back to their default.

        Raises ConfigError for an option that the kind does not have, and for a wrong value.
        """
        return self.edit(name, lambda entry: with_options(entry, changes, unset))[1]

    def check_targets(self, targets: Sequence[PublishTarget]) -> tuple[Target, ...]:
        """Return publish targets by the keys of their plugins; raise ConfigError for unknown ones.

        When no plugin takes events at all, nobody is asked. What was configured by a command just
        before counts, so :meth:`look` comes first.
        """
        if not targets:
            return ()
        wanted = targets_as_given(targets)
        usable = [entry for entry in self._entries if isinstance(entry, PluginEntry)]
        if not any(entry.emits for entry in usable):
            return wanted
        enabled = {folded(entry.key): entry for entry in reversed(usable) if entry.enabled}
        found = []
        for target in wanted:
            entry = enabled.get(folded(target.name))
            if entry is None:
                raise ConfigError(f"plugin '{target.name}' is not configured")
            if not entry.emit_events:
                raise ConfigError(f"plugin '{target.name}' is disabled")
            found.append(target._replace(name=entry.key))
        return tuple(found)

    def _read(self) -> bool:
        try:
            entries = self._file.load()
        except EventDBXError as error:
            if self.problem != str(error):
                self.log.error("plugins stay as they were: {reason}", reason=str(error))
            self.problem = str(error)
            return False
        return self._take(cleaned(entries))

    def _take(self, entries: Sequence[Entry]) -> bool:
        """Put entries in force and tell about it, if they are others than before."""
        self.problem = None
        listed = tuple(in_force(entries))
        if listed == self._listed:
            return False
        self._listed = listed
        self._entries = tuple([one for one in listed if self._serves(one)])
        for tell in self.on_change:
            tell()
        return True

    def _serves(self, entry: Entry) -> bool:
        domains = entry.domains if isinstance(entry, PluginEntry) else ()
        return not domains or self._domain in domains

    @contextmanager
    def _changing(self) -> Iterator[list[Entry]]:
        """Give the cleaned list to be changed, and save it unless the change raises."""
        with self._file.locked():
            loaded = self._file.load()
            entries = cleaned(loaded)
            yield entries
            if entries != loaded:
                self._file.save(entries)
        self._take(entries)

    def _switch(self, name: str, **flag: bool) -> bool:
        before, after = self.edit(name, lambda entry: replace(entry, **flag))  # type: ignore[arg-type]
        return after != before

    def _place(self, entries: Sequence[Entry], name: str) -> int:
        """Return where the entry of a name stands, one that is in force before others."""
        states = in_force(entries)
        places = [n for n, entry in enumerate(states) if _answers(entry, name)]
        if not places:
            _unknown(name)
        return min(
            places, key=lambda n: (type(states[n]) is not PluginEntry, states[n].name != name)
        )

    def _usable(self, entry: Entry) -> PluginEntry:
        if isinstance(entry, PluginEntry):
            return entry
        raise ConfigError(f"plugin '{entry.name or entry.type}' is unavailable: {entry.reason}")


def _unknown(name: str) -> NoReturn:
    raise UnknownName(f"no plugin named '{name}' is configured")


def _answers(entry: Entry, name: str) -> bool:
    return name == (_kind(entry) if entry.name is None else entry.name)


def _kind(entry: Entry) -> str:
    return entry.kind if isinstance(entry, PluginEntry) else entry.type


def _place_for(entries: Sequence[Entry], kind: str, name: str | None) -> int | None:
    """Return where the entry of a kind and name stands, None where a new one may be added."""
    for place, one in enumerate(entries):
        if (_kind(one), one.name) == (kind, name):
            return place
    used = next((one for one in entries if name is not None and _answers(one, name)), None)
    if used is not None:
        raise NameTaken(f"plugin name '{name}' is already used by {_kind(used)}")
    return None


def _renamed(entry: PluginEntry, to: str) -> PluginEntry:
    return replace(entry, name=to, extra=with_former_name(entry.extra, entry.key))
