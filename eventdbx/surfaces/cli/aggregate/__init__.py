"""``dbx aggregate``."""
