"""``dbx shell``."""
