"""The program against a reference choice: one variable less per decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core.problem.program import Program


@dataclass(frozen=True, slots=True)
class ReferenceForm:
    """The same objective without each decision's last variable: it is one minus the others.

    With z the other variables (at most one 1 per decision), y'Qy = base + linear'z + z'·Q̃·z and

        Q̃_ab = Q_ab − Q_a,r(b) − Q_r(a),b + Q_r(a),r(b),   r(a): the variable dropped beside a.

    Products are needed between different decisions alone, (B−1)² per pair instead of B².

    Args:
        base: Objective of the reference choice, the program's constant included.
        linear: Shape (w,), on z.
        quadratic: Shape (w, w), symmetric; zero inside a decision.
        kept: Shape (w,), the program's variable each z stands for.
        decision: Shape (w,), the decision it belongs to.
        reference: Shape (d,), the program's variables that were dropped.
    """

    base: float
    linear: npt.NDArray[np.float64]
    quadratic: npt.NDArray[np.float64]
    kept: npt.NDArray[np.int64]
    decision: npt.NDArray[np.int64]
    reference: npt.NDArray[np.int64]

    @property
    def scale(self) -> float:
        """Unit of the objective: the largest |Q̃|, or without interactions the largest |linear|."""
        largest = (float(np.abs(part).max(initial=0.0)) for part in (self.quadratic, self.linear))
        return next(filter(None, largest), 1.0)


def reference_form(program: Program, /) -> ReferenceForm:
    """Write a program against its largest bit-widths, whose interactions are the smallest."""
    reference = program.offsets[1:] - 1
    kept = np.setdiff1d(np.arange(program.n_variables), reference)
    decision = np.repeat(np.arange(program.n_decisions), program.n_choices - 1)
    Q, beside = program.Q, reference[decision]

    diagonal = Q.diagonal()
    # Σ_l Q[a, ref(l)] over the other decisions, for the kept variables and for the references
    field = Q[:, reference].sum(axis=1)
    at_reference = (field - diagonal)[beside]
    linear = diagonal[kept] - diagonal[beside] + 2 * (field[kept] - at_reference)
    quadratic = (
        Q[np.ix_(kept, kept)]
        - Q[np.ix_(kept, beside)]
        - Q[np.ix_(beside, kept)]
        + Q[np.ix_(beside, beside)]
    )
    quadratic[np.equal.outer(decision, decision)] = 0.0
    return ReferenceForm(
        base=program.constant + float(field[reference].sum()),
        linear=linear,
        quadratic=quadratic,
        kept=kept,
        decision=decision,
        reference=reference,
    )
