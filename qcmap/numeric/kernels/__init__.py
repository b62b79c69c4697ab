"""Tangent kernels: pairs, Gram matrices, gradient descent, limits."""
