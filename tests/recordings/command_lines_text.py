"""What is compared of an answer of a command line, as one text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.recordings.matching import KINDS

CLI_KINDS: Mapping[str, str] = {
    # <VERSION> is also what usage lines call a value.
    **{kind: value for kind, value in KINDS.items() if kind != "VERSION"},
    "UUID": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "KEY_ID": r"key-[0-9]{14}",
    "JOB_ID": r"[0-9]{1,20}",
    "PID": r"[1-9][0-9]*",
    "RELEASE": r"[0-9]+\.[0-9]+\.[0-9]+\S*",
    "SCHEMA_VERSION": r"v[0-9]{8}T[0-9]{9}Z(?:-[0-9]{2})?",
    "TOKEN": r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+",
    "UPTIME": r"(?:[1-9][0-9]*[dhms](?: [1-9][0-9]*[dhms])*|under 1s)",
}
"""Besides those of all recordings what only command lines print."""

_DOCUMENT = re.compile(r"(?m)^(?:\w+=)?(?=[\[{])")
_NUMBER = re.compile(r'"\\u0000([^"]*)"')


class Answer(NamedTuple):
    """How a command ended."""

    exit: int
    stdout: str
    stderr: str


def answer_of(recorded: Mapping[str, Any]) -> Answer:
    """Return a recorded answer; streams that were empty are not written."""
    return Answer(recorded["exit"], recorded.get("stdout", ""), recorded.get("stderr", ""))


def with_values(text: str, values: Mapping[str, str]) -> str:
    """Return a recorded text with the folders and ports of this run: ``<HOME>`` and the like."""
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


def compared(step: Mapping[str, Any], answer: Answer, *, left_out: Sequence[str] = ()) -> str:
    """Return what the step compares of an answer, without the members that are left out."""
    out, err = with_sorted_keys(answer.stdout, left_out), with_sorted_keys(answer.stderr)
    match step.get("compare"):
        case "exit":
            out = err = ""
        case "stdout":
            err = ""
        case "usage":
            err = err.partition("\n")[0]
        case "first-line":
            out, err = out.partition("\n")[0], err.partition("\n")[0]
        case "keys":
            found = re.findall(r"(?m)^\[?[\w.]+", out)
            out, err = "\n".join(sorted(set(found))), ""
        case None:
            pass
        case other:
            raise AssertionError(f"no way to compare: {other}")
    return f"exit {answer.exit}\n--- stdout\n{out}\n--- stderr\n{err}\n"


def absent(step: Mapping[str, Any], answer: Answer) -> list[str]:
    """Return the step's optional members and ``name=`` lines that an answer does not have.

    One release printed them, another did not; this one prints them all.
    """
    return [
        name
        for name in step.get("optional", ())
        if not re.search(
            rf'(?m)^ *{re.escape(name)}=|^(?:  |    )"{re.escape(name)}":', answer.stdout
        )
    ]


def with_sorted_keys(text: str, left_out: Sequence[str] = ()) -> str:
    """Return a text with the members of its JSON documents in the order of their names.

    Their order is no contract, the rest of the layout is: a document that is not indented by two
    stays as it is. Members at the top and ``name=`` lines can be left out.
    """
    for name in left_out:
        text = re.sub(rf"(?m)^ *{re.escape(name)}=.*\n", "", text)
    parts: list[str] = []
    end = 0
    for found in _DOCUMENT.finditer(text):
        start = found.end()
        if start < end:
            continue
        try:
            value, stop = _DECODER.raw_decode(text, start)
        except ValueError:
            continue
        if _laid_out(value) == text[start:stop]:
            parts += text[end:start], _laid_out(_without(value, left_out), sort=True)
            end = stop
    return "".join([*parts, text[end:]])


# Numbers keep their digits as they are written, 1e21 as well as 1.0.
_DECODER = json.JSONDecoder(parse_float="\0{}".format, parse_int="\0{}".format)


def _laid_out(value: Any, *, sort: bool = False) -> str:
    text = json.dumps(value, indent=2, sort_keys=sort, ensure_ascii=False)
    return _NUMBER.sub(r"\1", text)


def _without(value: Any, names: Sequence[str]) -> Any:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for name in names:
                item.pop(name, None)
    return value
