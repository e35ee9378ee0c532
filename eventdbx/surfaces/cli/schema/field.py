"""``dbx schema field``: the type and the rules of one column, and the lock of its field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import click

from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.columns import REFERENCE_ALIASES, parse_type
from eventdbx.domain.schemas.model import FORMATS
from eventdbx.errors import InvalidSchema, SerializationError
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, all_of, argument, option
from eventdbx.surfaces.cli.output import print_json, print_line
from eventdbx.surfaces.cli.schema.calls import Document, bare_errors, change, required
from eventdbx.surfaces.cli.schema.texts import rules_option, split_list, unreadable
from eventdbx.surfaces.cli.values import U64, WrongValue

Members = dict[str, Any]


class _Rule(NamedTuple):
    """One option that sets a rule, or a part of one."""

    option: str
    metavar: str | None
    help: str
    kind: click.ParamType | None = None  # type: ignore[type-arg]
    multiple: bool = False


_CLEARED = ("format", "contains", "does_not_contain", "regex", "length", "range", "properties")


class _Format(click.ParamType):  # type: ignore[type-arg]
    """A format; ISO 8601 in the spelling of the JSON model, too."""

    name = "format"
    words = (
        "email", "url", "credit_card", "country_code", "iso_8601", "wgs_84", "camel_case",
        "snake_case", "kebab_case", "pascal_case", "upper_case_snake_case", "reference",
    )  # fmt: skip

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word; raises WrongValue."""
        if value not in self.words and value not in FORMATS:
            raise WrongValue("unknown format", str(value))
        return str(value)


_RULES = (
    _Rule(
        "format",
        "FORMAT",
        "What its texts must be",
        _Format(),
    ),
    _Rule("contains", "TEXT", "Texts that must occur; comma list", multiple=True),
    _Rule("does_not_contain", "TEXT", "Texts that must not occur; comma list", multiple=True),
    _Rule(
        "regex",
        "PATTERN",
        "Patterns that must be found; comma list, commas in brackets are the pattern's",
        multiple=True,
    ),
    _Rule("length_min", "N", "Characters (of binary: bytes) at least", U64),
    _Rule("length_max", "N", "Characters (of binary: bytes) at most", U64),
    _Rule("range_min", "VALUE", "The least value; write --range-min=-5 for a negative one"),
    _Rule("range_max", "VALUE", "The greatest value"),
    _Rule("properties", "JSON", "Columns of an object, by name; @FILE or - for stdin"),
    _Rule(
        "reference_integrity",
        "REFERENCE_INTEGRITY",
        "Whether what is referred to must exist",
        click.Choice(["strong", "weak"]),
    ),
    _Rule("reference_tenant", "TENANT", "The domain referred to; empty for any"),
    _Rule("reference_aggregate", "AGGREGATE", "The aggregate type referred to; empty for any"),
    _Rule(
        "reference_cascade",
        "REFERENCE_CASCADE",
        "What archiving the aggregate referred to does",
        click.Choice(["none", "restrict", "nullify"]),
    ),
)


_REFERENCES = ("integrity", "tenant", "aggregate", "cascade")
_SINGLE = (
    "is_required",
    "is_optional",
    *(one.option for one in _RULES if not one.option.startswith("reference_")),
    *(f"clear_{one}" for one in _CLEARED),
)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _rule_options() -> Callable[[Any], Any]:
    options = []
    for one in _RULES:
        settings: Members = {"type": one.kind} if one.kind else {}
        base = one.option.partition("_m")[0]
        if base in _CLEARED:
            settings["conflicts"] = (f"clear_{base}",)
        options.append(
            option(
                _flag(one.option),
                one.option,
                metavar=one.metavar,
                multiple=one.multiple,
                help=one.help,
                **settings,
            )
        )
    for name in _CLEARED:
        flag = f"--clear-{name.replace('_', '-')}"
        options.append(
            option(flag, f"clear_{name}", is_flag=True, help=f"Drop {name.replace('_', ' ')}")
        )
    return all_of(*options)


TYPE = all_of(
    option(
        "--type",
        "kind",
        metavar="TYPE",
        conflicts=("clear_type",),
        help="integer, float, decimal(P,S), boolean, text, timestamp, date, json, binary, object, "
        "or reference; without rule options the column's rules are dropped",
    ),
    option("--clear-type", is_flag=True, help="Remove the column; lists and locks stay"),
    option(
        "--rules",
        metavar="JSON",
        conflicts=("clear_rules", *_SINGLE),
        help="Replace all rules; @FILE or - for stdin",
    ),
    option("--clear-rules", is_flag=True, help="Drop all rules, nested columns too"),
    option(
        "--required",
        "is_required",
        is_flag=True,
        conflicts=("is_optional",),
        help="Every event must have the field",
    ),
    option("--not-required", "is_optional", is_flag=True, help="Events may leave it out"),
)

