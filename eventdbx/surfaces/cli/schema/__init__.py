"""``dbx schema``."""
