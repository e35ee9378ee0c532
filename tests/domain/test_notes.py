"""Signed notes, held against what the standard and another implementation publish."""

from __future__ import annotations

from base64 import b64decode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.notes import (
    COSIGNATURE,
    Note,
    NoteError,
    NoteKey,
    Signature,
    check_note,
    parse_note,
    parse_signatures,
    parse_vkey,
    sign_note,
)
from tests.domain.signers import log_key, verify, witness_key

# The example of C2SP signed-note.
SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONn"
    "cAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
# Another one of its examples, whose text has an empty line in it.
POEM = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU"
    "0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
).encode()
# The keys and the note that golang.org/x/mod/sumdb/note publishes.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ANSWER = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6"
    "KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WW"
    "d1RvMc+QQ=\n"
)

NAMES = st.text(
    st.characters(codec="utf-8", min_codepoint=32, exclude_characters="+" + WHITE_SPACE),
    min_size=1,
    max_size=40,
)
TEXTS = st.text(st.characters(codec="utf-8", min_codepoint=32)).map(
    lambda text: text.replace("!", "\n") + "\n"
)
SIGNATURES = st.builds(
    Signature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)
NOTES = st.builds(Note, TEXTS, st.lists(SIGNATURES, min_size=1, max_size=4).map(tuple))


class Vectors(SynchronousTestCase):
    """What others have published reads, verifies and is written as they wrote it."""

    def test_example_of_the_standard(self) -> None:
        """The key and the note of the standard read, verify and are written back."""
        key = parse_vkey(SPEC_VKEY)
        self.assertEqual((key.name, key.id.hex()), ("example.com/foo", "530d903a"))
        self.assertEqual(key.vkey(), SPEC_VKEY)
        note = parse_note(SPEC_NOTE)
        self.assertEqual(note.text, "This is an example message.\n")
        self.assertEqual(check_note(note, [key], verify), (key,))
        self.assertEqual(note.encode(), SPEC_NOTE)

    def test_the_last_empty_line_ends_the_text(self) -> None:
        """A text may have empty lines in it: the last one ends it."""
        note = parse_note(POEM)
        self.assertEqual(note.text, POEM.decode().rpartition("\n\n")[0] + "\n")
        self.assertEqual(len(note.text.split("\n")), 5)
        self.assertEqual([line.name for line in note.signatures], ["quasimodo.example/salvatore"])
        self.assertEqual(note.encode(), POEM)

    def test_signing_gives_the_published_bytes(self) -> None:
        """A key that another implementation publishes signs as it does there."""
        key, sign = log_key("PeterNeumann", PETER_SECRET)
        self.assertEqual(key.vkey(), PETER)
        note = sign_note(ANSWER, key, sign)
        self.assertEqual(note.encode().decode(), f"{ANSWER}\n{PETER_LINE}")

    def test_two_who_signed(self) -> None:
        """Only the keys that are known count, and a signature can be added later."""
        peter, enoch = parse_vkey(PETER), parse_vkey(ENOCH)
        note = parse_note(f"{ANSWER}\n{PETER_LINE}{ENOCH_LINE}".encode())
        self.assertEqual(check_note(note, [enoch, peter], verify), (peter, enoch))
        self.assertEqual(check_note(note, [enoch], verify), (enoch,))
        (line,) = parse_signatures(ENOCH_LINE.encode())
        alone = parse_note(f"{ANSWER}\n{PETER_LINE}".encode())
        self.assertEqual(alone.signed_by(line), note)


