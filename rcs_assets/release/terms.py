"""What a deposit says of itself beside its data: access, licence, universe, names.

Belongs here: reading `data/deposit.yaml`. Does not belong here: the documents that say it
(`documents.py`, `technical.py`, `ddi.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from typing import Any

from rcs_assets.programme.datafile import parse_yaml


@dataclass(frozen=True)
class Terms:
    """What `data/deposit.yaml` says.

    Access by pattern of path, licence by access level, universe by survey, names of contractors
    by their key in the register.
    """

    source: str
    access: tuple[tuple[str, str, str], ...]
    licence: Mapping[str, str]
    universe: Mapping[str, str]
    contractors: Mapping[str, str]

    def level(self, path: str) -> tuple[str, str]:
        """Access level of a file, and why."""
        return next((level, why) for pattern, level, why in self.access if fnmatch(path, pattern))


@cache
def load_terms() -> Terms:
    """The terms of deposits."""
    text = (resources.files("rcs_assets.release") / "data" / "deposit.yaml").read_text("utf-8")
    content: dict[str, Any] = parse_yaml(text, "rcs_assets/release/data/deposit.yaml")
    return Terms(
        content["source"],
        tuple((row["pattern"], row["level"], row["reason"]) for row in content["access"]),
        content["licence"],
        content["universe"],
        content["contractors"],
    )
