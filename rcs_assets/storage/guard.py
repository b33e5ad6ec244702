"""The guard of the zones: no connection holds an identifier and a payload column together.

Belongs here: which names are identifiers and which are payload, and the refusal of a connection
that holds a name of the other zone, whatever put it there. Does not belong here: opening zones
(`connect.py`), and intake's scratch connection, the one place where a supplier's own file is
whole until it is split (design.md, Zones).

It fails closed: a zone is looked at when it is opened and before it is closed, so that a name
that came in stops the run that brought it and every later one.
"""

from __future__ import annotations

import duckdb

from rcs_assets.codebook import Codebook, Sensitivity
from rcs_assets.errors import StorageError

ALSO_IDENTIFYING = frozenset(
    {"uid", "dob", "birth_date", "forename", "name_of_child", "address", "supplier_id", "chi"}
)
# Named alike for pseudonyms: intake mints its own `record_id`, linkage its own `project_id`.
MINTED = frozenset({"record_id", "project_id"})


def identifier_columns(codebook: Codebook) -> frozenset[str]:
    """Names that no table of the warehouse may have: identifiers of the contracts, and others."""
    fields = [field for dataset in codebook.datasets.values() for field in dataset.fields]
    identifiers = {f.name for f in fields if f.sensitivity is Sensitivity.IDENTIFIER}
    shared = {f.name for f in fields if f.sensitivity in (Sensitivity.PAYLOAD, Sensitivity.BOTH)}
    return frozenset(identifiers - shared - MINTED) | ALSO_IDENTIFYING


def payload_columns(codebook: Codebook) -> frozenset[str]:
    """Names that no table of the vault may have: answers, and attributes of single children.

    Attributes come from contracts that name a child at all; a service or a school has none.
    """
    datasets = codebook.datasets.values()
    fields = [field for dataset in datasets for field in dataset.fields]
    shared = {f.name for f in fields if f.sensitivity is not Sensitivity.PAYLOAD}
    attributes = {
        field.name
        for dataset in datasets
        if any(f.sensitivity is not Sensitivity.PAYLOAD for f in dataset.fields)
        for field in dataset.fields
    }
    surveys = {dataset.survey for dataset in datasets if dataset.survey}
    answers = {v.name for survey in surveys for v in codebook.variables_of(survey)}
    return frozenset((attributes - shared) | answers)


def refuse_names(con: duckdb.DuckDBPyConnection, zone: str, forbidden: frozenset[str]) -> None:
    """Refuse a connection on which any table or view, kept or temporary, has a forbidden column.

    Raises:
        StorageError: names tables and columns, never a value.
    """
    columns = con.execute(
        "select distinct table_name, lower(column_name) from duckdb_columns() where not internal"
    ).fetchall()
    found = sorted(f"{table}.{column}" for table, column in columns if column in forbidden)
    if found:
        raise StorageError(
            f"The {zone} holds columns of another zone",
            where=", ".join(found[:5]),
            why="identifiers and payload never meet on one connection (design.md, Zones)",
            fix=f"find out what wrote them; then move {zone}.duckdb aside: rcs materialise makes "
            "it anew from the drop",
        )