class Refusals(SynchronousTestCase):
    """What is malformed or does not hold raises NoteError and nothing else."""

    def refused(self, raw: bytes | str, why: str) -> None:
        with self.assertRaises(NoteError) as caught:
            parse_note(raw if isinstance(raw, bytes) else raw.encode())
        self.assertIn(why, str(caught.exception))

    def test_malformed_notes(self) -> None:
        """A note that differs from its form in anything is refused with the reason."""
        self.refused("", "blank line")
        self.refused(ANSWER, "blank line")
        self.refused(f"{ANSWER}{PETER_LINE}", "blank line")
        self.refused(f"\n{PETER_LINE}", "blank line")
        self.refused(f"{ANSWER}\n", "last line")
        self.refused(f"{ANSWER}\n{PETER_LINE}"[:-1], "last line")
        self.refused(f"{ANSWER}\n{PETER_LINE}\n", "last line")
        self.refused(f"{ANSWER}\n{PETER_LINE}more\n", "reads")
        self.refused(f"{ANSWER}\n{PETER_LINE.replace('—', '-')}", "reads")
        self.refused(f"{ANSWER}\n— PeterNeumann\n", "reads")
        self.refused(f"{ANSWER}\n{PETER_LINE.replace('PeterNeumann', '')}", "name of a key")
        self.refused(f"{ANSWER}\n{PETER_LINE.replace('Neu', '+')}", "name of a key")
        self.refused(f"{ANSWER}\n{PETER_LINE.replace('rN', 'r' + chr(0xA0))}", "name of a key")
        self.refused(f"{ANSWER}\n{PETER_LINE.replace('=', '')}", "base64")
        self.refused(f"{ANSWER}\n{PETER_LINE.replace('AM=', 'AN=')}", "as it is written")
        self.refused(f"{ANSWER}\n{PETER_LINE.replace('x08', 'x0_')}", "base64")
        self.refused(f"{ANSWER}\n— PeterNeumann x08gow==\n", "at least one more")
        self.refused(f"{ANSWER}\r\n\n{PETER_LINE}", "control")
        self.refused(f"{ANSWER}\t\n\n{PETER_LINE}", "control")
        self.refused(f"{ANSWER}\n{PETER_LINE}".encode() + b"\xff\n", "UTF-8")

    def test_bounds(self) -> None:
        """What the standard says must be taken is taken; past our own bounds nothing is."""
        big = Signature("pq.example", bytes(4), bytes(5_000))
        sixteen = Note(ANSWER, (big,) * 16)
        self.assertEqual(parse_note(sixteen.encode()), sixteen)
        most = f"{ANSWER}\n" + PETER_LINE * limits.NOTE_SIGNATURES_MAX
        self.assertEqual(len(parse_note(most.encode()).signatures), limits.NOTE_SIGNATURES_MAX)
        self.refused(most + PETER_LINE, "at most")
        room = limits.NOTE_BYTES_MAX - len(f"\n\n{PETER_LINE}".encode())
        self.assertEqual(len(parse_note(f"{'x' * room}\n\n{PETER_LINE}".encode()).text), room + 1)
        self.refused(f"{'x' * (room + 1)}\n\n{PETER_LINE}", "exceeds")
        with self.assertRaises(NoteError):
            Note(f"{'x' * (room + 1)}\n", parse_signatures(PETER_LINE.encode()))
        with self.assertRaises(NoteError):
            Note(ANSWER, parse_signatures(PETER_LINE.encode()) * (limits.NOTE_SIGNATURES_MAX + 1))

    def test_what_cannot_be_written(self) -> None:
        """No note can be made that could not be read."""
        lines = parse_signatures(PETER_LINE.encode())
        for text in ("", "no newline", "a\rb\n", "\ud800\n"):
            with self.assertRaises(NoteError):
                Note(text, lines)
        with self.assertRaises(NoteError):
            Note(ANSWER, ())
        for name in ("", "a b", "a+b", "a\nb", "a\u2003b", "\ud800"):
            with self.assertRaises(NoteError):
                Signature(name, bytes(4), b"x")
        for key_id, value in ((b"123", b"x"), (b"12345", b"x"), (b"1234", b"")):
            with self.assertRaises(NoteError):
                Signature("name", key_id, value)

    def test_malformed_keys(self) -> None:
        """The text of a key says three things that fit each other, or it is refused."""
        name, key_id, material = PETER.split("+", 2)
        for text, why in (
            ("", "reads"),
            (f"{name}+{key_id}", "reads"),
            (f"+{key_id}+{material}", "name of a key"),
            (f"a b+{key_id}+{material}", "name of a key"),
            (f"{name}+{key_id.upper()}+{material}", "hexadecimal"),
            (f"{name}+{key_id[:-1]}+{material}", "hexadecimal"),
            (f"{name}+c74f20a4+{material}", "c74f20a3"),
            (f"Peter+{key_id}+{material}", "the id of the key is"),
            (f"{name}+{key_id}+", "no type"),
            (f"{name}+{key_id}+{material[:-4]}", "32 bytes, not 29"),
            (f"{name}+{key_id}+{material}=", "base64"),
            (f"{name}+{key_id}+BB{material[2:]}", "the id of the key is"),
            (f"{name}+{key_id}+C{material[1:]}", "type 0x09"),
            ("x" * (limits.VKEY_CHARACTERS_MAX + 1), "exceeds"),
        ):
            with self.assertRaises(NoteError) as caught:
                parse_vkey(text)
            self.assertIn(why, str(caught.exception), text)
        NoteKey("n" * limits.KEY_NAME_BYTES_MAX, bytes(32))
        with self.assertRaises(NoteError):
            NoteKey("n" * (limits.KEY_NAME_BYTES_MAX + 1), bytes(32))

    def test_signatures_that_do_not_hold(self) -> None:
        """A line in a known name must hold; one line of a known key there must be."""
        peter, enoch = parse_vkey(PETER), parse_vkey(ENOCH)
        note = parse_note(f"{ANSWER}\n{PETER_LINE}".encode())
        with self.assertRaisesRegex(NoteError, "no known key"):
            check_note(note, [enoch], verify)
        with self.assertRaisesRegex(NoteError, "no known key"):
            check_note(note, [], verify)
        changed = Note(note.text.replace("know", "Know"), note.signatures)
        with self.assertRaisesRegex(NoteError, "PeterNeumann does not hold"):
            check_note(changed, [peter], verify)
        forged = note.signed_by(Signature(enoch.name, enoch.id, bytes(64)))
        self.assertEqual(check_note(forged, [peter], verify), (peter,))
        with self.assertRaisesRegex(NoteError, "EnochRoot does not hold"):
            check_note(forged, [peter, enoch], verify)
        longer = Note(note.text, (Signature(peter.name, peter.id, bytes(65)),))
        with self.assertRaisesRegex(NoteError, "does not hold"):
            check_note(longer, [peter], verify)

    def test_name_and_id_together_make_a_key(self) -> None:
        """Who shares only the name, or only the id, with a known key is a stranger."""
        peter = parse_vkey(PETER)
        (line,) = parse_signatures(PETER_LINE.encode())
        for stranger in (
            Signature("Peter", line.key_id, bytes(64)),
            Signature(line.name, bytes(4), bytes(64)),
        ):
            self.assertEqual(check_note(Note(ANSWER, (stranger, line)), [peter], verify), (peter,))
            with self.assertRaisesRegex(NoteError, "no known key"):
                check_note(Note(ANSWER, (stranger,)), [peter], verify)

    def test_lines_that_stand_there_again(self) -> None:
        """A line that is repeated costs one verification."""
        key, sign = log_key("example.org/log", b"\x01" * 32)
        note = sign_note("a text\n", key, sign)
        flood = Note(note.text, note.signatures * limits.NOTE_SIGNATURES_MAX)
        verified: list[bytes] = []

        def counted(public: bytes, signature: bytes, message: bytes) -> bool:
            verified.append(signature)
            return verify(public, signature, message)

        self.assertEqual(check_note(flood, [key], counted), (key,))
        self.assertEqual(len(verified), 1)

    def test_keys_that_cannot_be_told_apart(self) -> None:
        """Two keys of one name and id are no set to verify with; one key may be named twice."""
        first, second = (NoteKey("x", number.to_bytes(32, "big")) for number in (17346, 75898))
        self.assertEqual((first.id.hex(), second.id.hex()), ("6170f12a", "6170f12a"))
        note = Note(ANSWER, (Signature("x", first.id, bytes(64)),))
        with self.assertRaisesRegex(NoteError, "two keys of x have the id 6170f12a"):
            check_note(note, [first, second], verify)
        peter = parse_vkey(PETER)
        signed = parse_note(f"{ANSWER}\n{PETER_LINE}".encode())
        self.assertEqual(check_note(signed, [peter, parse_vkey(PETER)], verify), (peter,))

    def test_keys_for_something_else(self) -> None:
        """A key of a witness signs no texts, and has another id than the log's."""
        key, sign = witness_key("w.example", bytes(32))
        with self.assertRaisesRegex(NoteError, "do not sign"):
            sign_note(ANSWER, key, sign)
        signature = Signature(key.name, key.id, sign(ANSWER.encode()))
        with self.assertRaisesRegex(NoteError, "do not sign"):
            check_note(Note(ANSWER, (signature,)), [key], verify)
        plain, _ = log_key("w.example", bytes(32))
        self.assertNotEqual(plain.id, key.id)
        with self.assertRaisesRegex(NoteError, "64 bytes, not 63"):
            sign_note(ANSWER, plain, lambda message: bytes(63))


