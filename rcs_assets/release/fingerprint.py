"""The fingerprint of what the pages of a package are made of.

Belongs here: one hash over the tables and texts of one package folder. Does not belong here: the
pages (`reporting`), and what is kept of them (`pages.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from rcs_assets.release.files import MANIFEST

# The version history is the one table that changes with every release; no page is made of it.
_HISTORY = "releases.parquet"
_SUMMARY = "summary.md"
_TECHNICAL = "technical_report.md"
_RELEASE = "release"


def figures_hash(folder: Path) -> str:
    """The fingerprint of what pages of a package are made of: its tables and its summary.

    The release's version, which stands in a column of `estimates`, is left out: it is no figure.
    So is the technical report, which tells of the whole release (`technical_hash`).

    Args:
        folder: a package with its `manifest.json`, in a candidate or a release.

    Returns:
        sha256 as hexadecimal text.
    """
    version = str(json.loads((folder / MANIFEST).read_bytes())["release"])
    digest = hashlib.sha256()
    tables = (*folder.glob("parquet/*.parquet"), *folder.glob("*.csv"))
    for file in sorted((*tables, folder / _SUMMARY)):
        if not file.is_file() or file.name == _HISTORY:
            continue
        if file.suffix == ".parquet":
            content = _rows(file)
        elif file.suffix == ".csv":
            content = re.sub(
                rb"(?m)^" + re.escape(version.encode()) + rb",", b",", file.read_bytes()
            )
        else:
            content = file.read_bytes()
        digest.update(f"{file.name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def technical_hash(folder: Path) -> str:
    """sha256 of a package's technical report but its release; empty where it has none."""
    file = folder / _TECHNICAL
    if not file.is_file():
        return ""
    version = str(json.loads((folder / MANIFEST).read_bytes())["release"])
    day = "-".join(version.split(".")[:3])
    text = file.read_bytes().replace(f"{version} of {day}".encode(), b"")
    return hashlib.sha256(text).hexdigest()


def _rows(file: Path) -> bytes:
    """A table in Arrow's form for files, without the release's version; schema and rows alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if _RELEASE not in pq.read_schema(file).names:
        return file.read_bytes()
    table = pq.read_table(file).drop_columns([_RELEASE]).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return bytes(sink.getvalue())
