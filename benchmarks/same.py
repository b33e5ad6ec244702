"""Whether two installations made the same release: every file of one beside that of the other.

Run from the top of the project: `python -m benchmarks.same HOME OTHER`. The two were made of the
same deliveries and keys (`rcs demo` with the same seed and `--as-of`), best with another number of
threads, another hash seed, time zone and clock: docs/explanation/disclosure.md has the commands.

A file that the manifests list as not reproducible is compared by what it holds: a database table
by table, with comments, a file that quotes checksums without those of such files. Prints how many
files are the same and which are not; ends with status 1 if one differs for no listed reason.
Belongs here: the comparison. Does not belong here: whether the figures are right.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from pathlib import Path

import duckdb

QUOTING = {"manifest.json", "SHA256SUMS", "audit.jsonl", "evidence.html"}
# They quote nothing but checksums of files: any other hash in them has to be the same.
LISTS = {"manifest.json", "SHA256SUMS"}
_DIGEST = re.compile(rb"[0-9a-f]{64}")
# Bytes in a manifest, megabytes of a package on the evidence page.
_SIZE = re.compile(rb'(?<="bytes": )\d+|(?<=>)\d+\.\d(?=<)')


def digests(release: Path) -> dict[str, str]:
    """Path in the release -> sha256 of the file."""
    return {
        file.relative_to(release).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(release.rglob("*"))
        if file.is_file()
    }


def not_reproducible(release: Path) -> dict[str, str]:
    """File name -> reason, as the release's own manifest lists them."""
    said: dict[str, str] = json.loads((release / "manifest.json").read_text())["not_reproducible"]
    return said


def held(file: Path) -> dict[str, object]:
    """What a database holds: rows of each table in their order, and what is said of it."""
    con = duckdb.connect(str(file), read_only=True)
    try:
        tables = con.execute(
            "select table_name, comment from duckdb_tables() order by 1"
        ).fetchall()
        columns = con.execute(
            "select table_name, column_name, data_type, comment from duckdb_columns() "
            "where not internal order by table_name, column_index"
        ).fetchall()
        views = con.execute(
            "select view_name, sql, comment from duckdb_views() where not internal order by 1"
        ).fetchall()
        rows = {name: con.execute(f'from "{name}"').fetchall() for name, _ in tables}
        return {"tables": tables, "columns": columns, "views": views, "rows": rows}
    finally:
        con.close()


def masked(file: Path, known: set[bytes]) -> bytes:
    """A file that quotes checksums and sizes, without those that follow from a database."""
    content = file.read_bytes()
    for pattern in (_DIGEST, _SIZE):
        content = pattern.sub(lambda found: b"" if found[0] in known else found[0], content)
    return content


def differences(one: Path, other: Path) -> tuple[Counter[str], list[str]]:
    """Files by how they are the same, and those that differ for no listed reason."""
    first, second = digests(one), digests(other)
    listed = not_reproducible(one)
    wrong = [f"{path} is in one of the two only" for path in sorted(set(first) ^ set(second))]
    both = sorted(set(first) & set(second))
    apart = [path for path in both if first[path] != second[path]]
    found = Counter({"equal, byte by byte": len(both) - len(apart)})
    quoted = {side[path].encode() for path in apart for side in (first, second)}
    quoted |= {str((r / p).stat().st_size).encode() for p in apart for r in (one, other)}
    for path in apart:
        name = Path(path).name
        if name in listed and held(one / path) == held(other / path):
            found[f"{name}: the same tables, rows and comments"] += 1
        elif name in QUOTING and _same_quotes(one / path, other / path, quoted):
            found[f"{name}: the same but for checksums and sizes"] += 1
        else:
            wrong.append(f"{path} differs")
    return found, wrong


def _same_quotes(one: Path, other: Path, quoted: set[bytes]) -> bool:
    """Checksums and sizes of files that differ may differ, and hashes over lists of them."""
    known = quoted if one.name in LISTS else quoted | _in_one_only(one, other)
    return masked(one, known) == masked(other, known)


def _in_one_only(one: Path, other: Path) -> set[bytes]:
    """What stands in one of the two only: links of the log's chain, megabytes of a package."""
    sides = [
        {found for pattern in (_DIGEST, _SIZE) for found in pattern.findall(file.read_bytes())}
        for file in (one, other)
    ]
    return sides[0] ^ sides[1]


def main() -> None:
    """Compare the current releases of two installations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("other", type=Path)
    options = parser.parse_args()
    one, other = ((h / "releases" / "current").resolve() for h in (options.home, options.other))
    found, wrong = differences(one, other)
    print(f"{one.name} and {other.name}: {sum(found.values()) + len(wrong)} files")
    for what, n in sorted(found.items()):
        print(f"  {n:>5}  {what}")
    for name, why in not_reproducible(one).items():
        print(f"  listed: {name}: {why}")
    for what in wrong:
        print(f"  DIFFERS: {what}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