class RoundTrips(SynchronousTestCase):
    """Whatever can be said is read back as it was written, and only so."""

    @settings(deadline=None)
    @given(NOTES)
    def test_notes(self, note: Note) -> None:
        """A note reads as what was written."""
        self.assertEqual(parse_note(note.encode()), note)
        lines = "".join(signature.line() for signature in note.signatures)
        self.assertEqual(parse_signatures(lines.encode()), note.signatures)

    @settings(deadline=None)
    @given(NAMES, st.binary(min_size=32, max_size=32), st.sampled_from((1, COSIGNATURE)))
    def test_keys(self, name: str, public: bytes, kind: int) -> None:
        """A key reads as what was written."""
        key = NoteKey(name, public, kind)
        self.assertEqual(parse_vkey(key.vkey()), key)

    @settings(deadline=None)
    @given(st.binary(max_size=200) | TEXTS.map(str.encode))
    def test_what_is_read_is_written_the_same(self, raw: bytes) -> None:
        """There is one way to write a note: bytes that are read come back."""
        for candidate in (raw, raw + b"\n\n" + PETER_LINE.encode()):
            try:
                note = parse_note(candidate)
            except NoteError:
                continue
            self.assertEqual(note.encode(), candidate)

    def test_every_flipped_bit_and_every_cut_is_refused(self) -> None:
        """No bit of a signed note can differ, and nothing can be missing."""
        key = parse_vkey(SPEC_VKEY)
        damaged = [SPEC_NOTE[:end] for end in range(len(SPEC_NOTE))]
        for place, byte in enumerate(SPEC_NOTE):
            for bit in range(8):
                flipped = bytes((byte ^ 1 << bit,))
                damaged.append(SPEC_NOTE[:place] + flipped + SPEC_NOTE[place + 1 :])
        for raw in damaged:
            with self.assertRaises(NoteError, msg=raw):
                check_note(parse_note(raw), [key], verify)
