"""Entries of a log chained by their hashes.

Belongs here: the hash of an entry that names the entry before. Does not belong here: what a
log records (`access_log.py`; `release/audit_log.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

START = "0" * 64


def digest(content: Mapping[str, Any]) -> str:
    """sha256 of an entry's content; `previous` in it chains the entry to the one before."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
