"""Simulated linear quantization during pre-training: weights, activations, gradients and optimizer states.

Everything here quantizes and dequantizes at once; products are computed in floating point. So figures of memory and
speed that this simulation promises are projected, never measured.
"""
