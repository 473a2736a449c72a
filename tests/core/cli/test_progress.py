"""Progress of commands: the text for people, and JSON lines on a descriptor handed over."""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import clado_core as cc
from clado_core.cli import main
from clado_core.cli.progress import ProgressLine, StepProgress, progress_written_to
from tests.conftest import ROOT, make_matrix


class Pipe:
    """A pipe: the end of the command, and the end of its caller."""

    def __init__(self) -> None:
        reading, self.number = os.pipe()
        self.reader = open(reading, "rb")  # noqa: SIM115
        self._writer = open(self.number, "wb")  # noqa: SIM115

    def lines(self) -> list[bytes]:
        """What was written; nobody writes any more."""
        self._writer.close()
        return self.reader.readlines()

    def steps(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines()]

    def fill(self) -> None:
        """Write until no more fits."""
        os.set_blocking(self.number, False)
        try:
            while os.write(self.number, b"x" * select.PIPE_BUF):
                pass
        except BlockingIOError:
            os.set_blocking(self.number, True)

    def close(self) -> None:
        self._writer.close()
        self.reader.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(passing: Clock) -> None:
    """Updates 1/8 s apart, from 1,000 units to 9,000, and then all 90,000."""
    with ProgressLine("Measuring x", "losses") as line:
        for done in (*range(1000, 10_000, 1000), 90_000):
            line.update(done, 90_000)
            passing.now += 0.125


