"""Tables of public reference data from the publishers' files.

Belongs here: what is kept of school roll, school list, SIMD and data zones, and what is
derived on arrival. Does not belong here: reading and checking (`readers.py`,
`contracts.py`); the publishers' marks are in the contracts.
"""

from __future__ import annotations

import re

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Dataset, Sensitivity
from rcs_assets.intake.readers import quoted

# One table a vintage, which stands beside the zone.
VINTAGED = ("simd", "simd_2020v2")
_VINTAGE = re.compile(r"simd(\d{4}(?:v\d)?)")


def reference_rows(con: duckdb.DuckDBPyConnection, dataset: Dataset, file: str) -> pa.Table:
    """The rows of a reference table from `accepted`, in order of the contract's key.

    Of a school's postcode only the district is kept; the vintage of SIMD, taken from the
    file's name, stands in the key so that vintages cannot be mixed (domain.md 4.1).
    """
    kept = [
        quoted(field.name) for field in dataset.fields if field.sensitivity == Sensitivity.PAYLOAD
    ]
    if dataset.name == "school_list":
        kept.append("upper(split_part(postcode, ' ', 1)) as postcode_district")
    if dataset.name in VINTAGED:
        found = _VINTAGE.search(file)
        kept.append(f"'{found.group(1) if found else ''}' as vintage")
    order = ", ".join(quoted(name) for name in dataset.key)
    return con.execute(f"select {', '.join(kept)} from accepted order by {order}").to_arrow_table()
