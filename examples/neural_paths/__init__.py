"""Neural paths: one graph for slopes, path kernels and gated flow, and the variance of tangent kernels."""
