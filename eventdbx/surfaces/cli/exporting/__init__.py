"""``dbx aggregate export``."""
