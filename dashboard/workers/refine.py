"""Choosing by measured loss: what the command is asked for, and what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from clado_core import AllocationProblem, SensitivityMatrix, Solution
from clado_core.problem.solution import solution_of
from clado_core.records import names
from clado_core.records.scheme import BitWidths, bits_to_json, parse_bits
from dashboard.rules import NO_RULES, Rules
from dashboard.workers.commands import AS_MEASURED, CommandService, CommandState, NetworkWords


class RefineWish(NamedTuple):
    """Which choice to refine, as ``solve --refine`` takes it.

    Args:
        name: Of the artifact, for people.
        artifact: Its path.
        digest: Of its contents.
        avg_bits: The budget, in average bits per searched weight.
        rules: Wishes about layers; they hold for all that is run.
        k: How many of the best, and of each one's neighbours, are run.
        network: Where the network is.
    """

    name: str
    artifact: str
    digest: str
    avg_bits: float
    rules: Rules = NO_RULES
    k: int = 8
    network: NetworkWords = AS_MEASURED

    def arguments(self) -> list[str]:
        """The command line after ``python -m clado_core``."""
        return [
            *("solve", str(Path(self.artifact).resolve())),
            *("--avg-bits", repr(float(self.avg_bits))),
            *self.rules.options(),
            *("--refine", str(self.k)),
            *self.network.options(),
            "--json",
        ]


RefineState: TypeAlias = CommandState[RefineWish]
RefineService: TypeAlias = CommandService[RefineWish]


@dataclass(frozen=True, slots=True)
class Refined:
    """What running the candidates showed.

    Args:
        chosen: The one of least measured loss.
        loss: Its mean loss over the sensitivity set.
        predicted_best_increase: Predicted loss increase of the predicted optimum.
        predicted_best_loss: Its mean loss over the sensitivity set.
        evaluated: How many were run on all of it.
        screened: How many were run on a part of it, to say which deserve all.
    """

    chosen: Solution
    loss: float
    predicted_best_increase: float
    predicted_best_loss: float
    evaluated: int
    screened: int

    @property
    def improved(self) -> bool:
        """Whether another than the predicted optimum was better when run."""
        return self.loss < self.predicted_best_loss


def refined_from(matrix: SensitivityMatrix, result: Mapping[str, Any], /) -> Refined:
    """What ``solve --refine --json`` printed."""
    found, bound = result["refined"], result["bound"]
    return Refined(
        chosen=refined_choice(
            matrix,
            tuple(parse_bits(str(found["assignment"][name])) for name in matrix.layers.names),
            bound=-math.inf if bound is None else bound,
        ),
        loss=float(found["loss"]),
        predicted_best_increase=float(result["predicted_loss_increase"]),
        predicted_best_loss=float(found["predicted_best_loss"]),
        evaluated=int(found["evaluated"]),
        screened=int(found["screened"]),
    )


def refined_choice(
    matrix: SensitivityMatrix, bits: BitWidths, /, *, bound: float = -math.inf
) -> Solution:
    """Bit-widths that were chosen by measured loss, with what is predicted of them.

    Args:
        matrix: The sensitivities.
        bits: One bit-width per layer, shape (L,).
        bound: No choice within the budget has a smaller x'Gx.

    Raises:
        InputError: They are not of this matrix.
    """
    return solution_of(
        matrix,
        AllocationProblem(matrix).assignment(bits),
        solver="measured loss",
        method=names.REFINED,
        bound=bound,
    )


def bits_to_text(bits: BitWidths, /) -> str:
    """For a link: "8-4-4-2"."""
    return "-".join(str(bits_to_json(b)) for b in bits)


def bits_from_text(text: str, /) -> BitWidths:
    """The reverse; raises InputError where it is not of that form."""
    return tuple(parse_bits(part) for part in text.split("-"))
