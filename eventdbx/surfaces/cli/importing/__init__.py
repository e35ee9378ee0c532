"""``dbx import``."""
