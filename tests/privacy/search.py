"""Looks for planted identifiers in every file of a home outside drop and vault.

Belongs here: spellings of an identifier, and decoding files (DuckDB and SQLite
tables, Parquet, archives) so that compression hides nothing. Does not belong here:
planting; that is the test's.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

# Bytes by which a text is looked up, how many slots they fall into, how much is read at once.
_HEAD, _BITS, READ_AT_ONCE = 4, 22, 1 << 22
MAY_HOLD_IDENTIFIERS = ("drop", "vault.duckdb", "vault.duckdb.wal")


@dataclass(frozen=True)
class Finding:
    """One spelling of a canary in one file."""

    file: str
    canary: str
    spelling: str


def spellings(text: str) -> set[bytes]:
    """A text in other cases and spacings, and its unsalted hashes."""
    plain = {text, text.lower(), text.upper(), text.title(), text.replace(" ", "")}
    plain |= {part.lower().replace(" ", "") for part in plain}
    hashed = {
        digest
        for part in plain
        for name in ("md5", "sha1", "sha256")
        for digest in (hashlib.new(name, part.encode()).hexdigest(),)
    }
    return {part.encode() for part in plain | hashed | {h.upper() for h in hashed}}


def date_spellings(day: date) -> set[bytes]:
    """A day in the formats that files and logs use, and its unsalted hashes."""
    forms = ("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d%m%Y", "%d %B %Y", "%d %b %Y")
    written = {day.strftime(form) for form in forms} | {day.strftime("%Y%m%d")}
    return set().union(*(spellings(text) for text in written))


def search_home(home: Path, canaries: dict[str, set[bytes]]) -> list[Finding]:
    """Every planted spelling in every file of the home that may not hold identifiers."""
    findings = []
    finder = Finder({form for forms in canaries.values() for form in forms})
    for file in sorted(home.rglob("*")):
        relative = file.relative_to(home)
        if relative.parts[0] in MAY_HOLD_IDENTIFIERS or not file.is_file() or file.is_symlink():
            continue
        for content in _contents(file):
            found = finder.find(content)
            findings += [
                Finding(str(relative), name, spelling.decode())
                for name, forms in canaries.items()
                for spelling in forms
                if spelling in found
            ]
    return findings


class Finder:
    """Which of some thousand texts stand in a content, at any byte: read once, not once a text.

    The first four bytes of a text are looked for everywhere at once; where they stand, the text is
    compared whole.
    """

    def __init__(self, texts: Iterable[bytes]) -> None:
        """Sort the texts by how they begin."""
        self._short: list[bytes] = []
        self._by_head: dict[bytes, list[bytes]] = {}
        self._may_begin = np.zeros(1 << _BITS, dtype=bool)
        for text in texts:
            if len(text) < _HEAD:
                self._short.append(text)
            else:
                self._by_head.setdefault(text[:_HEAD], []).append(text)
        heads = np.frombuffer(b"".join(self._by_head), dtype="<u4")
        self._may_begin[_slot(heads)] = True

    def find(self, content: bytes) -> set[bytes]:
        """The texts that stand in it."""
        found = {text for text in self._short if text in content}
        for begin in range(_HEAD):
            for part in range(begin, len(content) - _HEAD + 1, READ_AT_ONCE):
                count = min(READ_AT_ONCE, len(content) - part) // _HEAD
                heads = np.frombuffer(content, dtype="<u4", count=count, offset=part)
                for at in np.flatnonzero(self._may_begin[_slot(heads)]).tolist():
                    place = part + _HEAD * at
                    there = self._by_head.get(content[place : place + _HEAD], ())
                    found.update(text for text in there if content.startswith(text, place))
        return found


def _slot(heads: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return (heads * np.uint32(2654435761)) >> np.uint32(32 - _BITS)


def _contents(file: Path) -> Iterator[bytes]:
    raw = file.read_bytes()
    yield raw
    if raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
    if raw[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if raw[:16] == b"SQLite format 3\0":
        yield from _sqlite(file)
    if raw[8:12] == b"DUCK":
        yield from _duckdb(file)
    if raw[:4] == b"PAR1":
        yield _rows(duckdb.sql(f"select * from read_parquet('{file}')").fetchall())


def _sqlite(file: Path) -> Iterator[bytes]:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as con:
        tables = con.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            yield _rows(con.execute(f'select * from "{table}"').fetchall())


def _duckdb(file: Path) -> Iterator[bytes]:
    con = duckdb.connect(str(file), read_only=True)
    try:
        for schema, table in con.execute(
            "select schema_name, table_name from duckdb_tables()"
        ).fetchall():
            yield _rows(con.execute(f'select * from "{schema}"."{table}"').fetchall())
    finally:
        con.close()


def _rows(rows: Iterable[tuple[object, ...]]) -> bytes:
    return "\n".join("\t".join(map(str, row)) for row in rows).encode()
