"""Erasure: what is gone, what stays, and that nothing brings it back."""
