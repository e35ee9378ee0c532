"""Checkpoints and cosignatures, held against the standards' examples and a log in the wild."""

from __future__ import annotations

from base64 import b64decode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.checkpoints import (
    Checkpoint,
    Trust,
    check_checkpoint,
    check_cosignatures,
    cosign,
    cosigned_at,
    cosigned_message,
    parse_checkpoint,
    sign_checkpoint,
)
from eventdbx.domain.merkle import EMPTY_ROOT
from eventdbx.domain.notes import (
    Note,
    NoteError,
    Signature,
    check_note,
    parse_note,
    parse_signatures,
    parse_vkey,
)
from tests.domain.signers import log_key, verify, witness_key

# The example of C2SP tlog-checkpoint, with the cosignature that tlog-cosignature adds to it.
SPEC_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SPEC = (
    SPEC_TEXT + "\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4"
    "URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2o"
    "yin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()
# What tlog-witness shows as the answer of a witness with three keys.
SPEC_ANSWER = (
    "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrd"
    "k3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n"
    "— witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+Dl"
    "kL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==\n"
    "— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3"
    "HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n"
).encode()
# The cosignature that transparency-dev/formats reads the time 1727964367 from.
TIMED = (
    "— timed ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOwor"
    "DcFiEBYJXORmnFBOBA==\n"
).encode()
# A checkpoint of a public log, as it was served, and the public keys of the log and its witnesses.
WILD = (
    "arche2025h1.staging.ct.transparency.dev\n1432088532\n"
    "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n"
    "— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMH"
    "bdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n"
    "— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3Ny"
    "gNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n"
    "— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rh"
    "IgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n"
    "— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ7"
    "5W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n"
    "— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXT"
    "ynk5XeU/zZ0WBxtqB0DrAWfBw==\n"
    "— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY"
    "/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n"
).encode()
WILD_ORIGIN = "arche2025h1.staging.ct.transparency.dev"
WILD_LOG = parse_vkey(f"{WILD_ORIGIN}+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f")
WILD_WITNESSES = tuple(
    map(
        parse_vkey,
        (
            "transparency.dev/DEV:witness-little-garden+d8042a87"
            "+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
            "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
            "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
            "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
        ),
    )
)
WILD_TIME = 0x6A122120

ORIGIN = "example.org/log"
LOG, LOG_SIGN = log_key(ORIGIN, b"\x01" * 32)
ONE, ONE_SIGN = witness_key("one.example", b"\x02" * 32)
TWO, TWO_SIGN = witness_key("two.example", b"\x03" * 32)
POINT = Checkpoint(ORIGIN, 7, bytes(range(32)))
TRUST = Trust(ORIGIN, (LOG,), (ONE, TWO), 2)

LINES = st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=1, max_size=60)
CHECKPOINTS = st.builds(
    Checkpoint,
    LINES,
    st.integers(0, limits.TREE_SIZE_MAX),
    st.binary(min_size=32, max_size=32),
    st.lists(LINES, max_size=3).map(tuple),
)


def cosigned(time: int = 1_800_000_000) -> Note:
    """Return POINT, signed by its log and by both witnesses."""
    note = sign_checkpoint(POINT, LOG, LOG_SIGN)
    return note.signed_by(
        cosign(note.text, ONE, time, ONE_SIGN), cosign(note.text, TWO, time + 1, TWO_SIGN)
    )


