"""Constants of activations: Deep Kernel Shaping with its options, tailored transformations, branches of solutions."""
