"""From the first Cap'n Proto message of a connection to what kind of peer it is.

Hellos and command lines are told apart by the shape of their root struct alone; whether a hello
is accepted is decided elsewhere.
"""

from __future__ import annotations

from eventdbx.errors import SerializationError
from eventdbx.wire.events import CliRequestReceived, HelloReceived
from eventdbx.wire.pointers import MalformedMessage, Message, Struct


def is_hello_less(message: Message) -> bool:
    """Return whether a first message is a control request of a client that sends no hello."""
    root = message.root()
    pointer = message.root_pointer()
    return (root.words, root.pointers) == (2, 1) and pointer is not None and pointer[1] == 0


def decode_hello(message: Message, *, framed: bool) -> HelloReceived | CliRequestReceived:
    """Return what the first message of a connection is, by the shape of its root.

    Raises MalformedMessage for a shape of no known peer.
    """
    root = message.root()
    shape = root.words, root.pointers
    if shape == (0, 1):
        return CliRequestReceived(_arguments(root))
    if shape not in ((1, 1), (1, 2)):
        raise MalformedMessage("first message is neither hello nor command line")
    token, token_error = _hello_text(root, 0, "control token")
    tenant, tenant_error = _hello_text(root, 1, "control tenant id")
    word = root.word(0)
    return HelloReceived(
        word & 0xFFFF, token, token_error, tenant, tenant_error, word >> 16 & 1 != 0, framed
    )


def decode_cli_request(message: Message) -> CliRequestReceived:
    """Return one more command line. Raises MalformedMessage when it is none."""
    return CliRequestReceived(_arguments(message.root()))


def _arguments(root: Struct) -> tuple[str, ...]:
    try:
        return root.text_list(0, "args")
    except SerializationError as error:
        raise MalformedMessage(str(error)) from None


def _hello_text(root: Struct, index: int, what: str) -> tuple[str | None, str | None]:
    """Return a text of a hello or None, and why it could not be read or None."""
    try:
        return root.text(index, what), None
    except SerializationError as error:
        return None, f"invalid UTF-8 in {what}: {error.detail.partition(': ')[2]}"
    except MalformedMessage as malformed:
        return None, f"failed to read {what}: {malformed}"
