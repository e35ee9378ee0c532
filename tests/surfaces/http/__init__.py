"""The health and metrics port."""
