"""What it costs to verify the proof of one event among many, with nothing but the verifier.

``python -m bench.proofs --entries 1048576`` makes a log of so many entries in memory, and proofs of
some of its events under a checkpoint with two cosignatures. It prints the size of the files, the
processor time of the verifier for one of them, with the event that is compared, and that of a whole
process, beside one that imports the same modules and does nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.machine import description
from eventdbx import verify
from eventdbx.application.checkpoint_keys import Signer
from eventdbx.domain.checkpoints import Checkpoint, cosign, sign_checkpoint
from eventdbx.domain.events import Actor, Event, commitment, event_document, leaf_data
from eventdbx.domain.merkle import leaf_hash, node_hash
from eventdbx.domain.proofs import Nodes, inclusion_proof, tree_root
from eventdbx.domain.tlogproofs import TlogProof

PROOFS = 300
PROCESSES = 20
BEGUN = 1_800_000_000_000_000_000
IDLE = "import argparse, bisect, json, re, struct; " \
       "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey"  # fmt: skip


def log_of(entries: int) -> list[list[bytes]]:
    """Return the complete subtrees of a log, level by level; its leaves are any hashes."""
    levels = [[sha256(number.to_bytes(8, "big")).digest() for number in range(entries)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = zip(below[::2], below[1::2], strict=False)
        levels.append([node_hash(left, right) for left, right in pairs])
    return levels


def event_at(index: int) -> Event:
    """Return an event with some payload."""
    salt, payload = sha256(b"%d" % index).digest()[:16], b'{"amount":%d,"to":"Zo\xc3\xab"}' % index
    names = ("order", f"o-{index % 1000}", "order_changed")
    actor, version = Actor("ops", "alice"), index // 1000 + 1
    committed = commitment(salt, payload, None, None)
    leaf = leaf_data(*names, None, index, BEGUN + index, actor, version, committed, None)
    hashed = leaf_hash(leaf)
    return Event(*names, None, payload, None, index, BEGUN + index, actor, None, version, salt,
                 hashed, hashed, leaf)  # fmt: skip


def files(entries: int, count: int) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """Return proofs with their events, and the arguments that name the keys."""
    chosen = sorted(random.Random(7).sample(range(entries), min(count, entries)))
    levels = log_of(entries)
    changed = {index: event_at(index) for index in chosen}
    for index, event in changed.items():
        levels[0][index] = event.hash
    for level in range(1, len(levels)):
        for index in {one >> level for one in chosen if one >> level < len(levels[level])}:
            pair = levels[level - 1][2 * index], levels[level - 1][2 * index + 1]
            levels[level][index] = node_hash(*pair)
    nodes: Nodes = lambda level, index: levels[level][index]  # noqa: E731
    log, one, two = (Signer(name, sha256(name.encode()).digest()) for name in ("log", "a", "b"))
    key = log.log_key("default")
    note = sign_checkpoint(Checkpoint(key.name, entries, tree_root(nodes, entries)), key, log.sign)
    for witness in (one, two):
        line = cosign(note.text, witness.witness_key, 1_800_000_000, witness.sign_as_witness)
        note = note.signed_by(line)
    words = ["--key", key.vkey()]
    for witness in (one, two):
        words += ["--witness", witness.witness_key.vkey()]
    made = []
    for index, event in changed.items():
        path = tuple(inclusion_proof(nodes, index, entries))
        proof = TlogProof(index, path, note, b"\x01" + event.salt + event.leaf)
        made.append((proof.encode(), event_document(event)))
    return made, words


def spent_ms(made: list[tuple[bytes, bytes]], words: list[str]) -> list[float]:
    """Return the processor time of the verification of each proof, in this process."""
    keys = [verify.parse_key(words[1], verify.LOG_KEY)]
    known = [verify.parse_key(text, verify.WITNESS_KEY) for text in words[3::2]]
    trust = verify.Trust(keys, known, len(known))
    spent = []
    for raw, event in made:
        began = time.process_time()
        verify.check(io.BytesIO(raw), verify.Asked(trust, event, lambda _said: None))
        spent.append((time.process_time() - began) * 1000)
    return spent


def process_ms(*arguments: str) -> float:
    """Return the processor time of a process of Python, as a median."""
    spent = []
    for _ in range(PROCESSES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-I", *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        spent.append((user + system) * 1000)
    return statistics.median(spent)


def measured(entries: int) -> dict[str, Any]:
    """Return all figures."""
    made, words = files(entries, PROOFS)
    spent = spent_ms(made, words)
    with TemporaryDirectory() as folder:
        proof, event = Path(folder) / "event.tlog-proof", Path(folder) / "event.json"
        proof.write_bytes(made[0][0])
        event.write_bytes(made[0][1])
        whole = process_ms(verify.__file__, str(proof), *words, "--event", str(event))
    return {
        "machine": description(),
        "entries": entries,
        "proof_bytes_max": max(len(raw) for raw, _ in made),
        "verify_ms_median": round(statistics.median(spent), 3),
        "verify_ms_p99": round(sorted(spent)[len(spent) * 99 // 100], 3),
        "process_ms": round(whole, 1),
        "idle_process_ms": round(process_ms("-c", IDLE), 1),
    }


def main() -> None:
    """Print the figures as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--entries", type=int, default=1 << 20)
    print(json.dumps(measured(options.parse_args().entries), indent=2))


if __name__ == "__main__":
    main()
