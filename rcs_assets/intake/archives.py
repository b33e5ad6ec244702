"""Opens delivered .zip archives at the door: each file inside is a delivery of its own.

Belongs here: the limits on number, size, ratio and names, and unpacking in memory. Does
not belong here: what the files are (`drop.py`, `readers.py`). An .xlsx is a zip too, but
one file to us: its limits stand in `readers.py`.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from rcs_assets.errors import InputError
from rcs_assets.storage.sealed import memory_file

MAX_MEMBERS = 64
MAX_UNPACKED_BYTES = 1 << 30
# Text of survey files compresses 10 to 50 times; a bomb thousands of times.
MAX_RATIO = 200
_RATIO_COUNTS_FROM = 1 << 20
_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 0x1


def is_archive(path: Path) -> bool:
    """Whether a file is delivered as an archive, by its name."""
    return path.suffix.lower() == ".zip"


@contextmanager
def unpacked(path: Path, folder: Path, told: str) -> Iterator[list[Path]]:
    """The files of an archive, in memory, while the block runs.

    Args:
        path: the archive.
        folder: the home's folder for temporary links.
        told: how a message names the archive.

    Raises:
        InputError: damaged, encrypted, empty, too large, or a name that is no plain file
            name; nothing of such an archive is taken.
    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            members = _judged(told, archive.infolist())
            left = MAX_UNPACKED_BYTES
            found = []
            for member in members:
                plain = stack.enter_context(memory_file(folder, member.filename))
                with archive.open(member) as source:
                    left = _copy(told, source, plain.stream, member.compress_size, left)
                found.append(plain.path)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError):
            raise _refused(
                told, "The archive is truncated or damaged", "a file in it cannot be unpacked"
            ) from None
        yield found


def _judged(told: str, members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    names = [member.filename.lower() for member in members]
    problem = ""
    if not members:
        problem = "it holds no file"
    elif len(members) > MAX_MEMBERS:
        problem = f"it holds more than {MAX_MEMBERS} files"
    elif len(set(names)) != len(names):
        problem = "two files in it have one name"
    elif any(member.flag_bits & _ENCRYPTED for member in members):
        problem = "it is locked with a password; deliveries are protected on their way instead"
    elif not all(_is_plain(member) for member in members):
        problem = "a name in it is a folder, a path, a link, a hidden file or an archive"
    elif sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
        problem = f"it unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB"
    if problem:
        raise _refused(told, "The archive cannot be taken", problem)
    return members


def _is_plain(member: zipfile.ZipInfo) -> bool:
    """A file name without folder; some programs write backslashes, some links as files."""
    name = member.filename
    mode = member.external_attr >> 16
    return (
        name == Path(name).name
        and not any(sign in name for sign in ("\\", ":", "/"))
        and name.isprintable()
        and not name.startswith(".")
        and not name.lower().endswith(".zip")
        and not member.is_dir()
        and (stat.S_IFMT(mode) in (0, stat.S_IFREG))
    )


def _copy(told: str, source: IO[bytes], target: BinaryIO, packed: int, left: int) -> int:
    """Unpack one file; what it really holds counts, not what its entry says.

    Returns:
        The bytes that the rest of the archive may still unpack to.
    """
    written = 0
    while chunk := source.read(_CHUNK_BYTES):
        written += len(chunk)
        if written > left:
            raise _refused(
                told,
                "The archive cannot be taken",
                f"it unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB",
            )
        if written > _RATIO_COUNTS_FROM and written > MAX_RATIO * max(packed, 1):
            raise _refused(
                told,
                "The archive cannot be taken",
                f"a file in it unpacks to more than {MAX_RATIO} times its size",
            )
        target.write(chunk)
    target.flush()
    return left - written


def _refused(told: str, what: str, why: str) -> InputError:
    return InputError(
        what,
        where=told,
        why=why,
        fix="ask the supplier for a plain .zip of the files themselves, or deliver them unpacked",
    )
