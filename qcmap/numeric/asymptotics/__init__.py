"""Behaviour with depth and width: fixed points, classes, convergence, depth scales; errors at finite width."""
