"""Array shapes used in annotations; tests check them at run time.

Dimensions: L layers, B bit-widths in the menu, n = L·B candidates, v variables of a
compiled program, k resource limits.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64

SquareMatrix: TypeAlias = Float64[np.ndarray, "n n"]
VariableMatrix: TypeAlias = Float64[np.ndarray, "v v"]
VariableBits: TypeAlias = Int64[np.ndarray, "v"]
CostMatrix: TypeAlias = Int64[np.ndarray, "k v"]
Limits: TypeAlias = Int64[np.ndarray, "k"]
Offsets: TypeAlias = Int64[np.ndarray, "d_plus_1"]
Choices: TypeAlias = Int64[np.ndarray, "d"]
LayerVector: TypeAlias = Int64[np.ndarray, "L"]
Mask: TypeAlias = Bool[np.ndarray, "p"]
