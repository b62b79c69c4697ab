"""The table of experiments, by name."""

from __future__ import annotations

from collections.abc import Mapping

from examples.experiment import Experiment
from examples.neural_paths.adapting import ADAPTING_GATES
from examples.neural_paths.alignment import ALIGNMENT, KERNELS
from examples.neural_paths.depth import DEPTH, LINEAR
from examples.neural_paths.memorise import MEMORISE
from examples.neural_paths.memory import MEMORY
from examples.neural_paths.soft import GATES_ONLY, TABLE4
from examples.neural_paths.stages import STAGES
from examples.neural_paths.table2 import TABLE2

EXPERIMENTS: Mapping[str, Experiment] = {
    row.name: row
    for row in (
        *TABLE2,
        STAGES,
        KERNELS,
        MEMORISE,
        DEPTH,
        MEMORY,
        ALIGNMENT,
        *ADAPTING_GATES,
        GATES_ONLY,
        TABLE4,
        LINEAR,
    )
}
