"""Gated deep linear networks: graph, contexts, moments, and the walk over what gates leave open.

`qcmap.gated` has the names (docs/gated.md).
"""