class Vectors(SynchronousTestCase):
    """The standards' own examples, and what a log and its witnesses really signed."""

    def test_example_of_the_standard(self) -> None:
        """The examples say what the standards say that they say."""
        note = parse_note(SPEC)
        checkpoint = parse_checkpoint(note.text)
        self.assertEqual(checkpoint.origin, "example.com/behind-the-sofa")
        self.assertEqual(checkpoint.size, 20852163)
        self.assertEqual(checkpoint.root, b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="))
        self.assertEqual(checkpoint.text(), SPEC_TEXT)
        self.assertEqual(cosigned_at(note.signatures[1]), 1679315147)
        self.assertEqual(
            cosigned_message(note.text, 1679315147),
            b"cosignature/v1\ntime 1679315147\n" + SPEC_TEXT.encode(),
        )

    def test_answer_of_a_witness(self) -> None:
        """Lines alone are read, and go below the checkpoint that they were asked for."""
        lines = parse_signatures(SPEC_ANSWER)
        names = ["witness.example/w1", "witness.example/w1", "witness.example/w2"]
        self.assertEqual([line.name for line in lines], names)
        note = parse_note(SPEC)
        self.assertEqual(note.signed_by(*lines).encode(), SPEC + SPEC_ANSWER)

    def test_time_that_another_implementation_reads(self) -> None:
        """A published cosignature carries the time that others read from it."""
        (signature,) = parse_signatures(TIMED)
        self.assertEqual(cosigned_at(signature), 1727964367)

    def test_a_log_in_the_wild(self) -> None:
        """The log's signature and each of the four cosignatures hold."""
        trust = Trust(WILD_ORIGIN, (WILD_LOG,), WILD_WITNESSES, 4)
        verified = check_checkpoint(parse_note(WILD), trust, verify)
        self.assertEqual(verified.checkpoint.size, 1432088532)
        self.assertEqual(verified.signers, (WILD_LOG,))
        self.assertEqual(verified.cosigners, dict.fromkeys(WILD_WITNESSES, WILD_TIME))

    def test_another_size_in_the_wild(self) -> None:
        """None of these signatures holds once the size differs."""
        note = parse_note(WILD.replace(b"1432088532", b"1432088533"))
        with self.assertRaisesRegex(NoteError, "does not hold"):
            check_note(note, [WILD_LOG], verify)
        for witness in WILD_WITNESSES:
            with self.assertRaisesRegex(NoteError, "does not hold"):
                check_cosignatures(note, [witness], verify)

    def test_empty_log(self) -> None:
        """A log of no entries has the size 0 and the root of the empty tree."""
        text = Checkpoint(ORIGIN, 0, EMPTY_ROOT).text()
        self.assertEqual(text, f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
        self.assertEqual(parse_checkpoint(text).root, EMPTY_ROOT)


class Refusals(SynchronousTestCase):
    """What is malformed or not signed as it has to be raises NoteError."""

    def test_malformed_checkpoints(self) -> None:
        """A text that differs from the form is refused with the reason."""
        origin, size, root, _ = SPEC_TEXT.split("\n")
        for text, why in (
            ("", "newline"),
            ("\n", "an origin, a size and a root"),
            (f"{origin}\n{size}\n", "an origin, a size and a root"),
            (f"{origin}\n{size}\n{root}", "newline"),
            (f"\n{size}\n{root}\n", "empty"),
            (f"{origin}\n{size}\n{root}\n\n", "empty"),
            (f"{origin}\n{size}\n{root}\n\nmore\n", "empty"),
            (f"{origin}\n0{size}\n{root}\n", "decimal"),
            (f"{origin}\n00\n{root}\n", "decimal"),
            (f"{origin}\n-1\n{root}\n", "decimal"),
            (f"{origin}\n+1\n{root}\n", "decimal"),
            (f"{origin}\n 1\n{root}\n", "decimal"),
            (f"{origin}\n1_0\n{root}\n", "decimal"),
            (f"{origin}\n\u0661\n{root}\n", "decimal"),
            (f"{origin}\n\n{root}\n", "decimal"),
            (f"{origin}\n{limits.TREE_SIZE_MAX + 1}\n{root}\n", "exceeds"),
            (f"{origin}\n{'9' * 5000}\n{root}\n", "exceeds"),
            (f"{origin}\n{size}\n{root[:-1]}\n", "base64"),
            (f"{origin}\n{size}\n{root[:-2]}J=\n", "as it is written"),
            (f"{origin}\n{size}\n{root[4:]}\n", "32 bytes, not 29"),
            (f"{origin}\n{size}\n{root}\nmo\tre\n", "control"),
            (f"{'o' * (limits.ORIGIN_BYTES_MAX + 1)}\n{size}\n{root}\n", "origin exceeds"),
        ):
            with self.assertRaises(NoteError) as caught:
                parse_checkpoint(text)
            self.assertIn(why, str(caught.exception), text[:80])
        most = f"{'o' * limits.ORIGIN_BYTES_MAX}\n{limits.TREE_SIZE_MAX}\n{root}\n"
        self.assertEqual(parse_checkpoint(most).text(), most)

    def test_what_cannot_be_written(self) -> None:
        """No checkpoint can be made that could not be read."""
        for origin, size, root, extensions in (
            ("", 1, bytes(32), ()),
            ("a\nb", 1, bytes(32), ()),
            ("a\ud800", 1, bytes(32), ()),
            ("a", -1, bytes(32), ()),
            ("a", limits.TREE_SIZE_MAX + 1, bytes(32), ()),
            ("a", 1, bytes(31), ()),
            ("a", 1, bytes(32), ("",)),
            ("a", 1, bytes(32), ("one\n\ntwo",)),
        ):
            with self.assertRaises(NoteError, msg=(origin, size, extensions)):
                Checkpoint(origin, size, root, extensions)

    def test_times(self) -> None:
        """A cosignature is 72 bytes long and its time below two to the power of 63."""
        last = limits.COSIGNATURE_TIMESTAMP_MAX
        self.assertEqual(cosigned_at(cosign(SPEC_TEXT, ONE, last, ONE_SIGN)), last)
        for time in (-1, last + 1):
            with self.assertRaisesRegex(NoteError, "time"):
                cosign(SPEC_TEXT, ONE, time, ONE_SIGN)
        with self.assertRaisesRegex(NoteError, "time"):
            cosigned_at(Signature("w", bytes(4), b"\x80" + bytes(71)))
        for length in (64, 71, 73):
            with self.assertRaisesRegex(NoteError, "length"):
                cosigned_at(Signature("w", bytes(4), bytes(length)))

    def test_who_may_sign_what(self) -> None:
        """A log signs its own checkpoints, a witness only cosigns."""
        other, other_sign = log_key("example.org/other", b"\x01" * 32)
        with self.assertRaisesRegex(NoteError, "does not sign checkpoints"):
            sign_checkpoint(POINT, other, other_sign)
        with self.assertRaisesRegex(NoteError, "do not cosign"):
            cosign(SPEC_TEXT, LOG, 1, LOG_SIGN)
        with self.assertRaisesRegex(NoteError, "an origin, a size and a root"):
            cosign("no checkpoint\n", ONE, 1, ONE_SIGN)
        with self.assertRaisesRegex(NoteError, "do not cosign"):
            check_cosignatures(cosigned(), [LOG], verify)

    def test_what_is_not_worth_trust(self) -> None:
        """A verifier cannot be told to trust what proves nothing."""
        twin, _ = witness_key("twin.example", b"\x02" * 32)
        with self.assertRaisesRegex(NoteError, "one key"):
            Trust(ORIGIN, (LOG,), (ONE, twin), 1)
        for quorum in (-1, 2):
            with self.assertRaisesRegex(NoteError, "cannot sign"):
                Trust(ORIGIN, (LOG,), (ONE,), quorum)
        with self.assertRaisesRegex(NoteError, "a log signs"):
            Trust(ORIGIN, (ONE,))
        with self.assertRaisesRegex(NoteError, "a witness signs"):
            Trust(ORIGIN, (LOG,), (LOG,))


class Checks(SynchronousTestCase):
    """What a verifier with a quorum of witnesses accepts."""

    def test_signed_and_cosigned(self) -> None:
        """A checkpoint that all have signed says who they are, and when they did."""
        verified = check_checkpoint(parse_note(cosigned().encode()), TRUST, verify)
        self.assertEqual(verified.checkpoint, POINT)
        self.assertEqual(verified.signers, (LOG,))
        self.assertEqual(verified.cosigners, {ONE: 1_800_000_000, TWO: 1_800_000_001})

    def test_the_log_must_have_signed(self) -> None:
        """Witnesses alone are not enough; a log may sign with two keys at once."""
        witnessed = Note(POINT.text(), cosigned().signatures[1:])
        with self.assertRaisesRegex(NoteError, "no known key"):
            check_checkpoint(witnessed, TRUST, verify)
        new_key, sign = log_key(ORIGIN, b"\x09" * 32)
        rotated = sign_checkpoint(POINT, new_key, sign).signed_by(*cosigned().signatures)
        self.assertEqual(check_checkpoint(rotated, TRUST, verify).signers, (LOG,))

    def test_another_log(self) -> None:
        """The key of one log does not vouch for the checkpoints of another."""
        with self.assertRaisesRegex(NoteError, "not of example.org/other"):
            check_checkpoint(cosigned(), Trust("example.org/other", (LOG,)), verify)

    def test_too_few_witnesses(self) -> None:
        """A witness that signs twice is one witness, and its latest time counts."""
        note = Note(POINT.text(), cosigned().signatures[:2])
        with self.assertRaisesRegex(NoteError, "1 known witnesses cosigned, 2 are wanted"):
            check_checkpoint(note, TRUST, verify)
        twice = Note(note.text, (*note.signatures, cosign(note.text, ONE, 1_900_000_000, ONE_SIGN)))
        with self.assertRaisesRegex(NoteError, "1 known witnesses cosigned, 2 are wanted"):
            check_checkpoint(twice, TRUST, verify)
        for lines in (twice.signatures, twice.signatures[::-1]):
            times = check_cosignatures(Note(note.text, lines), [ONE], verify)
            self.assertEqual(times, {ONE: 1_900_000_000})

    def test_a_newer_cosignature_takes_the_place_of_the_older(self) -> None:
        """A note does not grow with every visit of a witness."""
        newer = cosigned().signed_by(cosign(POINT.text(), ONE, 1_900_000_000, ONE_SIGN))
        self.assertEqual(len(newer.signatures), 3)
        times = check_checkpoint(newer, TRUST, verify).cosigners
        self.assertEqual(times, {ONE: 1_900_000_000, TWO: 1_800_000_001})

    def test_time_and_extensions_are_signed(self) -> None:
        """A cosignature holds for one time and for the whole text."""
        signature = cosign(POINT.text(), ONE, 5, ONE_SIGN)
        later = Signature(ONE.name, ONE.id, (6).to_bytes(8, "big") + signature.value[8:])
        with self.assertRaisesRegex(NoteError, "one.example does not hold"):
            check_cosignatures(Note(POINT.text(), (later,)), [ONE], verify)
        with self.assertRaisesRegex(NoteError, "one.example does not hold"):
            check_cosignatures(Note(POINT.text() + "more\n", (signature,)), [ONE], verify)

    def test_a_signature_of_the_text_is_no_cosignature(self) -> None:
        """What was signed without a time cannot be passed off as seen."""
        plain = Signature(ONE.name, ONE.id, bytes(8) + ONE_SIGN(POINT.text().encode()))
        with self.assertRaisesRegex(NoteError, "one.example does not hold"):
            check_cosignatures(Note(POINT.text(), (plain,)), [ONE], verify)

    def test_every_flipped_byte_and_every_cut_is_refused(self) -> None:
        """With all witnesses wanted, no byte of a cosigned checkpoint can differ."""
        raw = cosigned().encode()
        damaged = [raw[:end] for end in range(len(raw))]
        for place, byte in enumerate(raw):
            for mask in (0x01, 0x20, 0xFF):
                damaged.append(raw[:place] + bytes((byte ^ mask,)) + raw[place + 1 :])
        for bad in damaged:
            with self.assertRaises(NoteError, msg=bad):
                check_checkpoint(parse_note(bad), TRUST, verify)


class RoundTrips(SynchronousTestCase):
    """Whatever can be said is read back as it was written."""

    @settings(deadline=None)
    @given(CHECKPOINTS)
    def test_checkpoints(self, checkpoint: Checkpoint) -> None:
        """A checkpoint reads as what was written."""
        self.assertEqual(parse_checkpoint(checkpoint.text()), checkpoint)

    @settings(deadline=None)
    @given(CHECKPOINTS, st.integers(0, limits.COSIGNATURE_TIMESTAMP_MAX))
    def test_cosignatures(self, checkpoint: Checkpoint, time: int) -> None:
        """A cosignature holds for any checkpoint at any time."""
        signature = cosign(checkpoint.text(), ONE, time, ONE_SIGN)
        self.assertEqual(cosigned_at(signature), time)
        note = parse_note(Note(checkpoint.text(), (signature,)).encode())
        self.assertEqual(check_cosignatures(note, [ONE, TWO], verify), {ONE: time})
