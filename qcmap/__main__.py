"""``python -m qcmap`` is the command ``qcmap``."""

from qcmap.cli import main

if __name__ == "__main__":
    main()
