"""Torch reference models, each with the architecture graph that describes it."""

from models.mlp import MLP

__all__ = ["MLP"]
