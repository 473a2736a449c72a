"""The real command in a clean environment."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.waiting import wait_for


@dataclass(frozen=True, slots=True)
class Server:
    """A running dashboard.

    Args:
        address: ``http://host:port``.
        pid: Of its process.
        log: Where its output goes.
    """

    address: str
    pid: int
    log: Path


@contextmanager
def running_server(artifacts: str, log: Path, *, browser: str | None = None) -> Iterator[Server]:
    """``streamlit run dashboard/app.py`` from the root, without PYTHONPATH, while this is open.

    Args:
        artifacts: The folder of them, or "" for the shipped ones.
        log: Where its output goes; a traceback in it is a failure.
        browser: A command that it opens the page with; headless where None.
    """
    port = _free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(port, headless=browser is None),
            cwd=ROOT,
            env=_environment(artifacts, log.parent / "data", browser),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: process.poll() is not None or _answers(address))
        assert process.poll() is None, f"The server did not start:\n{log.read_text()}"
        yield Server(address, process.pid, log)
    finally:
        _stop(process)
    assert "Traceback" not in log.read_text()


def _command(port: int, *, headless: bool) -> list[str]:
    options = {
        "server.port": str(port),
        "server.address": "127.0.0.1",
        "server.headless": "true" if headless else "false",
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
    }
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    return [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", *flags]


def _environment(artifacts: str, data: Path, browser: str | None) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": os.environ.get("HOME", "/tmp"),
        "CLADO_ARTIFACTS": artifacts,
        "XDG_DATA_HOME": str(data),
        "BROWSER": browser or "",
        # Commands that the server starts share the machine as the tests were told to.
        **{name: os.environ[name] for name in THREADS if name in os.environ},
    }


THREADS = ("OMP_NUM_THREADS",)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
            return True
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask, then insist."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
