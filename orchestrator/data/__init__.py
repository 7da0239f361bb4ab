"""The data of a grid before it runs: what it needs, where that lies, what a model will see of it."""
