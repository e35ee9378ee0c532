"""The health and metrics port (7070): no decisions, no tokens but one."""
