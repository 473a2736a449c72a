"""Files that are complete or not there, whatever happens to who writes them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clado_core.errors import ArtifactError
from clado_core.files import atomic
from clado_core.files.atomic import write_atomically
from tests.conftest import ROOT

WRITER = """
import os, signal, sys
from clado_core.files.atomic import write_atomically

def stop(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))

sys.addaudithook(stop)
write_atomically(sys.argv[1], b"of the writer")
"""


def writer(path: Path, name: str) -> subprocess.Popen[bytes]:
    """A process that sends itself a signal when its temporary file is written."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], cwd=ROOT)


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "a.clado"
    assert writer(path, "SIGKILL").wait() == -signal.SIGKILL
    assert [p.name.startswith(".a.clado.") for p in tmp_path.iterdir()] == [True]
    write_atomically(path, b"whole")
    assert os.listdir(tmp_path) == ["a.clado"] and path.read_bytes() == b"whole"


def test_what_a_living_writer_holds_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.clado"
    stopped = writer(path, "SIGSTOP")
    try:
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
        write_atomically(path, b"mine")
        assert len(os.listdir(tmp_path)) == 2 and path.read_bytes() == b"mine"
    finally:
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait() == 0
    assert os.listdir(tmp_path) == ["a.clado"] and path.read_bytes() == b"of the writer"


@pytest.mark.parametrize(
    "name", [".a.clado.notes.tmp", ".b.clado.abcd0123.tmp", "a.clado.abcd0123.tmp", ".a.clado"]
)
def test_other_hidden_files_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"somebody's")
    (tmp_path / ".a.clado.abcd0123.tmp").write_bytes(b"left")
    write_atomically(tmp_path / "a.clado", b"whole")
    assert sorted(os.listdir(tmp_path)) == sorted([name, "a.clado"])


def test_a_temporary_file_that_was_taken_for_a_left_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its locking another writer may have removed it."""
    lock, taken = atomic.fcntl.flock, []

    def late(handle: int, how: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        lock(handle, how)

    monkeypatch.setattr(atomic.fcntl, "flock", late)
    write_atomically(tmp_path / "a.clado", b"whole")
    assert os.listdir(tmp_path) == ["a.clado"] and len(taken) == 1


def test_without_locks_files_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(handle: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(atomic.fcntl, "flock", none)
    (tmp_path / ".a.clado.abcd0123.tmp").write_bytes(b"nobody knows whose")
    write_atomically(tmp_path / "a.clado", b"whole")
    assert (tmp_path / "a.clado").read_bytes() == b"whole" and len(os.listdir(tmp_path)) == 2


def test_what_cannot_be_renamed_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.clado").mkdir()
    with pytest.raises(ArtifactError, match=r"Cannot write .*a\.clado: Is a directory"):
        write_atomically(tmp_path / "a.clado", b"whole")
    assert os.listdir(tmp_path) == ["a.clado"]
