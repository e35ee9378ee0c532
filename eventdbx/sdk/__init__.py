"""What plugins written in Python are made of; ``eventdbx.plugin`` is its public name.

Runs in the plugin's process, not in the server's: no Twisted, and nothing that is slow to import.
"""