@pytest.mark.parametrize("asked", [False, True])
def test_a_terminal_shows_a_line_that_is_redrawn(
    asked: bool, pipe: Pipe, passing: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_written_to(pipe.number if asked else None):
        report(passing)
    assert terminal.getvalue() == (
        "\r\x1b[2KMeasuring x: 1,000/90,000 losses"
        "\r\x1b[2KMeasuring x: 3,000/90,000 losses, 11 s left"
        "\r\x1b[2KMeasuring x: 5,000/90,000 losses, 11 s left"
        "\r\x1b[2KMeasuring x: 7,000/90,000 losses, 10 s left"
        "\r\x1b[2KMeasuring x: 9,000/90,000 losses, 10 s left"
        "\r\x1b[2KMeasuring x: 90,000/90,000 losses, 0 s left\n"
    )
    assert len(pipe.lines()) == (6 if asked else 0)


def test_a_log_gets_a_line_now_and_then(passing: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with ProgressLine("Training x", "epochs") as line:
        for done in range(5):
            line.update(done, 100)
            passing.now += 10.0
    assert log.getvalue() == (
        "Training x: 0/100 epochs\n"
        "Training x: 2/100 epochs, 16:20 min left\n"
        "Training x: 4/100 epochs, 16:00 min left\n"
    )


def test_the_lines_are_json_not_too_many_and_end_with_the_last(pipe: Pipe, passing: Clock) -> None:
    with progress_written_to(pipe.number):
        report(passing)
    steps = pipe.steps()
    same = {"what": "Measuring x", "unit": "losses", "total": 90_000}
    assert steps[0] == same | {"done": 1000, "left_s": None}
    assert steps[1] == same | {"done": 3000, "left_s": 10.9}
    assert [step["done"] for step in steps] == [1000, 3000, 5000, 7000, 9000, 90_000]
    assert steps[-1]["left_s"] == 0.0


def test_the_last_update_is_written_though_units_are_left(pipe: Pipe, passing: Clock) -> None:
    with progress_written_to(pipe.number), ProgressLine("Refining x", "assignments") as line:
        line.update(1, 45)
        line.update(2, 45)
        line.update(3, 45)
    assert [step["done"] for step in pipe.steps()] == [1, 3]


def test_a_line_reads_back_and_a_broken_one_is_none() -> None:
    step = StepProgress("Zürich \ud800\n", "losses", 3, 9, 1.25)
    line = step.to_line()
    assert line.count(b"\n") == 1 and line.isascii()
    assert StepProgress.from_line(line) == StepProgress("Zürich \ud800\n", "losses", 3, 9, 1.2)
    later = json.dumps(json.loads(line) | {"new": 1}).encode()
    assert StepProgress.from_line(later) == StepProgress.from_line(line)
    broken = [line[:n] for n in range(len(line) - 1)]
    for other in (*broken, b"[]\n", b"3\n", b"\xff\xfe\n", b'{"what": "x"}\n'):
        assert StepProgress.from_line(other) is None


def test_a_reader_that_does_not_read_is_not_waited_for(pipe: Pipe) -> None:
    pipe.fill()
    began = time.monotonic()
    with progress_written_to(pipe.number), ProgressLine("x", "losses") as line:
        line.update(1, 9)
        line.update(9, 9)
    assert time.monotonic() - began < 1.0


def test_a_line_too_long_for_a_pipe_to_take_at_once_is_left_out(pipe: Pipe) -> None:
    with progress_written_to(pipe.number):
        for what in ("x" * select.PIPE_BUF, "short"):
            with ProgressLine(what, "losses") as line:
                line.update(9, 9)
    assert [step["what"] for step in pipe.steps()] == ["short"]


def test_other_processes_do_not_inherit_it(pipe: Pipe) -> None:
    os.set_inheritable(pipe.number, True)  # as where a caller has handed it over
    with progress_written_to(pipe.number):
        code = f"import os\ntry:\n os.write({pipe.number}, b'mine')\nexcept OSError:\n pass"
        subprocess.run([sys.executable, "-c", code], close_fds=False, check=True)
    assert pipe.lines() == []


@pytest.fixture
def artifact(tmp_path: Path) -> str:
    cc.save_matrix(make_matrix(6), tmp_path / "toy.clado")
    return str(tmp_path / "toy.clado")


def run(pipe: Pipe, *words: str) -> subprocess.CompletedProcess[str]:
    """The real command, with the pipe handed over."""
    return subprocess.run(
        [sys.executable, "-m", "clado_core", *words, "--progress-fd", str(pipe.number)],
        cwd=ROOT,
        pass_fds=[pipe.number],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_real_command_writes_lines_up_to_the_last_unit(
    pipe: Pipe, artifact: str, jobs: str
) -> None:
    done = run(pipe, "frontier", artifact, "--points", "9", "--jobs", jobs, "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["points"]) == 9
    assert "Frontier of toy" in done.stderr and "{" not in done.stderr
    steps = pipe.steps()
    assert {(step["what"], step["unit"], step["total"]) for step in steps} == {
        ("Frontier of toy", "budgets", 9)
    }
    counts = [step["done"] for step in steps]
    assert counts == sorted(set(counts)) and counts[-1] == 9  # type: ignore[type-var]


@pytest.mark.slow
def test_the_real_measurement_writes_lines_up_to_the_last_loss(pipe: Pipe, tmp_path: Path) -> None:
    out = str(tmp_path / "x.clado")
    done = run(pipe, "measure", "digits-resnet", "--samples", "16", "--device", "cpu", "--out", out)
    assert done.returncode == 0, done.stderr
    steps = pipe.steps()
    assert {(step["what"], step["unit"]) for step in steps} == {
        ("Measuring digits-resnet", "losses")
    }
    assert steps[0]["left_s"] is None and steps[-1]["left_s"] == 0.0
    assert steps[-1]["done"] == steps[-1]["total"]


def test_a_reader_that_goes_away_does_not_disturb_the_command(pipe: Pipe, artifact: str) -> None:
    pipe.reader.close()
    done = run(pipe, "frontier", artifact, "--points", "9", "--json")
    assert (done.returncode, len(json.loads(done.stdout)["points"])) == (0, 9)
    assert "Traceback" not in done.stderr and "Broken" not in done.stderr


def test_a_stalled_reader_does_not_hold_the_command_up(pipe: Pipe, artifact: str) -> None:
    pipe.fill()
    assert run(pipe, "frontier", artifact, "--points", "9", "--json").returncode == 0


@pytest.mark.parametrize("number", ["987", "1", "-1", "x", "9" * 30, "reading end"])
def test_a_wrong_descriptor_is_refused_in_one_sentence(
    pipe: Pipe, artifact: str, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    number = str(pipe.reader.fileno()) if number == "reading end" else number
    with pytest.raises(SystemExit) as stop:
        main(["frontier", artifact, f"--progress-fd={number}"])
    said = capsys.readouterr()
    assert (stop.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert f"'{number}' is no descriptor of 3 or more that is open for writing" in said.err
