"""The published tables, figures and findings of the studies that ship with Yates, made again from a store.

Each study has a package of its own here; what they share stands beside them. Published figures are facts of the
papers and lie in `results/published`.
"""

STUDIES = {name: f"results.studies.{name}.study" for name in ("alignment", "quantization", "rlhf")}
"""The studies whose tables, figures and findings can be had, and the module of each."""
