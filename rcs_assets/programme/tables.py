"""The programme register as tables, for the warehouse schema `programme`.

Belongs here: flattening of the register. Does not belong here: writing to the warehouse
(the asset) and reading the data files (`load.py`).
"""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa

from rcs_assets.programme.model import Engagement, Programme, SurveyWave

_ENGAGEMENTS = pa.schema(
    [
        ("engagement", pa.string()),
        ("tranche", pa.string()),
        ("cpp", pa.string()),
        ("cpp_name", pa.string()),
        ("council_code", pa.string()),
        ("council_name", pa.string()),
        ("la_code", pa.string()),
        ("health_board_code", pa.string()),
        ("health_board_name", pa.string()),
    ]
)
_WAVES = pa.schema(
    [
        ("engagement", pa.string()),
        ("survey", pa.string()),
        ("contractor", pa.string()),
        ("stages", pa.list_(pa.string())),
        ("fieldwork_start", pa.date32()),
        ("fieldwork_end", pa.date32()),
        ("design", pa.string()),
        ("mode", pa.string()),
        ("target_n", pa.int32()),
        ("source", pa.string()),
    ]
)
_TRANCHES = pa.schema(
    [
        ("key", pa.string()),
        ("number", pa.int32()),
        ("label", pa.string()),
        ("starts_on", pa.date32()),
        ("ends_on", pa.date32()),
    ]
)
_CODES = pa.schema(
    [
        ("slug", pa.string()),
        ("kind", pa.string()),
        ("code", pa.string()),
        ("valid_from", pa.date32()),
        ("valid_to", pa.date32()),
    ]
)


def programme_tables(programme: Programme) -> dict[str, pa.Table]:
    """The register as tables: table name → pyarrow.Table.

    `engagements` (grain: engagement), `waves` (engagement × survey held), `tranches`
    (tranche), `codes` (CPP × kind × first day). Approvals stay out: nobody reads them from
    the warehouse.
    """
    engagements = programme.engagements.values()
    return {
        "engagements": pa.Table.from_pylist([_engagement(e) for e in engagements], _ENGAGEMENTS),
        "waves": pa.Table.from_pylist([_wave(w) for e in engagements for w in e.waves], _WAVES),
        "tranches": pa.Table.from_pylist(
            [asdict(tranche) for tranche in programme.tranches.values()], _TRANCHES
        ),
        "codes": pa.Table.from_pylist([asdict(code) for code in programme.codes], _CODES),
    }


def _engagement(engagement: Engagement) -> dict[str, str]:
    cpp = engagement.cpp
    return {
        "engagement": engagement.key,
        "tranche": engagement.tranche,
        "cpp": cpp.slug,
        "cpp_name": cpp.name,
        "council_code": cpp.council_code,
        "council_name": cpp.council_name,
        "la_code": cpp.la_code,
        "health_board_code": cpp.health_board_code,
        "health_board_name": cpp.health_board_name,
    }


def _wave(wave: SurveyWave) -> dict[str, object]:
    return {**asdict(wave), "stages": list(wave.stages)}
