"""``dbx queue``."""
