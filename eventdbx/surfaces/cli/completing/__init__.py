"""``dbx completion``."""
