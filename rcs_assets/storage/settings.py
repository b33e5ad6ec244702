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

# A size as DuckDB reads it.
_SIZE = re.compile(r"\s*\d+(\.\d+)?\s*([KMGT]i?B|%)\s*", re.IGNORECASE)


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
        threads = os.environ.get("RCS_THREADS", "") or str(os.cpu_count() or 1)
        if not threads.isdigit() or int(threads) < 1:
            raise ConfigurationError(
                "RCS_THREADS is not a number of threads", fix="set it to 1 or more, or unset it"
            )
        memory_limit = os.environ.get("RCS_MEMORY_LIMIT", "") or "2GB"
        if not _SIZE.fullmatch(memory_limit):
            raise ConfigurationError(
                "RCS_MEMORY_LIMIT is no size", fix="write it like 2GB, or unset it"
            )
        return cls(
            threads=int(threads),
            memory_limit=memory_limit,
            as_of=parse_day(as_of or os.environ.get("RCS_AS_OF", "")),
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
