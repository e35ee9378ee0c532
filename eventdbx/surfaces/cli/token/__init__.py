"""``dbx token``."""
