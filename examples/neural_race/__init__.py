"""The figures of *The Neural Race Reduction* (Saxe, Sodhani, Lewallen, 2022; NRR) with their numbers and verdicts.

``python -m examples.neural_race fig3`` writes ``fig3.json`` and ``fig3.png``; docs/neural_race.md shows what came out.
"""
