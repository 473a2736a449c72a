"""What real networks show: allocations of every method, evaluated, and how far to trust them."""

from clado_core.evidence.choices import METHODS as METHODS
from clado_core.evidence.choices import Choice as Choice
from clado_core.evidence.choices import choose as choose
from clado_core.evidence.record import Evidence as Evidence
from clado_core.evidence.record import Outcome as Outcome
from clado_core.evidence.record import load_evidence as load_evidence
from clado_core.evidence.record import save_evidence as save_evidence
