"""Merging of aligned models: the formulas, the parents as dense tensors, and the rebuilt model."""