LOCK = all_of(
    option("--lock", is_flag=True, conflicts=("unlock",), help="Refuse events with the field"),
    option("--unlock", is_flag=True, help="Accept them again"),
)


def register(group: click.Group) -> None:
    """Add the command to the group."""

    @group.command(
        "field",
        examples=(
            "dbx schema field person email --type text --required --format email",
            "dbx schema field order total --type 'decimal(12,2)' --range-min 0",
            "dbx schema field order customer --type reference --reference-aggregate customer",
            """dbx schema field person address --type object --properties '{"city":"text"}'""",
            "dbx schema field order code --lock",
        ),
    )
    @argument("aggregate", help="Aggregate type")
    @argument("field", help="Field of payload and state")
    @TYPE
    @_rule_options()
    @LOCK
    @AS_JSON
    @click.pass_context
    def field(
        context: click.Context, /, aggregate: str, field: str, as_json: bool, **given: Any
    ) -> None:
        """Modify column types and validation rules for a field"""
        aggregate, field = required(aggregate, "aggregate"), required(field, "field")
        members = _members(given)
        with bare_errors():
            try:
                changed = change(context, "field", aggregate, field=field, **members)
            except SerializationError as error:
                raise _shape_failure(given, error) from None
        if as_json:
            print_json(changed)
            return
        parts = [f"aggregate={aggregate} field={field}", *_said(given, members, changed, field)]
        print_line(" ".join(parts))


def _members(given: Members) -> Members:
    """Return the members of the change that the options ask for. Raises Failure."""
    members: Members = {}
    single = _single_rules(given)
    if given["kind"] is not None:
        members["type"] = _checked_type(given["kind"])
    if given["rules"] is not None:
        members["rules"] = rules_option(given["rules"], "rules")
    elif given["clear_rules"]:
        members["rules"] = None
    if single:
        members["set"] = single
    if given["clear_type"]:
        if members:
            raise Failure(
                "--clear-type cannot be combined with rule changes; "
                "a field without a column type has no rules"
            )
        members["type"] = None
    if given["lock"] or given["unlock"]:
        members["locked"] = given["lock"]
    if not members:
        raise Failure("no changes requested; pass --type, --rules, or at least one rule flag")
    return members


def _names_reference(text: str | None) -> bool:
    return text is not None and text.strip(WHITE_SPACE).lower() in REFERENCE_ALIASES


def _checked_type(text: str) -> str:
    if not _names_reference(text):
        try:
            parse_type(text)
        except InvalidSchema as error:
            raise Failure(f"invalid column type: {error.detail}", code=error.code) from None
    return text


def _single_rules(given: Members) -> Members:
    """Return the rules that options of their own set or clear, as the model spells them."""
    rules: Members = {}
    if given["is_required"] or given["is_optional"]:
        rules["required"] = given["is_required"]
    if given["format"] is not None:
        rules["format"] = given["format"]
    for name in ("contains", "does_not_contain", "regex"):
        if given[name]:
            rules[name] = _entries(name, given[name])
    for name in ("length", "range"):
        bounds = {part: given[f"{name}_{part}"] for part in ("min", "max")}
        if any(value is not None for value in bounds.values()):
            rules[name] = {part: value for part, value in bounds.items() if value is not None}
    if given["properties"] is not None:
        rules["properties"] = rules_option(given["properties"], "properties")
    for name in _CLEARED:
        if given[f"clear_{name}"]:
            rules[name] = None
    block = {
        "aggregate_type" if name == "aggregate" else name: given[f"reference_{name}"]
        for name in _REFERENCES
        if given[f"reference_{name}"] is not None
    }
    if block:
        rules["reference"] = block
    return rules


def _entries(name: str, texts: Iterable[str]) -> list[str]:
    entries = [entry for text in texts for entry in split_list(text)]
    if not all(entries):
        raise Failure(f"{name.replace('_', '-')} entries cannot be empty", code=InvalidSchema.code)
    # A backslash before a comma means a comma to patterns, too; needles must lose it.
    return entries if name == "regex" else [entry.replace("\\,", ",") for entry in entries]


def _shape_failure(given: Members, error: SerializationError) -> Exception:
    """Return the failure for JSON that parses but does not say rules."""
    for noun in ("rules", "properties"):
        if given[noun] is not None:
            return unreadable(noun, given[noun], error.detail)
    return error


def _said(given: Members, members: Members, schema: Document, field: str) -> list[str]:
    """Return what changed, part by part."""
    said = []
    as_reference = False
    if "type" in members:
        column = schema["column_types"].get(field)
        kind = column["type"] if isinstance(column, dict) else column
        as_reference = _names_reference(given["kind"])
        said.append(f"type={'reference' if as_reference else kind or 'cleared'}")
    if "set" in members or members.get("rules") is not None:
        said.append("rules=updated")
    elif "rules" in members:
        said.append("rules=cleared")
    elif as_reference:
        said.append("rules=reference")
    if "locked" in members:
        said.append(f"locked={'true' if members['locked'] else 'false'}")
    return said
