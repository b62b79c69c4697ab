"""`qcmap.nn.shape` on random torch models: each is shaped, with measured values right, or refused with a QCMapError.

    python benchmarks/fuzz_shape.py [count]

runs ``count`` models (300) and prints how many were shaped and what the others were refused with; it stops with a
traceback at anything else.
"""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.nn.shaping.fuzz import outcome

if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(dict(Counter(map(outcome, range(count))).most_common()))
