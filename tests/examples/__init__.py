"""Every example of every help page, run as it stands there."""
