"""Gated deep linear networks in numbers: decoupling, full and reduced flows, observations.

`qcmap.gated` has the names (docs/gated.md).
"""
