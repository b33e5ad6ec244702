"""The text of a delivered CSV file: which encoding it has, and the same text in UTF-8.

Belongs here: finding the encoding safely, refusing bytes that are no text, limits of the
first line. Does not belong here: lines and cells (`readers.py`).

Safe means: a byte order mark decides; else UTF-8 if every byte fits; else the contract's
other encoding, if it has one, every byte fits, and nothing in the file is UTF-8 as well: a
file that mixes the two is refused, since a name would be garbled without a trace.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rcs_assets.codebook import Dataset
from rcs_assets.errors import InputError
from rcs_assets.storage.sealed import memory_file

MAX_FIRST_LINE = 1 << 20
_CHUNK_BYTES = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_ALSO_UTF8 = re.compile(rb"[\xc3-\xf4][\x80-\xbf]")
# Tab and line breaks are text; other control characters come from damaged or binary files.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@contextmanager
def text_of(path: Path, dataset: Dataset) -> Iterator[Path]:
    """The file as UTF-8: itself, or a copy in memory while the block runs.

    Raises:
        InputError: it is in no encoding that the contract knows.
    """
    encoding = found_encoding(path, dataset)
    if encoding == "utf-8":
        yield path
        return
    with memory_file(path.parent, path.name) as copy:
        with path.open("rb") as source:
            for text in _decoded(source, encoding):
                copy.stream.write(text.encode())
        copy.stream.flush()
        yield copy.path


def found_encoding(path: Path, dataset: Dataset) -> str:
    """`utf-8`, `utf-16` or the contract's other encoding.

    Raises:
        InputError: none of them fits.
    """
    with path.open("rb") as stream:
        head = stream.read(4)
    if not head.startswith(_UTF32):
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                if not _fits(path, encoding):
                    break
                return encoding
        else:
            for encoding in dict.fromkeys((dataset.encoding, "utf-8", dataset.other_encoding)):
                if encoding and _fits(path, encoding):
                    return "utf-8" if encoding == "utf8" else encoding
    raise not_encoded(path.name, dataset, "")


def refuse_no_text(path: Path, dataset: Dataset) -> None:
    """Refuse a file with bytes that no text has, or with a first line without end.

    Raises:
        InputError: control characters such as NUL; a first line of more than a mebibyte.
    """
    with path.open("rb") as source:
        if not re.search(rb"[\r\n]", source.read(MAX_FIRST_LINE)):
            raise _endless(path.name)
    encoding = found_encoding(path, dataset)
    with path.open("rb") as source:
        is_binary = any(_CONTROL.search(text) for text in _decoded(source, encoding))
    if is_binary:
        raise InputError(
            "The file is not plain text",
            where=f"file {path.name}",
            why="it holds control characters such as NUL",
            fix="ask the supplier to write the file again",
        )


def read_first_line(text: Path, file: str) -> str:
    """The header line of a UTF-8 file, without its line break.

    Raises:
        InputError: it has no end within a mebibyte.
    """
    with text.open(encoding="utf-8-sig", newline="") as stream:
        line, *rest = re.split("\r\n|\n|\r", stream.read(MAX_FIRST_LINE), maxsplit=1)
    if not rest:
        raise _endless(file)
    return line


def _endless(file: str) -> InputError:
    return InputError(
        "The file is truncated, or its first line has no end",
        where=f"file {file}, line 1",
        why=f"a header ends with a line break and is at most {MAX_FIRST_LINE >> 20} MiB long",
        fix="ask the supplier to write the file again, one record a line",
    )


def not_encoded(file: str, dataset: Dataset, where: str) -> InputError:
    """The refusal of a file in another encoding."""
    known = " or ".join(filter(None, (dataset.encoding, dataset.other_encoding)))
    return InputError(
        "The file is not in its declared encoding",
        where=f"file {file}" + (f", {where}" if where else ""),
        why=f"the contract says {known}, all through",
        fix=f"save the file as {dataset.encoding} and deliver it again",
    )


def _fits(path: Path, encoding: str) -> bool:
    if encoding not in ("utf-8", "utf8", "utf-16") and _is_partly_utf8(path):
        return False
    try:
        with path.open("rb") as source:
            for _ in _decoded(source, encoding):
                pass
    except UnicodeError:
        return False
    return True


def _is_partly_utf8(path: Path) -> bool:
    with path.open("rb") as source:
        before = b""
        while chunk := source.read(_CHUNK_BYTES):
            if _ALSO_UTF8.search(before + chunk):
                return True
            before = chunk[-1:]
    return False


def _decoded(source: BinaryIO, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    while chunk := source.read(_CHUNK_BYTES):
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)
