"""Measurements and trials of the whole program; nothing here is part of the product."""
