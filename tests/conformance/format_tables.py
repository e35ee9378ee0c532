"""Which texts each format takes."""

from __future__ import annotations

from tests.conformance.case import Table

_EMAIL = "field f must be a valid email address"
_URL = "field f must be a valid URL"
_CARD = "field f must be a valid credit card number"
_COUNTRY = "field f must be an ISO 3166-1 alpha-2 country code"
_TIME = "field f must be a valid ISO 8601 timestamp"
_PLACE = "field f must be a valid WGS 84 coordinate (lat,lon)"
_NOTATION = "field f must use reference notation domain#aggregate#id, aggregate#id, or #id"
_NO_ID = "field f must specify an aggregate id after '#'"


def _format(name: str) -> dict[str, str]:
    return {"type": "text", "format": name}


NET: tuple[Table, ...] = (
    Table(
        "email",
        _format("email"),
        (
            ('"jane@example.com"', None),
            ('"weirder-email@here.and.there.com"', None),
            ('"!def!xyz%abc@example.com"', None),
            ('"email@[::fffF:127.0.0.1]"', None),
            ('"email@[127.0.0.1]"', None),
            ('"email@127.0.0.1"', None),
            ('"abc@bar"', None),
            ('"jane@b\\u00fccher.example"', None),
            ('"\\"test@test\\"@example.com"', _EMAIL),
            ('"something@@somewhere.com"', _EMAIL),
            ('"a @x.cz"', _EMAIL),
            ('"abc@.com"', _EMAIL),
            ('"abc@"', _EMAIL),
            ('"@example.com"', _EMAIL),
            ('"jane"', _EMAIL),
            ('""', _EMAIL),
            ('"email@[127.0.0.256]"', _EMAIL),
            ('"a@x y[127.0.0.1]"', _EMAIL),
            ('"jane@example.com."', _EMAIL),
            ('"jane@exa_mple.com"', _EMAIL),
            ('"jane@-example.com"', _EMAIL),
            ('"jane@example.com\\n"', _EMAIL),
            ('" jane@example.com"', _EMAIL),
            ("1", "field f must be a string"),
        ),
    ),
    Table(
        "url",
        _format("url"),
        (
            ('"https://example.com"', None),
            ('"http://user:pw@example.com:8080/a?b#c"', None),
            ('"HTTP://EXAMPLE.COM"', None),
            ('"  https://example.com  "', None),
            ('"http:example.com"', None),
            ('"http://[::1]/"', None),
            ('"http://b\\u00fccher.example/"', None),
            ('"localhost:80"', None),
            ('"mailto:x"', None),
            ('"urn:a"', None),
            ('"javascript:1"', None),
            ('"file:///etc"', None),
            ('"http"', _URL),
            ('"example.com"', _URL),
            ('"//example.com"', _URL),
            ('"http://"', _URL),
            ('"http://a b/"', _URL),
            ('"http://[::1"', _URL),
            ('"http://1.2.3.256/"', _URL),
            ('"http://example.com:65536/"', _URL),
            ('"http://example.com:x/"', _URL),
            ('"1http://example.com"', _URL),
            ('""', _URL),
        ),
    ),
    Table(
        "coordinate",
        _format("wgs_84"),
        (
            ('"37.7749,-122.4194"', None),
            ('" 1 , 2e1 "', None),
            ('"-90,180"', None),
            ('"91.0,0.0"', _PLACE),
            ('"10.0,181.0"', _PLACE),
            ('"-90.1,0"', _PLACE),
            ('"10.0"', _PLACE),
            ('"lat,lon"', _PLACE),
            ('"37.0,-122.0,5.0"', _PLACE),
            ('"1,"', _PLACE),
            ('"nan,0"', _PLACE),
            ('"0,inf"', _PLACE),
            ('""', _PLACE),
        ),
    ),
)

CODES: tuple[Table, ...] = (
    Table(
        "credit card",
        _format("credit_card"),
        (
            ('"4539571147647251"', None),
            ('"343380440754432"', None),
            ('"4026111111111115"', None),
            ('"501811111118"', None),
            ('"5018111111111111116"', None),
            ('"4111111111119"', None),
            ('"2200111111111111113"', None),
            ('"5111111111111118"', None),
            ('"30111111111117"', None),
            ('"6511111111111112"', None),
            ('"3511111111111119"', None),
            ('"5236313877109141"', _CARD),
            ('"4026111111119"', _CARD),
            ('"411111111117"', _CARD),
            ('"511111111111115"', _CARD),
            ('"341111111111111"', None),
            ('"3411111111111110"', _CARD),
            ('"6221111111111113"', None),
            ('"6221111111111111115"', _CARD),
            ('"62111111111111111119"', _CARD),
            ('"1111111111111117"', _CARD),
            ('"4539 5711 4764 7251"', _CARD),
            ('"4539-5711-4764-7251"', _CARD),
            ('"\\u0664539571147647251"', _CARD),
            ('""', _CARD),
        ),
    ),
    Table(
        "country code",
        _format("country_code"),
        (
            ('"DE"', None),
            ('"AX"', None),
            ('"BQ"', None),
            ('"SS"', None),
            ('"de"', _COUNTRY),
            ('"UK"', _COUNTRY),
            ('"EU"', _COUNTRY),
            ('"XK"', _COUNTRY),
            ('"DEU"', _COUNTRY),
            ('"DE "', _COUNTRY),
            ('""', _COUNTRY),
        ),
    ),
    Table(
        "ISO 8601",
        _format("iso8601"),
        (
            ('"2026-01-02T03:04:05Z"', None),
            ('"2026-01-02 03:04:05.5+01:00"', None),
            ('"2026-01-02"', _TIME),
            ('"20260102T030405Z"', _TIME),
            ('"2026-02-30T00:00:00Z"', _TIME),
            ('" 2026-01-02T03:04:05Z"', _TIME),
            ('""', _TIME),
        ),
    ),
    Table(
        "ISO 8601 by its other name",
        _format("iso_8601"),
        (('"2026-01-02T03:04:05Z"', None), ('"now"', _TIME)),
    ),
)

