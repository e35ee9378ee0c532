"""How committed events reach plugins: entries, what is sent, in which order, and what failed.

Values and rules only; reading the log is in ``application``, sending in ``plugins``.
"""
