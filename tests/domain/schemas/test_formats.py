"""Named formats: what fits each and what does not, with the words for the latter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas.formats import COUNTRY_CODES, format_fault
from eventdbx.domain.schemas.model import FORMATS, REFERENCE

ROOT = Path(__file__).parents[3]

GOOD = {
    "email": (
        "weirder-email@here.and.there.com", "!def!xyz%abc@example.com", "email@127.0.0.1",
        "email@[::fffF:127.0.0.1]", "email@[127.0.0.1]", "email@[2001:db8::1]", "abc@bar",
        "a@b-c.de", f"{'a' * 64}@b", f"a@{'b' * 63}", "a@example.ORG", "a@bücher.example",
        "a@例え.テスト", ".@a", "a@1",
    ),
    "url": (
        "http://a", "HTTPS://A", "http:/a", "http:a", "http:\\\\a", "localhost:80", "mailto:x",
        "urn:a", "javascript:1", " http://a\n", "ht\ntp://a", "http://[::1]:80/", "http://a:",
        "http://a:65535", "http://1.2.3.4", "http://0x7f.1", "http://bücher.example", "file:",
        "file:///a b", "ws://a", "wss://u:p@a@b", "ftp://a", "foo://a%zz", "foo://", "a+b-c.d:",
        "http://a?b c#d e", "http://a_b",
    ),
    "credit_card": (
        "4539571147647251", "343380440754432", "4111111111111111", "5555555555554444",
        "378282246310005", "30569309025904", "6011000990139424", "3530111333300000",
        "4222222222222",
    ),
    "country_code": ("DE", "AX", "BQ", "CW", "SS", "SX", "ZW"),
    "iso8601": (
        "2024-02-29T23:59:60Z", "2024-01-01t00:00:00z", "2024-01-01 00:00:00.1234567890+23:59",
        "0000-01-01T00:00:00\u221200:30",
    ),
    "wgs_84": ("37.7749,-122.4194", " 1 , 2e1 ", "90,-180", "-90.0,+180.", ".5,5e-324"),
    "camel_case": ("a", "aB", "someThing2"),
    "pascal_case": ("A", "SomeThing2", "AB"),
    "snake_case": ("a", "a_b", "a1_2b"),
    "kebab_case": ("a", "a-b", "a1-2b"),
    "upper_case_snake_case": ("A", "A_B", "A1_2B"),
}  # fmt: skip

BAD = {
    "email": (
        '"test@test"@example.com', "something@@somewhere.com", "a @x.cz", "abc@.com", "abc",
        "email@[127.0.0.256]", "a@x y[127.0.0.1]", "email@[::12345]", "email@[]", "a@b.", "a@b_c",
        "a@b\n", "a@-b", "a@b-", "@b", "a@", "é@b", f"{'a' * 65}@b", f"a@{'b' * 64}", "a@\u0080",
        f"a@{'b.' * 127}bb", "a@[127.0.0.1", "email@[fe80::1%1]", "a@例え .テスト", "a@٣\u0000",
    ),
    "url": (
        "http", "example.com", "", "http://", "http://a b", "http://[::1", "http://a:65536",
        "http://1.2.3.256", "http://a%zz", "http://u@:80", "foo://a^b", "1x:y", "http://a:b",
        "ws://", "ftp://", "http://a<b", "http://1.2.3.4.5", "//a", "/a", "?a:b", "é:a",
    ),
    "credit_card": (
        "5236313877109141", "4539 5711 4764 7251", "4539571147647252", "0", "9999999999999995",
        "45395711476472510000", "٤539571147647251", "453957114764725", "4026000000000",
    ),
    "country_code": ("XK", "EU", "UK", "de", "DEU", "D", "ＤＥ"),
    "iso8601": (
        "2024-01-01", "2023-02-29T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01T24:00:00Z",
        " 2024-01-01T00:00:00Z", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00.Z",
        "٢024-01-01T00:00:00Z", "12024-01-01T00:00:00Z", "2024-01-01T00:00Z", "20240101T000000Z",
    ),
    "wgs_84": (
        "91.0,0.0", "10.0,181.0", "10.0", "lat,lon", "37.0,-122.0,5.0", "nan,0", "0,inf", ",",
        "1,", "1_0,2", "-90.000001,0", "٣,1",
    ),
    "camel_case": ("A", "a_b", "1a", "aé", "a\n"),
    "pascal_case": ("a", "A_B", "1A", "É", "A\n"),
    "snake_case": ("_leading", "trailing_", "double__underscore", "A", "a-b", "a\n"),
    "kebab_case": ("-a", "a-", "a--b", "a_b", "A", "a\n"),
    "upper_case_snake_case": ("_A", "A_", "A__B", "a", "A-B", "A\n"),
}  # fmt: skip

WORDS = {
    "email": "must be a valid email address",
    "url": "must be a valid URL",
    "credit_card": "must be a valid credit card number",
    "country_code": "must be an ISO 3166-1 alpha-2 country code",
    "iso8601": "must be a valid ISO 8601 timestamp",
    "wgs_84": "must be a valid WGS 84 coordinate (lat,lon)",
    "camel_case": "must be camelCase",
    "pascal_case": "must be PascalCase",
    "snake_case": "must be snake_case",
    "kebab_case": "must be kebab-case",
    "upper_case_snake_case": "must be UPPER_CASE_SNAKE_CASE",
}


class FormatsCase(SynchronousTestCase):
    """Texts against formats."""

    def test_every_format_has_examples(self) -> None:
        """Each format but reference is tested, both ways."""
        names = sorted(set(FORMATS) - {REFERENCE})
        self.assertEqual([sorted(table) for table in (GOOD, BAD, WORDS)], [names] * 3)

    def test_what_fits(self) -> None:
        """A text of the format has no fault."""
        faults = {(name, text): format_fault(name, text) for name in GOOD for text in GOOD[name]}
        self.assertEqual({key: fault for key, fault in faults.items() if fault}, {})

    def test_what_does_not_fit(self) -> None:
        """Any other text, the empty one included, gets the words of the format."""
        for name, texts in BAD.items():
            for text in ("", *texts):
                self.assertEqual(format_fault(name, text), WORDS[name], (name, text))

    def test_there_are_249_countries(self) -> None:
        """The list of countries is the assigned part of ISO 3166-1."""
        self.assertEqual(len(COUNTRY_CODES), 249)
        self.assertTrue(all(len(code) == 2 and code.isupper() for code in COUNTRY_CODES))

    @given(st.sampled_from(sorted(GOOD)), st.text(max_size=40))
    def test_no_text_breaks_a_test(self, name: str, text: str) -> None:
        """Whatever the text, the answer is one of the two."""
        self.assertIn(format_fault(name, text), (None, WORDS[name]))

    def test_parsers_are_loaded_when_first_needed(self) -> None:
        """Importing the formats and patterns loads none of the packages behind them."""
        program = (
            "import sys, eventdbx.domain.schemas.formats, eventdbx.domain.schemas.patterns\n"
            "sys.exit(bool({'ada_url', 're2', 'jsonschema'} & set(sys.modules)))"
        )
        ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
        self.assertEqual(ended.returncode, 0)
