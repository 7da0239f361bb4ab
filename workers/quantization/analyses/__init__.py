"""What quantization does within a trained model (quantization study, section 7.3), one analysis a module.

Each is a function `(subject, recipe) -> Findings`, named in `registry`.
"""
