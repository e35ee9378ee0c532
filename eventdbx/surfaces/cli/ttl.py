"""Lifetimes on the command line: ``3600``, ``10m``, ``2 hours``; 0 stands for no end."""

from __future__ import annotations

import re
from typing import Any

import click

from eventdbx.surfaces.cli.values import WrongValue

_UNITS = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 24 * 3600),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 24 * 3600),
}


class Ttl(click.ParamType):  # type: ignore[type-arg]
    """A number of seconds, or a number with a unit from seconds to weeks."""

    name = "ttl"

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds; raises WrongValue with the reason."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*([0-9]{1,12})\s*([^0-9\s]*)\s*", value, re.ASCII)
        if match is None:
            raise WrongValue(self._refusal, value)
        unit = _UNITS.get(match[2].lower())
        if unit is None:
            raise WrongValue(
                f"invalid ttl suffix '{match[2]}'; supported suffixes are s, m, h, d, and w", value
            )
        return int(match[1]) * unit


TTL = Ttl("ttl must be a number, or a number with a unit such as 10m")

TOKEN_TTL = Ttl("invalid digit found in string")
"""The same with the words that scripts know from `dbx token`."""
