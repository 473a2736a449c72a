"""Measure how quantization errors of layer pairs add up, and choose bit-widths under a budget.

    matrix = cc.measure(network, (x, y))
    solution = cc.TieredSolver().solve(cc.AllocationProblem(matrix, budget_bits=...))
    cc.evaluate(network, solution, (x_test, y_test))
    cc.export(matrix, solution, "onnx", "network.onnx", module=network, input_shape=(3, 32, 32))

Importing this package loads neither torch nor a solver; they load when they are first used.
"""

from clado_core._version import __version__ as __version__
from clado_core.allocation.bootstrap import bootstrap_choices as bootstrap_choices
from clado_core.allocation.budget_grid import BudgetGrid as BudgetGrid
from clado_core.allocation.budget_grid import sweep_grid as sweep_grid
from clado_core.allocation.frontier import Frontier as Frontier
from clado_core.allocation.k_best import k_best as k_best
from clado_core.allocation.methods import allocate as allocate
from clado_core.allocation.smallest_size import SmallestSize as SmallestSize
from clado_core.allocation.smallest_size import smallest_size as smallest_size
from clado_core.allocation.sweep import sweep as sweep
from clado_core.errors import CladoError as CladoError
from clado_core.errors import InfeasibleBudgetError as InfeasibleBudgetError
from clado_core.errors import InputError as InputError
from clado_core.files.artifact import load as load
from clado_core.files.artifact import save_matrix as save_matrix
from clado_core.library.evaluate import evaluate as evaluate
from clado_core.library.evaluate import refine as refine
from clado_core.library.export import export as export
from clado_core.library.load import load_data as load_data
from clado_core.library.load import load_model as load_model
from clado_core.library.measure import find_layers as find_layers
from clado_core.library.measure import measure as measure
from clado_core.library.repair import repair as repair
from clado_core.library.smallest import smallest_within as smallest_within
from clado_core.problem.allocation_problem import AllocationProblem as AllocationProblem
from clado_core.problem.allocation_problem import bits_for_average as bits_for_average
from clado_core.problem.solution import Solution as Solution
from clado_core.problem.solution import SolveStatus as SolveStatus
from clado_core.records.assignment import Assignment as Assignment
from clado_core.records.diagnostics import diagnose as diagnose
from clado_core.records.layers import LayerInfo as LayerInfo
from clado_core.records.layers import LayerTable as LayerTable
from clado_core.records.matrix import SensitivityMatrix as SensitivityMatrix
from clado_core.records.provenance import Provenance as Provenance
from clado_core.records.scheme import QuantizationScheme as QuantizationScheme
from clado_core.solvers import DaqpSolver as DaqpSolver
from clado_core.solvers import EnumerationSolver as EnumerationSolver
from clado_core.solvers import LocalSearchSolver as LocalSearchSolver
from clado_core.solvers import ScipSolver as ScipSolver
from clado_core.solvers import TieredSolver as TieredSolver
from clado_core.solvers import compute_shifts as compute_shifts
