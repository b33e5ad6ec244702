"""Sealed files: encrypted at rest, opened in memory only.

Belongs here: AES-256-GCM in chunks (a file of any size, a wrong key or a changed byte is
found), and plain files that live in memory for as long as a block runs. Does not belong
here: which file has which key (`intake/drop.py`).

An opened file never touches a disk: its bytes stand in an anonymous memory file, and what
lies in the home's `tmp` is a link to it with the file's name, gone when the block ends.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rcs_assets.errors import StorageError

KEY_BYTES = 32
_MAGIC = b"RCSDROP1"
_PREFIX_BYTES = 7
_CHUNK_BYTES = 1 << 20
_TAG_BYTES = 16


@dataclass(frozen=True)
class MemoryFile:
    """A file in memory: `stream` to fill it, `path` under which libraries open it."""

    path: Path
    stream: BinaryIO


@contextmanager
def memory_file(folder: Path, name: str) -> Iterator[MemoryFile]:
    """An empty file in memory that has a path and the given name; gone after the block.

    Args:
        folder: where the link lies, on the home's disk.
        name: file name; readers go by its ending.
    """
    link_folder = Path(tempfile.mkdtemp(prefix="open-", dir=folder))
    stream = os.fdopen(os.memfd_create("delivery", os.MFD_CLOEXEC), "w+b")
    try:
        link = link_folder / name
        link.symlink_to(f"/proc/{os.getpid()}/fd/{stream.fileno()}")
        yield MemoryFile(link, stream)
    finally:
        stream.close()
        shutil.rmtree(link_folder, ignore_errors=True)


def seal(source: Path, target: Path, key: bytes) -> str:
    """Write an encrypted copy of a file, complete or not at all.

    Returns:
        The sha256 of the plain bytes that were read.
    """
    digest = hashlib.sha256()
    prefix = secrets.token_bytes(_PREFIX_BYTES)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out, source.open("rb") as plain:
        out.write(_MAGIC + prefix)
        cipher = AESGCM(key)
        chunk, number, is_last = plain.read(_CHUNK_BYTES), 0, False
        while not is_last:
            following = plain.read(_CHUNK_BYTES)
            is_last = not following
            digest.update(chunk)
            out.write(cipher.encrypt(_nonce(prefix, number, is_last), chunk, _MAGIC))
            chunk, number = following, number + 1
        out.flush()
        os.fsync(out.fileno())
    aside.replace(target)
    return digest.hexdigest()


def unseal(source: Path, target: BinaryIO, key: bytes) -> None:
    """Write the plain bytes of a sealed file into an open one.

    Raises:
        StorageError: the key is another one, or the file was changed or cut.
    """
    try:
        with source.open("rb") as sealed:
            head = sealed.read(len(_MAGIC) + _PREFIX_BYTES)
            if not head.startswith(_MAGIC):
                raise InvalidTag
            _unseal_chunks(sealed, target, AESGCM(key), head[len(_MAGIC) :])
    except (InvalidTag, OSError):
        raise StorageError(
            "A sealed file of the drop cannot be opened",
            where=f"drop/…/{source.parent.name[:12]}/{source.name}",
            why="its key is another one, or the file is missing, changed or cut",
            fix="restore drop/ and keys/ from the same backup, or deliver the file again",
        ) from None
    target.flush()


def _unseal_chunks(sealed: BinaryIO, target: BinaryIO, cipher: AESGCM, prefix: bytes) -> None:
    size = _CHUNK_BYTES + _TAG_BYTES
    chunk, number, is_last = sealed.read(size), 0, False
    while not is_last:
        following = sealed.read(size)
        is_last = not following
        target.write(cipher.decrypt(_nonce(prefix, number, is_last), chunk, _MAGIC))
        chunk, number = following, number + 1


def _nonce(prefix: bytes, number: int, is_last: bool) -> bytes:
    """Different for each chunk; the last one is marked, so that a cut at a chunk is found."""
    return prefix + number.to_bytes(4, "big") + bytes([is_last])
