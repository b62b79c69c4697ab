"""The command line: one function for each command of ``qcmap``, in groups."""

from qcmap.cli._common import main
from qcmap.cli._constants import dks, tat
from qcmap.cli._demo import demo
from qcmap.cli._gated import gated
from qcmap.cli._kernels import compare, maps, ntk
from qcmap.cli._models import shape
from qcmap.cli._npk import npk
from qcmap.cli._paths import paths
from qcmap.cli._report import report
from qcmap.cli._train import train
from qcmap.cli._wiring import check, slope

for command in (slope, dks, tat, maps, ntk, compare, gated, paths, npk, check, report, shape, train, demo):
    main.add_command(command)

__all__ = ["main"]
