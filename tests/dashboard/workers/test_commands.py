"""Following a command: its progress, its last words, and its end, whatever it does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import clado_core as cc
from dashboard.workers.commands import CommandService, last_sentence
from tests.conftest import make_matrix
from tests.dashboard.workers.test_measure import wait_for

STEP = """
import os, signal, sys, time
step = b'{"what": "Step", "unit": "losses", "done": 4, "total": 9, "left_s": null}\\n'
lines = int(sys.argv[-1])
"""


class Words(NamedTuple):
    """A wish that is its own command line."""

    words: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        return list(self.words)


@pytest.fixture
def service() -> Iterator[CommandService[Words]]:
    made: CommandService[Words] = CommandService()
    yield made
    made.cancel()


def follow(service: CommandService[Words], code: str) -> None:
    """Run this instead of the command, to its end."""
    service.command = (sys.executable, "-c", STEP + code)
    assert service.start(Words())
    wait_for(lambda: service.state is not None and not service.state.running)


def test_a_command_killed_in_the_middle_of_a_line(service: CommandService[Words]) -> None:
    follow(service, "os.write(lines, step + step[:20]); os.kill(os.getpid(), signal.SIGKILL)")
    state = service.state
    assert state is not None and state.counted == "4 of 9 losses"
    assert state.problem == "The system stopped the command (Killed); start it again."


def test_lines_of_another_kind_are_left_out(service: CommandService[Words]) -> None:
    other = "b'x' * 100_000 + b'\\n', b'[1]\\n', b'\\xff\\n'"
    follow(service, f"[os.write(lines, each) for each in (step, {other})]; print('{{}}')")
    assert service.state is not None and service.state.result == {}
    assert service.state.share == 4 / 9


def test_a_command_that_says_and_prints_much_is_not_held_up(service: CommandService[Words]) -> None:
    said = "sys.stderr.write('word\\n' * 200_000 + '\\rerror: The last sentence.\\n')"
    follow(service, f"sys.stdout.write('x' * 1_000_000); {said}; sys.exit(2)")
    assert service.state is not None and service.state.problem == "The last sentence."
    follow(service, "os.write(lines, step * 5000); print('{}')")
    assert service.state.result == {}


def test_a_command_that_cannot_be_started_is_not_running(service: CommandService[Words]) -> None:
    service.command = ("/nowhere/python",)
    with pytest.raises(FileNotFoundError):
        service.start(Words())
    assert service.state is None
    follow(service, "print('{}')")


def test_the_real_command_is_followed_to_its_last_unit(
    service: CommandService[Words], tmp_path: Path
) -> None:
    cc.save_matrix(make_matrix(6), tmp_path / "toy.clado")
    service.start(Words(("frontier", str(tmp_path / "toy.clado"), "--points", "9", "--json")))
    wait_for(lambda: service.state is not None and not service.state.running, seconds=120)
    state = service.state
    assert state is not None and state.result is not None, state
    assert state.counted == "9 of 9 budgets, 0 s left"
    assert state.progress is not None and state.progress.what == "Frontier of toy"


def test_the_last_sentence() -> None:
    assert last_sentence("a\n\nerror: b.\r\n \n") == "b."
    assert last_sentence("\n") == "The command stopped without a word."
