"""Splink's DuckDB backend, which asks for the columns of a table once.

Belongs here: what of Splink's backend is ours. Does not belong here: settings and scoring
(`probabilistic.py`), which alone imports this, and only when there is something to score.

Splink asks the catalogue for a table's columns some twenty times a prediction; for the few records
that the exact passes leave of a council's file this took longer than comparing them. A table that
Splink reads never changes its columns.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import duckdb
from splink import DuckDBAPI
from splink.internals.duckdb.dataframe import DuckDBDataFrame


class _Frame(DuckDBDataFrame):
    @cached_property
    def columns(self) -> list[Any]:
        found: list[Any] = super().columns
        return found


class _Backend(DuckDBAPI):
    def table_to_splink_dataframe(self, templated_name: str, physical_name: str) -> _Frame:
        return _Frame(templated_name, physical_name, self)


def make_backend(con: duckdb.DuckDBPyConnection) -> DuckDBAPI:
    """The backend on a connection of ours."""
    return _Backend(connection=con)
