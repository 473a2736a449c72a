"""Measure how quantization errors of layer pairs add up, and choose bit-widths under a budget.

Importing this package does not import torch; only measuring and evaluating do.
"""

from clado_core.layers import LayerInfo as LayerInfo
from clado_core.layers import LayerTable as LayerTable
from clado_core.matrix import SensitivityMatrix as SensitivityMatrix
from clado_core.problem import AllocationProblem as AllocationProblem
from clado_core.provenance import Provenance as Provenance
from clado_core.scheme import QuantizationScheme as QuantizationScheme
from clado_core.solution import Assignment as Assignment
from clado_core.solution import Solution as Solution
from clado_core.solution import SolveStatus as SolveStatus
from clado_core.store import load as load
from clado_core.store import save_matrix as save_matrix

__version__ = "0.1.0"
