"""What is secret stays where it belongs: not in logs, not in errors, not on command lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import orjson

from eventdbx.errors import EventDBXError
from tests.permissions.place import running_place
from tests.permissions.rules import EXPIRED, FORGED, HOLDERS, READER, REVOKED, ROOT, STRANGER
from tests.permissions.test_admin import AdminCase

MAY_HOLD = ("cli.token", "config.toml")
"""Files of an installation that hold secrets as they are, readable by their owner alone."""

PIECE = 16
"""So many characters of a secret in a row are a leak."""


class Secrets(AdminCase):
    """Tokens, and the keys that sign and seal."""

    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        self.place = running_place()

    def secrets(self) -> dict[str, bytes]:
        """Return what must not be found: signatures, for the rest of a token can be known."""
        auth = self.place.opened.config.auth
        config = self.place.opened.config
        # Behind the seed of the private key comes the public key, which is no secret.
        seed = (auth.private_key or "")[22:64]
        found = {"private key": seed, "data key": config.data_encryption_key}
        for holder in HOLDERS:
            found[holder.name] = self.place.tokens[holder].rpartition(".")[2]
        found["operator"] = self.place.workspace.token.rpartition(".")[2]
        return {name: text.encode() for name, text in found.items() if text}

    def leaks(self, where: str, content: bytes) -> Iterator[str]:
        """Yield which secrets are in a text."""
        for name, secret in self.secrets().items():
            pieces = (secret[at : at + PIECE] for at in range(0, len(secret) - PIECE, PIECE))
            if any(piece in content for piece in pieces):
                yield f"{where} holds the {name}"

    def provoked(self) -> Iterator[tuple[str, bytes]]:
        """Use tokens in all the wrong places; yield what was done, and what was answered."""
        for holder in (FORGED, EXPIRED, REVOKED, STRANGER, READER, ROOT):
            token = self.place.tokens[holder]
            for shown in (token, token[:-4], f"{token}x"):
                yield from self.over_http(shown)
            for line in (
                ("token", "show", f"{token}y"),
                ("token", "refresh", "--token", token[:-4]),
                ("aggregate", "get", "order", token, "--token", token),
            ):
                done = self.place.workspace.attempt(*line)
                yield " ".join(line[:2]), (done.stdout + done.stderr).encode()
            for do in ("change", token):
                try:
                    self.place.root.schema({"do": do, "changes": [{"do": token}]})
                except EventDBXError as error:
                    yield "a schema operation", str(error).encode()

    def over_http(self, shown: str) -> Iterator[tuple[str, bytes]]:
        """Put a text where the Admin API takes one."""
        path, root = quote(shown, safe=""), self.place.tokens[ROOT]
        for method, where, token, body in (
            ("GET", f"/admin/tokens/{path}", root, None),
            ("GET", f"/admin/tokens/{path}/none", root, None),
            ("GET", f"/admin/{path}", root, None),
            ("GET", f"/admin/plugins/{path}", root, None),
            ("POST", f"/admin/tokens/{path}/refresh", root, [shown]),
            ("POST", f"/admin/tokens/{path}/refresh", shown, {"ttl_secs": shown}),
            ("POST", f"/admin/tokens/{path[:-9]}/revoke", shown, None),
            ("POST", "/admin/tokens/revoke", shown, {"reason": shown}),
            ("POST", "/admin/tokens/refresh", root, {"token": shown, "ttl_secs": -1}),
            ("GET", f"/admin/tokens?limit={path}", shown, None),
            ("GET", f"/admin/tokens?{path}=1", shown, None),
            ("GET", f"/health?token={path}", "", None),
        ):
            yield (
                f"{method} {where}".replace(path, "TOKEN"),
                self.ask(method, where, token, body).body,
            )

    def test_nothing_leaks(self) -> None:
        """No answer, no log, no file of the store and no command line holds a token or a key."""
        found = [leak for what, said in self.provoked() for leak in self.leaks(what, said)]
        self.place.workspace.run("token", "rotate")
        found += self.leaks("the output of the server", self.place.workspace.log.encode())
        folder = self.place.workspace.folder
        read = 0
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.name in MAY_HOLD:
                continue
            read += 1
            found += self.leaks(str(path.relative_to(folder)), path.read_bytes())
        self.assertGreater(read, 3)
        found += self.leaks("its command line", self.command_line())
        self.assertEqual("\n".join(found), "")

    def command_line(self) -> bytes:
        """Return what the process list shows of the server."""
        process = Path("/proc") / str(self.place.workspace.process_id)
        return (process / "cmdline").read_bytes()

    def test_owner_alone(self) -> None:
        """Files with secrets are readable by their owner alone, however they came about."""
        folder = self.place.workspace.folder / ".dbx"
        names = {"cli.token", "config.toml", "tokens.json", "jwt_revocations.json"}
        found = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()
                 if path.name in names}  # fmt: skip
        self.assertEqual(found, dict.fromkeys(names, "0o600"))

    def test_shown_once(self) -> None:
        """A token is in the answer that issues it and in no other; private keys are in none."""
        body = {"group": "g", "user": "u", "actions": ["aggregate.read"]}
        root = self.place.tokens[ROOT]
        made = orjson.loads(self.ask("POST", "/admin/tokens", root, body).body)
        signature = made["token"].rpartition(".")[2].encode()
        for path in ("/admin/tokens", f"/admin/tokens/{made['jti']}", "/admin/audit",
                     "/admin/config", "/admin/status", "/.well-known/jwks.json"):  # fmt: skip
            told = self.ask("GET", path, root).body
            self.assertNotIn(signature, told, path)
            self.assertEqual(list(self.leaks(path, told)), [])
