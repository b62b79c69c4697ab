"""Gated deep linear networks in numbers."""
