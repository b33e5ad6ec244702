"""Names of the geographies that a release speaks of.

Belongs here: level, code, name and parent of CPPs, tranches and all. Does not belong here:
schools (the release adds them from the public list) and who takes part (`programme`).
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from rcs_assets.programme import Programme

ALL_NAME = "All areas that took part (not Scotland)"


def geography_table(programme: Programme, engagements: Iterable[str]) -> pa.Table:
    """One row a geography of the engagements given.

    Returns:
        `geography_level, geography_code, geography_name, parent_level, parent_code,
        engagement`; a CPP has the council's current code (interfaces.md).
    """
    chosen = [programme.engagements[key] for key in engagements]
    tranches = sorted({engagement.tranche for engagement in chosen})
    rows: list[tuple[str | None, ...]] = [
        ("all", "all", ALL_NAME, None, None, None),
        *(("tranche", t, programme.tranches[t].label, "all", "all", None) for t in tranches),
        *(("cpp", e.cpp.council_code, e.cpp.name, "tranche", e.tranche, e.key) for e in chosen),
    ]
    names = (
        "geography_level",
        "geography_code",
        "geography_name",
        "parent_level",
        "parent_code",
        "engagement",
    )
    columns = zip(*rows, strict=True)
    return pa.table(
        {name: pa.array(list(c), pa.string()) for name, c in zip(names, columns, strict=True)}
    )
