"""Settings of one process, read once at the edge.

Belongs here: how much of the machine to use and which day it is. Does not belong
here: anything that changes a result (that is programme, codebook or policy data).
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from datetime import date

from rcs_assets.errors import ConfigurationError
from rcs_assets.storage.home import Home

# A size as DuckDB reads it, and what its units come to.
_SIZE = re.compile(r"\s*(?P<number>[0-9]+(\.[0-9]+)?)\s*(?P<unit>[KMGT]i?B)\s*", re.IGNORECASE)
_UNITS = {
    f"{letter}{unit}": base**power
    for power, letter in enumerate("kmgt", 1)
    for unit, base in (("b", 1000), ("ib", 1024))
}
# DuckDB opens no database with less than some megabytes, and counts in 64 bits.
_LEAST_BYTES, _MOST_BYTES = 64 * 10**6, 2**63
# Each is a thread of the operating system, begun at once.
_MOST_THREADS = 1024


@dataclass(frozen=True)
class Settings:
    """`threads` and `memory_limit` (DuckDB syntax) of each connection; `as_of` fixes all times."""

    threads: int
    memory_limit: str
    as_of: date

    @classmethod
    def from_environment(cls, *, as_of: str = "") -> Settings:
        """Read RCS_THREADS, RCS_MEMORY_LIMIT and RCS_AS_OF; `as_of` given wins.

        Raises:
            ConfigurationError: a value that is no number of threads, no size or no day.
        """
        return cls(
            threads=_threads(os.environ.get("RCS_THREADS", "") or str(os.cpu_count() or 1)),
            memory_limit=_memory_limit(os.environ.get("RCS_MEMORY_LIMIT", "") or "2GB"),
            as_of=parse_day(as_of or os.environ.get("RCS_AS_OF", "")),
        )


def _threads(text: str) -> int:
    if re.fullmatch("[0-9]{1,4}", text) and 1 <= int(text) <= _MOST_THREADS:
        return int(text)
    raise ConfigurationError(
        "RCS_THREADS is not a number of threads",
        where="environment variable RCS_THREADS",
        why=f"it is a whole number from 1 to {_MOST_THREADS}",
        fix="set it to such a number, or unset it",
    )


def _memory_limit(text: str) -> str:
    size = _SIZE.fullmatch(text)
    if size and _LEAST_BYTES <= float(size["number"]) * _UNITS[size["unit"].lower()] < _MOST_BYTES:
        return text
    raise ConfigurationError(
        "RCS_MEMORY_LIMIT is no size",
        where="environment variable RCS_MEMORY_LIMIT",
        why="it is a number with a unit (MB, GB, TB, or MiB, GiB, TiB), from 64MB on",
        fix="write it like 2GB, or unset it",
    )


def operator_name(home: Home) -> str:
    """Who runs this process: the person that RCS_OPERATOR names, else the account.

    The author of a release may not approve it. In the demo profile it is always `demo`, so
    that two machines make the same release.
    """
    if home.profile == "demo":
        return "demo"
    return os.environ.get("RCS_OPERATOR", "").strip() or pwd.getpwuid(os.getuid()).pw_name


def parse_day(text: str) -> date:
    """A day as YYYY-MM-DD; today if empty.

    Raises:
        ConfigurationError: anything else.
    """
    if not text:
        return date.today()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            "The day given as --as-of cannot be read", why="days are written YYYY-MM-DD"
        ) from None
