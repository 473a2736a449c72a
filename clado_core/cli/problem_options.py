"""Options that state an allocation problem, shared by ``solve`` and ``frontier``."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem, bits_for_average, whole_units
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import BitWidths, parse_bit_menu, parse_bits

BYTES_PER_MB = 10**6
LONGEST_S = 1e9
"""Thirty years stand for any longer time limit, which a solver may not take."""

_Bits = TypeVar("_Bits", int, BitWidths)


def add_wishes(parser: argparse.ArgumentParser) -> None:
    """Add ``--pin``, ``--tie``, ``--allow`` and ``--min-bits``."""
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="LAYER=BITS",
        help="fix one layer's bit-width (repeatable)",
    )
    parser.add_argument(
        "--tie",
        action="append",
        default=[],
        metavar="LAYER,LAYER",
        help="give these layers one bit-width (repeatable)",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="LAYER=BITS,BITS",
        help="the only bit-widths of one layer, as in conv1=4,8 (repeatable)",
    )
    parser.add_argument(
        "--min-bits",
        action="append",
        default=[],
        metavar="PATTERN=BITS",
        help="smallest bit-width of layers whose name matches, as in 'layer1.*=4' (repeatable)",
    )


def add_budgets(parser: argparse.ArgumentParser) -> None:
    """Add ``--avg-bits``, ``--size-mb`` and ``--bops``; several may hold at once."""
    parser.add_argument(
        "--avg-bits",
        type=number,
        action=_Once,
        metavar="X",
        help="average bits per searched weight, at most X",
    )
    parser.add_argument(
        "--size-mb",
        type=number,
        action=_Once,
        metavar="X",
        help="whole file, at most X MB (10⁶ bytes): weights, scales, biases, unquantized layers",
    )
    parser.add_argument(
        "--bops",
        type=number,
        action=_Once,
        metavar="X",
        help="bit operations per sample, at most X (as in 2.5e9)",
    )


def add_effort(parser: argparse.ArgumentParser) -> None:
    """Add ``--time-limit``, ``--gap`` and ``--confirm``, all per budget."""
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="let SCIP and toulbar2 prove again what DAQP has proven",
    )
    parser.add_argument(
        "--time-limit",
        type=_seconds,
        metavar="S",
        help="seconds until the best so far is returned",
    )
    parser.add_argument(
        "--gap",
        type=_gap,
        default=0.0,
        metavar="G",
        help="stop at this relative gap, as in 0.01 (0: prove)",
    )


def problem_from(arguments: argparse.Namespace, matrix: SensitivityMatrix) -> AllocationProblem:
    """The problem that these options state."""
    avg_bits = getattr(arguments, "avg_bits", None)
    size_mb = getattr(arguments, "size_mb", None)
    return AllocationProblem(
        matrix,
        budget_bits=None if avg_bits is None else bits_for_average(avg_bits, matrix.layers),
        budget_bytes=None if size_mb is None else whole_units(size_mb, BYTES_PER_MB),
        budget_bops=getattr(arguments, "bops", None),
        pins=_once_each("--pin", (_name_and_bits(text, "--pin") for text in arguments.pin)),
        ties=tuple(tuple(re.split(r"\s*,\s*", text.strip())) for text in arguments.tie),
        allowed=_once_each("--allow", map(_name_and_menu, arguments.allow)),
        min_bits=_once_each(
            "--min-bits", (_name_and_bits(text, "--min-bits") for text in arguments.min_bits)
        ),
    )


class _Once(argparse.Action):
    """Stores a limit; of two that differ neither is silently dropped."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        kept = getattr(namespace, self.dest)
        if kept not in (None, values):
            raise argparse.ArgumentError(
                self, f"given twice, as {kept} and {values}: keep one of them"
            )
        setattr(namespace, self.dest, values)


def _once_each(option: str, wishes: Iterable[tuple[str, _Bits]]) -> dict[str, _Bits]:
    """Name → what is wished for it; an InputError where two wishes for one name differ."""
    kept: dict[str, _Bits] = {}
    for name, bits in wishes:
        if kept.setdefault(name, bits) != bits:
            first, second = (_shown(each) for each in (kept[name], bits))
            raise InputError(
                f"{option} {name}={first} and {option} {name}={second} contradict: keep one."
            )
    return kept


def _shown(bits: int | BitWidths) -> str:
    return ",".join(map(str, bits)) if isinstance(bits, tuple) else str(bits)


def _seconds(text: str) -> float:
    value = number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"a time limit is more than 0 seconds, not {text}")
    return min(value, LONGEST_S)


def _gap(text: str) -> float:
    value = number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"a gap is 0 or more, as in 0.01, not {text}")
    return value


def number(text: str) -> float:
    """For argparse: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number")
    return value


def positive_count(text: str) -> int:
    """For argparse: a whole number of 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def _name_and_menu(text: str) -> tuple[str, BitWidths]:
    name, equals, bits = text.rpartition("=")
    if not equals:
        raise InputError(
            f"--allow takes LAYER=BITS,BITS, as in --allow conv1=4,8; given: '{text}'."
        )
    return name.strip(), parse_bit_menu(bits)


def _name_and_bits(text: str, option: str) -> tuple[str, int]:
    name, equals, bits = text.rpartition("=")
    if not equals or not re.fullmatch(r"\d+(a\d+)?", bits.strip()):
        raise InputError(f"{option} takes NAME=BITS, as in {option} conv1=8; given: '{text}'.")
    return name.strip(), parse_bits(bits)
