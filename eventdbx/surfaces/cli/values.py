"""Kinds of option values: unsigned integers, KEY=VALUE pairs, JSON texts, times."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.commands import PublishTarget
from eventdbx.surfaces.cli.failures import Failure


class WrongValue(click.BadParameter):
    """A value that its type refuses; ``value`` is the one of several that was wrong."""

    def __init__(self, message: str, value: str) -> None:
        self.value = value
        super().__init__(message)


class Unsigned(click.ParamType):  # type: ignore[type-arg]
    """An unsigned integer of so many bits."""

    name = "integer"

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; raises WrongValue with the reason."""
        if isinstance(value, int):
            return value
        if not value:
            raise WrongValue("cannot parse integer from empty string", value)
        if not re.fullmatch(r"\+?[0-9]+", value, re.ASCII):
            raise WrongValue("invalid digit found in string", value)
        if len(value) > 20 or int(value) >= 1 << 64:
            raise WrongValue("number too large to fit in target type", value)
        if int(value) >= 1 << self._bits:
            raise WrongValue(f"{value} is not in 0..={(1 << self._bits) - 1}", value)
        return int(value)


U16 = Unsigned(16)
U32 = Unsigned(32)
U64 = Unsigned(64)


class Pair(NamedTuple):
    """One KEY=VALUE; ``typed`` for KEY:=JSON."""

    key: str
    value: str
    typed: bool


class KeyValue(click.ParamType):  # type: ignore[type-arg]
    """``KEY=VALUE``, split at the first ``=``, both sides trimmed; ``KEY:=JSON`` if ``typed``."""

    name = "pair"

    def __init__(self, noun: str, *, typed: bool = False) -> None:
        self._noun = noun
        self._typed = typed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Pair:
        """Return the pair; raises WrongValue with the reason."""
        if isinstance(value, Pair):
            return value
        key, equals, text = value.partition("=")
        if not equals:
            raise WrongValue("missing value", value)
        typed = self._typed and key.endswith(":")
        key = key.removesuffix(":").strip() if typed else key.strip()
        if not key:
            raise WrongValue(f"{self._noun} key cannot be empty", value)
        return Pair(key, text.strip(), typed)


FIELD = KeyValue("field", typed=True)
HEADER = KeyValue("header")


class Publish(click.ParamType):  # type: ignore[type-arg]
    """``PLUGIN[:MODE[:PRIORITY]]``; an empty part is as good as none."""

    name = "target"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> PublishTarget:
        """Return the target; raises WrongValue if it has not this form."""
        if isinstance(value, PublishTarget):
            return value
        from eventdbx.domain.delivery.entries import PAYLOAD_MODES, PRIORITIES

        plugin, *rest = (part.strip() for part in str(value).split(":"))
        if not plugin:
            raise WrongValue("publish target name cannot be empty", value)
        if len(rest) > 2:
            raise WrongValue("publish target format is PLUGIN[:MODE[:PRIORITY]]", value)
        mode, priority = [part.lower() or None for part in (*rest, "", "")[:2]]
        if mode is not None and mode not in PAYLOAD_MODES:
            raise WrongValue(f"the mode is one of {', '.join(PAYLOAD_MODES)}", value)
        if priority is not None and priority not in PRIORITIES:
            raise WrongValue(f"the priority is one of {', '.join(PRIORITIES)}", value)
        return PublishTarget(plugin, mode, priority)


def json_value(text: str, option: str, noun: str) -> JSON:
    """Return the value of a JSON text of an option. Raises Failure naming the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise Failure(
            f"failed to parse JSON {noun} provided via {option}",
            str(error),
            code="invalid_schema",
        ) from None


def indirect(text: str, option: str) -> str:
    """Return the text that an option means: ``@path`` that file's, ``-`` that of stdin.

    Raises Failure when it cannot be read.
    """
    try:
        if text == "-":
            return sys.stdin.read()
        if text.startswith("@"):
            return Path(text[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise Failure(
            f"cannot read {text[1:] or 'stdin'} given to {option}", str(error.strerror), code="io"
        ) from None
    except UnicodeDecodeError:
        raise Failure(
            f"cannot read {text[1:] or 'stdin'} given to {option}",
            "it is not UTF-8 text",
            code="io",
        ) from None
    return text
