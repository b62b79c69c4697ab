"""The table of experiments, by name."""

from __future__ import annotations

from collections.abc import Mapping

from examples.experiment import Experiment
from examples.neural_race.race import SCHEMES, TRANSFER
from examples.neural_race.routing import ROUTING
from examples.neural_race.scale import SCALE
from examples.neural_race.transfer import GAINS, LEAKY, SHARES
from examples.neural_race.xor import XOR

EXPERIMENTS: Mapping[str, Experiment] = {
    row.name: row for row in (XOR, ROUTING, SCHEMES, TRANSFER, SCALE, SHARES, LEAKY, GAINS)
}
