"""The real command in a process of its own, which kills itself where a test says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DRIVER = """
import os, signal, sys
from clado_core.cli import main
from clado_core.files.journal import Journal

moments, append = int(sys.argv[1]), Journal.append

def passing():
    global moments
    moments -= 1
    if moments < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def kept(self, key, payload):
    passing()
    append(self, key, payload)

def seen(event, arguments):
    removed = event == "os.remove" and not str(arguments[0]).endswith(".tmp")
    if (removed or event == "os.rename") and ".clado" in str(arguments[0]):
        passing()

Journal.append = kept
sys.addaudithook(seen)
sys.exit(main(sys.argv[2:]))
"""


def run_until(moments: int, *words: str) -> int:
    """Exit code of a command that is killed at a moment: −9, or its own where it ends before.

    Args:
        moments: How many it may pass: before each record that is kept, and before each renaming or
            removing of a .clado file or of one beside it, temporary files apart.
        words: The command and its flags.
    """
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(moments), *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode
