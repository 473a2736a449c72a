"""Measure how quantization errors of layer pairs add up, and choose bit-widths under a budget.

Importing this package imports neither torch nor a solver; they load when they are first used.
"""

from clado_core.allocation.frontier import Frontier as Frontier
from clado_core.allocation.methods import allocate as allocate
from clado_core.allocation.sweep import sweep as sweep
from clado_core.errors import CladoError as CladoError
from clado_core.files.artifact import load as load
from clado_core.files.artifact import save_matrix as save_matrix
from clado_core.problem.allocation_problem import AllocationProblem as AllocationProblem
from clado_core.problem.solution import Solution as Solution
from clado_core.problem.solution import SolveStatus as SolveStatus
from clado_core.records.assignment import Assignment as Assignment
from clado_core.records.diagnostics import diagnose as diagnose
from clado_core.records.layers import LayerInfo as LayerInfo
from clado_core.records.layers import LayerTable as LayerTable
from clado_core.records.matrix import SensitivityMatrix as SensitivityMatrix
from clado_core.records.provenance import Provenance as Provenance
from clado_core.records.scheme import QuantizationScheme as QuantizationScheme
from clado_core.solvers import EnumerationSolver as EnumerationSolver
from clado_core.solvers import LocalSearchSolver as LocalSearchSolver
from clado_core.solvers import ScipSolver as ScipSolver

__version__ = "0.1.0"
