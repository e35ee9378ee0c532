"""Trials of the whole program: a real process, real sockets, real kills."""
