"""``dbx upgrade``."""
