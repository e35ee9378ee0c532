"""Named formats of text columns: what each demands of the whole text.

References are a format too, but live in ``references``; how a format becomes a rule of a column is
in ``rules``. Texts are taken as they are sent, without trimming, and the empty text fits nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.columns import parse_float, parse_timestamp

COUNTRY_CODES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE
    EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC
    LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
    NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()
)
"""The assigned two-letter codes of ISO 3166-1."""

CASES = {
    "camel_case": "[a-z][A-Za-z0-9]*",
    "pascal_case": "[A-Z][A-Za-z0-9]*",
    "snake_case": "[a-z][a-z0-9]*(_[a-z0-9]+)*",
    "kebab_case": "[a-z][a-z0-9]*(-[a-z0-9]+)*",
    "upper_case_snake_case": "[A-Z][A-Z0-9]*(_[A-Z0-9]+)*",
}
"""Patterns of the whole text, in the subset that every dialect of patterns shares."""

_WORDS = {
    "email": "a valid email address",
    "url": "a valid URL",
    "credit_card": "a valid credit card number",
    "country_code": "an ISO 3166-1 alpha-2 country code",
    "iso8601": "a valid ISO 8601 timestamp",
    "wgs_84": "a valid WGS 84 coordinate (lat,lon)",
    "camel_case": "camelCase",
    "pascal_case": "PascalCase",
    "snake_case": "snake_case",
    "kebab_case": "kebab-case",
    "upper_case_snake_case": "UPPER_CASE_SNAKE_CASE",
}

_EMAIL_USER = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+")
_EMAIL_USER_CHARACTERS_MAX = 64
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_EMAIL_DOMAIN_CHARACTERS_MAX = 255
_EMAIL_LITERAL = re.compile(r"\[([A-Fa-f0-9:.]+)\]")

# The first brand whose digits a number begins with says how long it must be.
_BRANDS = tuple(
    (re.compile(beginning), frozenset(range(shortest, longest + 1)))
    for beginning, shortest, longest in (
        ("4026|417500|4405|4508|4844|491[37]", 16, 16),
        ("5018|502|503|56|58|639|67", 12, 19),
        ("600", 16, 16),
        ("5019", 16, 16),
        ("4", 13, 16),
        ("220[0-4]", 16, 19),
        ("5[1-5]|2[2-7]", 16, 16),
        ("3[47]", 15, 15),
        ("3[0689]", 14, 14),
        ("60|64|65|622", 16, 16),
        ("62|88", 16, 19),
        ("35", 16, 16),
    )
)
_CARD_DIGITS_MAX = 19
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _is_email(text: str) -> bool:
    user, at, domain = text.rpartition("@")
    if not at or len(user) > _EMAIL_USER_CHARACTERS_MAX:
        return False
    if len(domain) > _EMAIL_DOMAIN_CHARACTERS_MAX or _EMAIL_USER.fullmatch(user) is None:
        return False
    if _is_email_domain(domain):
        return True
    return not domain.isascii() and _is_email_domain(_ascii_domain(domain))


def _is_email_domain(domain: str) -> bool:
    if _EMAIL_DOMAIN.fullmatch(domain) is not None:
        return True
    literal = _EMAIL_LITERAL.fullmatch(domain)
    return literal is not None and _is_address(literal[1])


def _is_address(text: str) -> bool:
    try:
        if ":" in text:
            IPv6Address(text)
        else:
            IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _ascii_domain(domain: str) -> str:
    """Return an international domain as it is looked up; empty if it cannot be one."""
    # Loaded by the first text that needs it: most programs never do.
    import ada_url

    ascii_domain: bytes = ada_url.idna_to_ascii(domain)
    return ascii_domain.decode()


def _is_url(text: str) -> bool:
    import ada_url

    # Every absolute URL has a scheme, so the parser is spared most of the texts that are none.
    return ":" in text and bool(ada_url.check_url(text))


def _is_credit_card(text: str) -> bool:
    if len(text) > _CARD_DIGITS_MAX or not (text.isascii() and text.isdigit()):
        return False
    for beginning, lengths in _BRANDS:
        if beginning.match(text) is not None:
            return len(text) in lengths and _luhn(text) == 0
    return False


def _luhn(digits: str) -> int:
    backwards = [int(digit) for digit in reversed(digits)]
    return (sum(backwards[::2]) + sum(_DOUBLED[digit] for digit in backwards[1::2])) % 10


def _is_coordinate(text: str) -> bool:
    parts = text.split(",")
    if len(parts) != 2:
        return False
    latitude, longitude = (parse_float(part.strip(WHITE_SPACE)) for part in parts)
    if latitude is None or longitude is None:
        return False
    return -90 <= latitude <= 90 and -180 <= longitude <= 180


_TESTS: dict[str, Callable[[str], object]] = {
    "email": _is_email,
    "url": _is_url,
    "credit_card": _is_credit_card,
    "country_code": COUNTRY_CODES.__contains__,
    "iso8601": parse_timestamp,
    "wgs_84": _is_coordinate,
    **{name: re.compile(pattern).fullmatch for name, pattern in CASES.items()},
}


def format_fault(name: str, text: str) -> str | None:
    """Return why a text is not of a format, in words that belong after ``field P ``, or None.

    Raises KeyError for names without a test here, ``reference`` among them.
    """
    found = _TESTS[name](text)
    return None if found is not None and found is not False else f"must be {_WORDS[name]}"
