"""Keyed pseudonyms, computed set-based inside DuckDB.

Belongs here: HMAC-SHA256 (RFC 2104) as a DuckDB macro over DuckDB's own sha256.
Does not belong here: which key serves which purpose (the rooms decide).
"""

from __future__ import annotations

import duckdb

_BLOCK = 64


def hmac_expression(con: duckdb.DuckDBPyConnection, name: str, key: bytes) -> str:
    """Register the macro `hmac_<name>(text)` on a connection and return its name.

    The macro gives 64 hexadecimal characters, equal to Python's `hmac` with SHA-256.
    The key lives in variables of the connection, never in the text of a query; the
    macro is temporary, so that no database file keeps it.
    """
    padded = key.ljust(_BLOCK, b"\0") if len(key) <= _BLOCK else key[:0]
    inner = bytes(byte ^ 0x36 for byte in padded)
    outer = bytes(byte ^ 0x5C for byte in padded)
    con.execute(f"set variable hmac_{name}_inner = ?::blob", [inner])
    con.execute(f"set variable hmac_{name}_outer = ?::blob", [outer])
    con.execute(
        f"create or replace temp macro hmac_{name}(txt) as "
        f"sha256(getvariable('hmac_{name}_outer') || "
        f"unhex(sha256(getvariable('hmac_{name}_inner') || encode(txt))))"
    )
    return f"hmac_{name}"