SPELLINGS: tuple[Table, ...] = (
    Table(
        "camelCase",
        _format("camel_case"),
        (
            ('"orderTotal2"', None),
            ('"a"', None),
            ('"OrderTotal"', "field f must be camelCase"),
            ('"order_total"', "field f must be camelCase"),
            ('"\\u00e9tat"', "field f must be camelCase"),
            ('""', "field f must be camelCase"),
        ),
    ),
    Table(
        "PascalCase",
        _format("pascal_case"),
        (
            ('"OrderTotal2"', None),
            ('"A"', None),
            ('"orderTotal"', "field f must be PascalCase"),
            ('"Order-Total"', "field f must be PascalCase"),
            ('""', "field f must be PascalCase"),
        ),
    ),
    Table(
        "snake_case",
        _format("snake_case"),
        (
            ('"order_total_2"', None),
            ('"a"', None),
            ('"_leading"', "field f must be snake_case"),
            ('"trailing_"', "field f must be snake_case"),
            ('"double__underscore"', "field f must be snake_case"),
            ('"Order"', "field f must be snake_case"),
            ('"a\\n"', "field f must be snake_case"),
            ('""', "field f must be snake_case"),
        ),
    ),
    Table(
        "kebab-case",
        _format("kebab_case"),
        (
            ('"order-total-2"', None),
            ('"-a"', "field f must be kebab-case"),
            ('"a--b"', "field f must be kebab-case"),
            ('"a_b"', "field f must be kebab-case"),
            ('""', "field f must be kebab-case"),
        ),
    ),
    Table(
        "UPPER_CASE_SNAKE_CASE",
        _format("upper_case_snake_case"),
        (
            ('"ORDER_TOTAL_2"', None),
            ('"A"', None),
            ('"ORDER__TOTAL"', "field f must be UPPER_CASE_SNAKE_CASE"),
            ('"Order"', "field f must be UPPER_CASE_SNAKE_CASE"),
            ('"2A"', "field f must be UPPER_CASE_SNAKE_CASE"),
            ('""', "field f must be UPPER_CASE_SNAKE_CASE"),
        ),
    ),
)

_WEAK = {"integrity": "weak"}

# Weak ones, so that nothing needs to be there.
REFERENCES: tuple[Table, ...] = (
    Table(
        "reference",
        {"type": "text", "format": "reference", "reference": _WEAK},
        (
            ('"default#person#p-1"', None),
            ('"person#p-1"', None),
            ('"#p-1"', None),
            ('"  #p-1 "', None),
            ("null", None),
            ('""', _NOTATION),
            ('"p-1"', _NOTATION),
            ('"a#b#c#d"', _NOTATION),
            ('"###"', _NOTATION),
            ('"#"', _NO_ID),
            ('"person#"', _NO_ID),
            ('"default#person# "', _NO_ID),
            ("1", "field f must be a string"),
        ),
    ),
    Table(
        "reference by its type",
        {"type": "Aggregate-Reference", "reference": _WEAK},
        (('"person#p-1"', None), ("null", None), ('"p-1"', _NOTATION)),
    ),
    Table(
        "required reference",
        {"type": "ref", "required": True, "reference": _WEAK},
        (('"person#p-1"', None), ("null", "field f must be a string")),
    ),
    Table(
        "rules see a reference as it was sent",
        {"type": "ref", "reference": _WEAK, "contains": ["person"], "length": {"max": 10}},
        (
            ('"person#p-1"', None),
            ("null", None),
            ('"#p-1"', "field f must contain 'person'"),
            ('"person#p-12"', "field f must have length <= 10"),
        ),
    ),
    Table(
        "reference on a column that is no text",
        {"type": "integer", "format": "reference"},
        (("1", "field f uses reference format but must be a text column"),),
    ),
    Table(
        "nested reference",
        {"type": "object", "properties": {"to": {"type": "ref", "reference": _WEAK}}},
        (
            ('{"to":"person#p-1"}', None),
            ('{"to":null}', None),
            ("{}", None),
            ('{"to":"p-1"}', _NOTATION.replace("field f", "field f.to")),
        ),
    ),
)

TABLES = NET + CODES + SPELLINGS + REFERENCES
