"""Measure how quantization errors of layer pairs add up, and choose bit-widths under a budget.

Importing this package imports neither torch nor a solver; they load when they are first used.
"""

from clado_core.baselines import allocate as allocate
from clado_core.diagnostics import diagnose as diagnose
from clado_core.errors import CladoError as CladoError
from clado_core.frontier import Frontier as Frontier
from clado_core.layers import LayerInfo as LayerInfo
from clado_core.layers import LayerTable as LayerTable
from clado_core.matrix import SensitivityMatrix as SensitivityMatrix
from clado_core.problem import AllocationProblem as AllocationProblem
from clado_core.provenance import Provenance as Provenance
from clado_core.scheme import QuantizationScheme as QuantizationScheme
from clado_core.solution import Assignment as Assignment
from clado_core.solution import Solution as Solution
from clado_core.solution import SolveStatus as SolveStatus
from clado_core.solvers import EnumerationSolver as EnumerationSolver
from clado_core.solvers import LocalSearchSolver as LocalSearchSolver
from clado_core.solvers import ScipSolver as ScipSolver
from clado_core.store import load as load
from clado_core.store import save_matrix as save_matrix
from clado_core.sweeping import sweep as sweep

__version__ = "0.1.0"
