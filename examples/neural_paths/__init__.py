"""Neural paths: one graph for three analyses, the variance of tangent kernels, and the experiments of both papers."""
