"""The inverse question: how small can a network be within a measured drop of accuracy?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from clado_core.allocation.frontier import Frontier
from clado_core.errors import InputError
from clado_core.evaluation.choice_runner import ChoiceRunner
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.records.measured_choice import MeasuredChoice
from clado_core.records.names import MeasuredAs

BELOW = 2
"""So many choices in a row, next smaller than the answer, are measured and do not keep the drop:
accuracy is not monotone in size, and a drop of few images is partly luck."""
POINTS = 100.0
"""Percentage points of a whole."""

Passes: TypeAlias = Callable[[int], bool]
OnChoice: TypeAlias = Callable[[int, int], None]
"""Called with (choices measured, about how many in all)."""


@dataclass(frozen=True, slots=True)
class SmallestWithin:
    """The smallest choice found, and what it was found by.

    Args:
        solution: As it stands on the front.
        searched: Its measurement on the images that were searched on.
        measured: All choices measured on those, by ascending size.
        on_front: How many choices the front has.
        max_drop: What was asked for, in percentage points.
        confirmed: The same choice on images that nothing was chosen by; None without any.
    """

    solution: Solution
    searched: MeasuredChoice
    measured: tuple[MeasuredChoice, ...]
    on_front: int
    max_drop: float
    confirmed: MeasuredChoice | None = None

    @property
    def assignment(self) -> Assignment:
        """The bit-widths chosen."""
        return self.solution.assignment


def smallest_within(
    front: Frontier,
    runner: ChoiceRunner,
    /,
    *,
    max_drop: float,
    measured_as: MeasuredAs = "repaired",
    confirm: Callable[[], ChoiceRunner] | None = None,
    on_progress: OnChoice | None = None,
) -> SmallestWithin:
    """Search the front for the smallest choice whose measured top-1 drop is at most so much.

    Args:
        front: Choices by predicted loss; sizes between two of them are not tried.
        runner: On images to choose by, never those that accuracy is reported on.
        max_drop: Against the float network on the same images, in percentage points.
        measured_as: "rounded" or "repaired".
        confirm: Gives the same on held-out images, where the chosen one is run once.
        on_progress: Called with (choices measured, about how many in all).

    Raises:
        InputError: The drop is no number of 0 to 100, or no choice that was measured keeps it.
        MeasurementError: As for ``ChoiceRunner.measure``.
    """
    require_drop(max_drop)
    choices = front.choices()
    run = _Runs(choices, runner, measured_as, confirm is not None, on_progress)
    chosen = smallest_passing(len(choices), lambda index: run.drop_points(index) <= max_drop)
    if chosen is None:
        raise _none_within(run.found, max_drop)
    bits = choices[chosen].assignment.bits
    confirmed = None if confirm is None else confirm().measure(bits, measured_as)
    run.tell_the_end()
    measured = tuple(run.found[index] for index in sorted(run.found))
    return SmallestWithin(
        *(choices[chosen], run.found[chosen], measured, len(choices), max_drop, confirmed)
    )


class _Runs:
    """Choices of a front that were run, each once."""

    def __init__(
        self,
        choices: Sequence[Solution],
        runner: ChoiceRunner,
        measured_as: MeasuredAs,
        confirms: bool,
        on_progress: OnChoice | None,
    ) -> None:
        self._choices, self._runner, self._measured_as = choices, runner, measured_as
        self._on_progress, self._confirming = on_progress, int(confirms)
        self._about = math.ceil(math.log2(len(choices) + 1)) + BELOW - 1
        self.found: dict[int, MeasuredChoice] = {}

    def drop_points(self, index: int) -> float:
        """Measured drop of a choice, in percentage points."""
        if index not in self.found:
            bits = self._choices[index].assignment.bits
            self.found[index] = self._runner.measure(bits, self._measured_as)
            done = len(self.found)
            self._tell(done, max(self._about, done) + self._confirming)
        return self.found[index].drop.share * POINTS

    def tell_the_end(self) -> None:
        """Everything was run, the confirmation included."""
        total = len(self.found) + self._confirming
        self._tell(total, total)

    def _tell(self, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(done, total)


def smallest_passing(n: int, passes: Passes, /) -> int | None:
    """Smallest index of n that passes, by bisection and a look below; None where none was found.

    At most ⌈log₂(n + 1)⌉ tests as if larger ones passed, then of the next smaller ones until
    ``BELOW`` in a row do not pass. Where passing is monotone the answer is exact.

    Args:
        n: Indices 0 to n − 1.
        passes: Tests an index; asked again for one, it must answer the same.
    """
    fails, found = -1, n
    while found - fails > 1:
        middle = (fails + found) // 2
        fails, found = (fails, middle) if passes(middle) else (middle, found)
    if found == n:
        return None
    index, failed = found - 1, 0
    while index >= 0 and failed < BELOW:
        found, failed = (index, 0) if passes(index) else (found, failed + 1)
        index -= 1
    return found


def require_drop(max_drop: float, /) -> None:
    """Make sure that a drop can be asked for.

    Raises:
        InputError: It is no number of 0 to 100.
    """
    if not 0 <= max_drop <= POINTS:
        raise InputError(
            f"The largest drop is in percentage points, from 0 to 100, as in 1.0; not {max_drop}."
        )


def _none_within(found: dict[int, MeasuredChoice], max_drop: float) -> InputError:
    best = min(found.values(), key=lambda each: each.drop.share)
    return InputError(
        f"None of the {len(found)} choices measured, up to the largest on the front, keeps within "
        f"{max_drop:g} percentage points of the float network's accuracy; the closest drops "
        f"{best.drop.share * POINTS:.2f}: allow a larger drop, or measure with larger bit-widths."
    )
