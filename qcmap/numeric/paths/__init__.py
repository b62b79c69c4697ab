"""Neural paths in numbers: kernels, features and values, tangent kernels and their moments (docs/paths.md)."""
