"""Work that is done so far, kept on disk so that what was stopped can continue.

Layout: magic, a JSON header that says which work this is, then records of a key, a length
and that many bytes. Header and records each carry a CRC-32, and records are only ever appended:
whenever the process is killed, everything up to the last complete record is usable.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from clado_core.errors import ArtifactError, InputError
from clado_core.records.difference import difference

MAGIC = b"CLADOJ02"
_LENGTHS = struct.Struct("<II")
_RECORD = struct.Struct("<II")
_CHECKSUM = struct.Struct("<I")
OVERHEAD_BYTES = _RECORD.size + _CHECKSUM.size
"""Bytes of a record beside its payload."""


class Journal:
    """Append-only file of records; a context manager that closes it.

    Args:
        path: Made if it is not there.
        identity: What makes two works the same; plain values.
        n_keys: Records have keys from 0 to this, exclusive.
        holds: What the records are, for the sentence.

    Raises:
        InputError: The file is no journal, or another work's; the sentence names the field.
        ArtifactError: The file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        n_keys: int,
        /,
        *,
        holds: str = "an unfinished measurement",
    ) -> None:
        self.path = path
        self.records: dict[int, bytes] = {}
        header = json.dumps(identity, sort_keys=True).encode()
        try:
            contents = path.read_bytes() if path.exists() else b""
            if not contents.startswith(MAGIC[: len(contents)]):
                raise InputError(f"{path} is not a file of ours; move it, or store this elsewhere.")
            found, body = _read_header(contents)
            if found is not None:
                _require_same(path, found, json.loads(header), holds)
                self.records, kept = _read_records(contents, body, n_keys)
                os.truncate(path, kept)
                self._file = path.open("ab", buffering=0)
            else:
                self._file = path.open("wb", buffering=0)
                self._file.write(MAGIC + _LENGTHS.pack(len(header), zlib.crc32(header)) + header)
        except OSError as problem:
            raise ArtifactError(f"Cannot write {path}: {problem.strerror}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def append(self, key: int, payload: bytes, /) -> None:
        """Keep a record; it is in the operating system's hands when this returns.

        Args:
            key: What it is of.
            payload: Stored exactly.

        Raises:
            ArtifactError: The disk is full.
        """
        record = _RECORD.pack(key, len(payload)) + payload
        try:
            self._file.write(record + _CHECKSUM.pack(zlib.crc32(record)))
        except OSError as problem:
            raise ArtifactError(f"Cannot write {self.path}: {problem.strerror}.") from None
        self.records[key] = payload


def _read_header(contents: bytes) -> tuple[dict[str, Any] | None, int]:
    """Header and position of the first record; None where it was never completely written."""
    start = len(MAGIC) + _LENGTHS.size
    if len(contents) < start or not contents.startswith(MAGIC):
        return None, 0
    length, checksum = _LENGTHS.unpack_from(contents, len(MAGIC))
    header = contents[start : start + length]
    if len(header) < length or zlib.crc32(header) != checksum:
        return None, 0
    return json.loads(header), start + length


def _read_records(contents: bytes, start: int, n_keys: int) -> tuple[dict[int, bytes], int]:
    """Records in the order written up to the first incomplete or damaged one, and its position."""
    records: dict[int, bytes] = {}
    while start + OVERHEAD_BYTES <= len(contents):
        key, length = _RECORD.unpack_from(contents, start)
        end = start + _RECORD.size + length
        if end + _CHECKSUM.size > len(contents) or key >= n_keys:
            break
        if zlib.crc32(contents[start:end]) != _CHECKSUM.unpack_from(contents, end)[0]:
            break
        payload = contents[start + _RECORD.size : end]
        # The same twice is what two processes leave that do the same work at the same time.
        if records.setdefault(key, payload) != payload:
            break
        start = end + _CHECKSUM.size
    return records, start


def _require_same(
    path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], holds: str
) -> None:
    if apart := difference(found, wanted):
        name, there, now = apart
        raise InputError(
            f"{path} holds {holds} with another '{name}' ({there} there, {now} now): finish that "
            "one, delete the file, or store this one elsewhere."
        )
