"""The experiments of *Deep Kernel Shaping* (Martens et al., 2021; DKS), part V and appendices K, M and N, as one table.

``python -m examples.dks_experiments 28.2`` writes ``28.2.json`` and ``28.2.png``; docs/experiments.md shows what came
out.
"""
