"""What the platform writes is for the account that it runs under, and for nobody else.

Belongs here: the mask of every process that writes to a home. Does not belong here: the modes of
keys and of the vault, which hold whatever the mask is; nothing of the platform is imported.

A home is closed by its own mode (`storage/home.py`). Where that is loosened by a slip, or a file is
copied with its mode, the file's own is the second guard.
"""

from __future__ import annotations

import os

_MASK = 0o077


def write_for_owner_only() -> None:
    """From here on files are made 0600 and folders 0700; of this process and those it starts."""
    os.umask(_MASK)
