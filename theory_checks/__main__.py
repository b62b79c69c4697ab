"""``python -m theory_checks``."""

from theory_checks.cli import main

if __name__ == "__main__":
    main(prog_name="python -m theory_checks")
