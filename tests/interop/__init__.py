"""Other people's clients, unmodified, against our daemon."""
