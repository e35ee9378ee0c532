"""``dbx tenant``."""
