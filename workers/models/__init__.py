"""Models: where they come from, how they are kept warm between stages, and what is put on them."""
