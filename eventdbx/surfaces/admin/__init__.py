"""The Admin API: what operators automate over HTTP, on the operations that the server has."""
