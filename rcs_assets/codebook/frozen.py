"""Codebooks as they were: whole versions kept beside the current one, to count by again.

Belongs here: keeping the version that holds now, and reading those that were kept. Does not belong
here: counting by them (`wellbeing/definition_sets.py`), the files of a version (`load.py`).

A version is kept as the files that make it, byte for byte, the platform's and the adopter's, in
`config/codebooks/<name>/`: it has the same sha256 for ever, whatever the platform's own files say
by then. It is never edited: another version gets another name.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rcs_assets.codebook.load import FILES, PLATFORM, load_codebook
from rcs_assets.codebook.model import Codebook
from rcs_assets.errors import InputError

FOLDER = "codebooks"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


def freeze(config: Path, name: str) -> Codebook:
    """Keep the codebook that holds now under a name.

    Args:
        config: the home's overlay folder, which need not be there yet.
        name: small letters, digits, `.`, `_`, `-`.

    Returns:
        The codebook that was kept, as it reads from its copy.

    Raises:
        InputError: the name is none, or is taken.
        ConfigurationError: the codebook that holds now is not valid.
    """
    current = load_codebook(config)
    target = config / FOLDER / name
    if not _NAME.fullmatch(name):
        raise InputError(
            "A codebook cannot be kept under this name",
            where=f"name {name}",
            why="it becomes the name of a folder and of a definition set",
            fix="use small letters, digits, dots, dashes and underscores",
        )
    if target.exists():
        raise InputError(
            "A codebook of this name is kept already",
            where=f"{FOLDER}/{name}",
            why="a kept version is never changed",
            fix="choose another name",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        made = Path(folder) / name
        for part, source in (("platform", PLATFORM), ("overlay", config)):
            (made / part).mkdir(parents=True)
            for file in FILES:
                if (source / file).is_file():
                    shutil.copyfile(source / file, made / part / file)
        made.rename(target)
    kept = _read(target)
    if kept.version != current.version:
        shutil.rmtree(target)
        raise InputError(
            "The codebook changed while it was kept",
            where=f"{FOLDER}/{name}",
            fix="run the command again when nobody edits config/",
        )
    return kept


def frozen_codebooks(config: Path) -> Mapping[str, Codebook]:
    """The codebooks that are kept, by name; none where the folder is not there.

    Raises:
        ConfigurationError: a file of one is missing or not valid.
    """
    folder = config / FOLDER
    if not folder.is_dir():
        return {}
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and _NAME.fullmatch(p.name))
    return {name: _read(folder / name) for name in names}


def _read(folder: Path) -> Codebook:
    return load_codebook(folder / "overlay", folder / "platform")
