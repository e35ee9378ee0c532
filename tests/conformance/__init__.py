"""What every validator of schemas must decide, as tables; and the tests that hold ours to them.

The tables are data: a schema, a payload, and the message of the refusal or None. ``case`` says how
to read them.
"""
