"""Benchmarks: what the stage kind `evaluate` measures, and the language model that it measures on."""
