"""What an adopter's overlay folder (`config/`) may hold.

Belongs here: the names that rooms read there, and refusing a name that none reads: its rules would
not hold, and nobody would be told. Does not belong here: reading a file; each room reads its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

from rcs_assets.codebook.frozen import FOLDER as CODEBOOKS
from rcs_assets.codebook.load import FILES as CODEBOOK_FILES
from rcs_assets.codebook.wording import LICENCES, WORDING
from rcs_assets.disclosure.policy import POLICY_FILE
from rcs_assets.errors import ConfigurationError
from rcs_assets.linkage.model import FITTED_FILE
from rcs_assets.programme import load_programme
from rcs_assets.programme.load import COLUMNS as REGISTER_FILES
from rcs_assets.programme.tracking import FILES as TRACKING_FILES
from rcs_assets.release.approval import APPROVERS_FILE
from rcs_assets.release.candidate import SUMMARIES
from rcs_assets.release.rules_in_force import FILES as RULES_FILES

FILES = frozenset(
    [
        *REGISTER_FILES,
        *TRACKING_FILES,
        *CODEBOOK_FILES,
        *(LICENCES, WORDING, FITTED_FILE, POLICY_FILE, APPROVERS_FILE),
        *chain.from_iterable(RULES_FILES.values()),
        # Of `data_quality`, which checks alone may import.
        *("thresholds.csv", "benchmarks.csv"),
    ]
)
FOLDERS = frozenset({CODEBOOKS, SUMMARIES})
# Notes, hidden files and what editors leave: nobody expects a rule of them.
_ASIDE = re.compile(r"[.~].*|.*~|.*\.(md|txt)")


def refuse_unread(config: Path) -> None:
    """Refuse what stands in an overlay folder under a name that nothing reads.

    Args:
        config: the folder, which need not be there.

    Raises:
        ConfigurationError: names the folder, each such name and the nearest that is read.
    """
    unread = list(_unread(config)) if config.is_dir() else []
    if unread:
        raise ConfigurationError(
            "The overlay holds a name that nothing reads",
            where=f"folder {config}: {', '.join(unread)}",
            why="a file is read by its name alone: what stands in this one would not hold",
            fix="correct the name, or move the file out of the folder",
        )


def _unread(config: Path) -> Iterator[str]:
    for path in sorted(config.iterdir()):
        known = FOLDERS if path.is_dir() else FILES
        if path.name not in known and not _ASIDE.fullmatch(path.name):
            yield _beside_nearest(path.name, known)
    summaries = {f"{key}.md" for key in load_programme(config).engagements}
    for path in sorted((config / SUMMARIES).glob("*.md")):
        if path.name not in summaries:
            yield _beside_nearest(path.name, summaries)


def _beside_nearest(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name.casefold(), known, n=1)
    return f"{name} (nearest that is read: {near[0]})" if near else name
