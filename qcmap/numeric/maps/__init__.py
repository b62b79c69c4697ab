"""Local and network Q and C maps: quadrature, series, interpolants, the walk over a graph."""
