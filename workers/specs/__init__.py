"""The recipes of the built-in stage kinds: light pydantic models, one module each."""
