"""Gated deep linear networks: gradient flow, lumping, first integrals and scalar equations in sympy.

`qcmap.gated` has the names (docs/gated.md).
"""
