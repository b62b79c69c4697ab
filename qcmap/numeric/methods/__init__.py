"""Other initialisations and their comparison: edge of chaos, self-normalizing, LeCun, Glorot, He."""
