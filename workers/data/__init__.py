"""Data: rows of the studied sets, the literal text around them, and the ids that a model really sees."""
