"""Marks simulated deliveries, so that they can never pass for real ones.

Belongs here: writing and reading `SIMULATED.json`, the signed list of everything that
the simulator made or handed on unchanged (design.md, the gate). Does not belong here:
making files (`simulate`) and deciding what a profile accepts (`intake`, `release`).
The signature guards against accidents, not against malice: its key is not secret.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rcs_assets.errors import InputError

MANIFEST_NAME = "SIMULATED.json"
KINDS = ("made", "public")
_KEY_CONSTANT = b"rcs-simulated-manifest-v1"
_CHUNK_BYTES = 1 << 20


def write_simulated_manifest(
    folder: Path, files: list[Path], seed: int, *, public: Collection[Path] = ()
) -> Path:
    """Write the signed list of simulated deliveries.

    Args:
        folder: where `SIMULATED.json` is written.
        files: every delivery, made or public.
        seed: the simulator's seed; part of the signing key.
        public: those of `files` that are public files handed on unchanged.

    Returns:
        The manifest's path. The same files and seed give the same bytes.

    Raises:
        InputError: a file cannot be read, or two files have one name.
    """
    unchanged = set(public)
    entries = sorted(
        (_entry(path, "public" if path in unchanged else "made") for path in files),
        key=lambda entry: entry["name"],
    )
    if len({entry["name"] for entry in entries}) != len(entries):
        raise InputError(
            "Two simulated deliveries have one file name",
            where=MANIFEST_NAME,
            why="a delivery is recognised by its name",
            fix="give every delivery its own name",
        )
    body: dict[str, Any] = {"simulated": True, "seed": seed, "files": entries}
    path = folder / MANIFEST_NAME
    content = {**body, "signature": _signature(body)}
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path


def read_simulated_manifest(folder: Path) -> dict[str, str]:
    """The simulated deliveries listed in `folder`: sha256 → file name.

    Empty where there is no manifest: nothing there is known to be simulated.

    Raises:
        InputError: the manifest is not readable, or was changed after signing.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return {}
    content = _parse(path)
    body = {name: value for name, value in content.items() if name != "signature"}
    if not hmac.compare_digest(str(content.get("signature", "")), _signature(body)):
        raise _broken("its signature does not fit its content")
    try:
        return {entry["sha256"]: entry["name"] for entry in body["files"]}
    except (KeyError, TypeError) as error:
        raise _broken("it does not list name and sha256 of each file") from error


def sha256_of(path: Path, told: str = "") -> str:
    """The sha256 of a file's bytes as 64 hex characters, read in blocks.

    Args:
        path: the file.
        told: how a message names it; else by its name.

    Raises:
        InputError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_CHUNK_BYTES):
                digest.update(block)
    except OSError as error:
        raise InputError(
            "A delivery cannot be read",
            where=told or f"file {path.name}",
            fix="check that it exists and may be read",
        ) from error
    return digest.hexdigest()


def _entry(path: Path, kind: str) -> dict[str, str]:
    return {"name": path.name, "sha256": sha256_of(path), "kind": kind}


def _signature(body: Mapping[str, Any]) -> str:
    key = hashlib.sha256(_KEY_CONSTANT + str(body.get("seed")).encode()).digest()
    message = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken("it is not readable JSON") from error
    if not isinstance(content, dict):
        raise _broken("it is not a JSON object")
    return content


def _broken(why: str) -> InputError:
    return InputError(
        "The list of simulated deliveries cannot be trusted",
        where=f"file {MANIFEST_NAME}",
        why=why,
        fix="run `rcs simulate` again; never edit the list",
    )
