"""The runners of the built-in stage kinds: `run(recipe, context) -> StageResult`, one module each."""
