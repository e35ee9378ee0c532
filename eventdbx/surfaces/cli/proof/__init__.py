"""``dbx proof`` and ``dbx audit``: proofs, bundles of evidence, and their check."""
