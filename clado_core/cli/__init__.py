"""The command line: ``python -m clado_core COMMAND``.

Each command is a module: its docstring is the help (a summary line, then an example), and it has
``add_arguments(parser)``, ``run(arguments)`` → a dictionary that JSON can hold, and
``show(result)`` → text for people. Results go to standard output, progress and messages to
standard error; ``--progress-fd`` hands progress to a program (see ``cli.progress``).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from clado_core._version import __version__
from clado_core.cli.progress import descriptor, progress_written_to
from clado_core.errors import CladoError, SolverError

COMMANDS = (
    "models",
    "train",
    "measure",
    "import",
    "info",
    "certify",
    "solve",
    "frontier",
    "repair",
    "evaluate",
    "evidence",
    "export",
    "bench",
)
"""In the order of a user's work; ``import`` lives in the module ``import_``."""

CONTINUED = ("train", "measure", "evidence")
"""They keep what they have done, and go on from there when they are started again."""

CONTINUED_WITH = ("front", "run_as", "max_drop")
"""Options with which other commands do so."""

EXIT_OK, EXIT_OUR_FAULT, EXIT_INPUT = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    """Answers a wrong call with one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        command = self.prog.removeprefix("python -m ")
        sys.stderr.write(f"{message[:1].upper()}{message[1:]}. See: python -m {command} --help\n")
        raise SystemExit(EXIT_INPUT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (0 done, 2 the input is wrong, 1 a fault of ours)."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    arguments = build_parser().parse_args(argv)
    try:
        # What a user's own network prints must not get between the result and its reader.
        with progress_written_to(arguments.progress_fd), contextlib.redirect_stdout(sys.stderr):
            result = arguments.run(arguments)
    except SolverError as problem:
        sys.stderr.write(f"{problem}\n")
        return EXIT_OUR_FAULT
    except CladoError as problem:
        sys.stderr.write(f"{problem}\n")
        return EXIT_INPUT
    except KeyboardInterrupt:
        kept = " What was done so far is kept; the same command continues."
        sys.stderr.write(f"Stopped.{kept if _goes_on(arguments) else ''}\n")
        return 130
    _print_result(arguments, result)
    return EXIT_OK


def _goes_on(arguments: argparse.Namespace) -> bool:
    """Whether a command that was stopped goes on where it was when it is given again."""
    asked = [getattr(arguments, name, None) is not None for name in CONTINUED_WITH]
    return arguments.command in CONTINUED or any(asked)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; only the parts that are asked for import torch."""
    parser = _Parser(
        prog="python -m clado_core",
        description="Measure cross-layer sensitivities and choose bit-widths under a budget.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(
            f"clado_core.cli.{'import_' if name == 'import' else name}"
        )
        summary, _, example = (module.__doc__ or "").partition("\n\n")
        subparser = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subparser.add_argument("--json", action="store_true", help="print one JSON object")
        subparser.add_argument(
            "--progress-fd",
            type=descriptor,
            metavar="N",
            help="write progress as JSON lines to the open file descriptor N",
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run, show=module.show)
    return parser


def _print_result(arguments: argparse.Namespace, result: dict[str, Any]) -> None:
    text = json.dumps(result) if arguments.json else arguments.show(result)
    sys.stdout.write(text.rstrip("\n") + "\n")
