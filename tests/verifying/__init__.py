"""The offline verifier and what it is handed, each held against the other."""
