"""Solvers: an AllocationProblem in, a Solution out; the caller passes the solver it wants.

Importing this package imports neither SCIP, CVXPY nor DAQP; a solver imports its own on first use.
"""

from clado_core.solvers.daqp import DaqpSolver as DaqpSolver
from clado_core.solvers.enumerate import EnumerationSolver as EnumerationSolver
from clado_core.solvers.local_search import LocalSearchSolver as LocalSearchSolver
from clado_core.solvers.protocol import OnProgress as OnProgress
from clado_core.solvers.protocol import Progress as Progress
from clado_core.solvers.protocol import Solver as Solver
from clado_core.solvers.scip import ScipSolver as ScipSolver
from clado_core.solvers.shifts import ConvexifyingShifts as ConvexifyingShifts
from clado_core.solvers.shifts import compute_shifts as compute_shifts
from clado_core.solvers.tiered import TieredSolver as TieredSolver
from clado_core.solvers.toulbar2 import Toulbar2Solver as Toulbar2Solver
