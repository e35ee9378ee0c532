"""``dbx plugin``."""
