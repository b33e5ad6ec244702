"""Errors that every room raises.

Belongs here: the base class of all errors that a user may see, and the few
subclasses that more than one room needs. Does not belong here: anything that
imports a room, Dagster or DuckDB; this module stands below all rooms.

A message answers four questions: what went wrong, where (file, row or column),
why (the rule) and what to do next. It never holds a value from a record.
"""

from __future__ import annotations


class RcsError(Exception):
    """Base of every error of the platform.

    Args:
        what: what went wrong, in one sentence.
        where: file, table, row or column; never a value from a record.
        why: the rule that was broken, with its source where there is one.
        fix: what the reader does next, a command where there is one.
    """

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix
        super().__init__(self._text())

    def _text(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"Where: {self.where}")
        if self.why:
            parts.append(f"Why: {self.why}")
        if self.fix:
            parts.append(f"What to do: {self.fix}")
        # A dot that is there ends the sentence, and more may be a path: `..` is not `.`.
        return " ".join(part if part.endswith(".") else f"{part}." for part in parts)


class ConfigurationError(RcsError):
    """The programme, codebook, policy or settings data contradict themselves."""


class WrongUseError(ConfigurationError):
    """Options of a command that do not go together, or one that is missing beside another."""


class InputError(RcsError):
    """A delivered file, or an argument of an engine, breaks its contract."""


class StorageError(RcsError):
    """A zone cannot be opened, locked or written."""


class GateRefusedError(RcsError):
    """The gate refused to publish."""
