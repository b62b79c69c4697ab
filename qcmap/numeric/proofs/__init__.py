"""Certificates in ball arithmetic (python-flint): constants, counts of solutions, maps, inverse slopes."""
