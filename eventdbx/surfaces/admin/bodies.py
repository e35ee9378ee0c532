"""Bodies and query parameters: read, and held against the schemas that the document shows.

A message names the place and the rule, never the value: it may be a token.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from eventdbx.domain.canonical import JSON, parse
from eventdbx.surfaces.admin.problems import invalid_body
from eventdbx.surfaces.admin.table import Parameter, Problem, Row

_ERRORS_MAX = 20
_POINTER_MAX = 256
"""Characters of a place: names in a body may be as long as the body."""

_BASE = "urn:eventdbx:admin"


def schema_reference(name: str, prefix: str = "") -> dict[str, JSON]:
    """Return the schema that a row names: a component, or ``[X]`` for an array of them."""
    if name.startswith("["):
        return {"type": "array", "items": schema_reference(name[1:-1], prefix)}
    return {"$ref": f"{prefix}#/components/schemas/{name}"}


class Bodies:
    """What checks bodies and parameters against the component schemas."""

    def __init__(self, schemas: Mapping[str, JSON]) -> None:
        contents = {"components": {"schemas": dict(schemas)}}
        resource: Resource[Any] = DRAFT202012.create_resource(contents)
        self._registry: Registry[Any] = Registry().with_resource(_BASE, resource)
        self._validators: dict[str, Draft202012Validator] = {}

    def read(self, row: Row, content_type: str, content: bytes) -> Any:
        """Return the body of a request, None for a row without one.

        Raises Problem: 415 for what is not called JSON, 400 for what is none, 422 for JSON of
        another shape.
        """
        if row.body is None:
            return None
        if not content and not row.body_required:
            return {}
        if not _is_json(content_type):
            text = "Expected request with `Content-Type: application/json`"
            raise Problem(415, text, "unsupported_media_type")
        try:
            value = parse(content)
        except ValueError as error:
            text = f"Failed to parse the request body as JSON: {error}"
            raise Problem(400, text, "malformed_json") from None
        if isinstance(value, dict | list):
            # Which of two a reader takes is chance: a filter in front may have seen the other.
            json.loads(content, object_pairs_hook=_once_each)
        self.check(row.body, value)
        return value

    def check(self, name: str, value: Any) -> None:
        """Raise Problem 422 unless a value fits a component schema."""
        validator = self._validators.get(name)
        if validator is None:
            reference = schema_reference(name, _BASE)
            validator = Draft202012Validator(reference, registry=self._registry)
            self._validators[name] = validator
        errors = []
        for error in validator.iter_errors(value):
            errors.append(error)
            if len(errors) == _ERRORS_MAX:
                break
        if errors:
            said = [_said(error) for error in errors]
            raise invalid_body(_said(best_match(errors) or errors[0])["message"], said)


def invalid_member(pointer: str, rule: str, reason: str) -> Problem:
    """Return the answer to a member whose wrongness no schema can say."""
    said = {"pointer": pointer, "rule": rule, "message": f"{pointer}: {reason}"}
    return invalid_body(said["message"], [said])


def _once_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        counts = Counter(name for name, _value in members)
        twice = next(name for name, count in counts.items() if count > 1)
        raise invalid_body(f"duplicate field `{twice[:128]}`")
    return found


def check_query(parameters: tuple[Parameter, ...], query: Mapping[str, str]) -> None:
    """Raise Problem 400 for a known parameter that is missing or whose value does not fit.

    Unknown ones are passed over.
    """
    for parameter in parameters:
        text = query.get(parameter.name)
        if text is None:
            if parameter.required:
                message = f"query parameter `{parameter.name}` is missing"
                raise Problem(400, message, "invalid_parameter")
            continue
        value = _value(text, str(parameter.schema.get("type")))
        found = next(Draft202012Validator(dict(parameter.schema)).iter_errors(value), None)
        if found is not None:
            message = f"query parameter `{parameter.name}` {_reason(found)}"
            raise Problem(400, message, "invalid_parameter")


def _value(text: str, kind: str) -> Any:
    if kind == "integer" and text.removeprefix("-").isdecimal() and text.isascii():
        return int(text[:20])
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _said(error: ValidationError) -> dict[str, str]:
    pointer = "".join(f"/{_escaped(step)}" for step in error.absolute_path)[:_POINTER_MAX]
    reason = _reason(error)
    message = f"{pointer}: {reason}" if pointer else reason
    return {"pointer": pointer, "rule": str(error.validator), "message": message}


def _escaped(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def _reason(error: ValidationError) -> str:
    rule, wanted = str(error.validator), error.validator_value
    if rule == "required":
        # The name is ours: it is in the schema, not in the body.
        name = str(error.message).removesuffix(" is a required property")[1:-1]
        return f"missing field `{name}`"
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return "must be of type " + " or ".join(kinds)
    if rule in ("enum", "const"):
        values = wanted if rule == "enum" else [wanted]
        return "must be one of " + ", ".join(str(value) for value in values)
    plain = isinstance(wanted, str | int | float)
    return f"breaks the rule {rule} {wanted}" if plain else f"breaks the rule {rule}"
