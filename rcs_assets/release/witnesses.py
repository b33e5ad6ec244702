"""The witnesses of a package as files, and what the certificate says of them.

Belongs here: writing `certificate/` of the public package from the tables that disclosure
made, with the script that checks them. Does not belong here: finding witnesses
(`disclosure/witness.py`) and checking them (`verify_certificate.py`).
"""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.disclosure.policy import Policy
from rcs_assets.storage import sql_literal

FOLDER = "certificate"
SCRIPT = "verify_certificate.py"
AUDIENCE = "public"
_FILES = {"tables": "disclosure.certificate_tables", "cells": "disclosure.certificate_cells"}
_RULE = (
    "Each table fits all that the package shows; for each hidden cell one has it low and one "
    "high. Numbers of pupils may be fractions. Percentages of areas are weighted, the tables "
    "are not: pct_margin and mean_margin say how far weighting moves a figure in them."
)

# Weighting: the largest distance between a table's own figure and the shown one, beyond the
# rounding, over all tables.
_MARGINS = """
select estimates.statistic, max(abs(
    if(estimates.statistic = 'pct', 100, 1) * w.positive / w.n - estimates.estimate
))::double as distance
from disclosure.certificate_tables as w
inner join disclosure.estimates as estimates
    on estimates.audience = 'public' and estimates.survey = w.survey
    and estimates.indicator = w.indicator and estimates.geography_level = w.geography_level
    and estimates.geography_code = w.geography_code and estimates.breakdown = w.breakdown
    and estimates."group" = w."group"
where estimates.status in ('published', 'u') and w.n > 1
group by estimates.statistic
"""


def write_witnesses(
    con: duckdb.DuckDBPyConnection, package: Path, policy: Policy, *, is_simulated: bool
) -> dict[str, Any]:
    """Write `certificate/` into the public package; returns what `certificate.json` says.

    Args:
        con: a connection to the warehouse.
        package: the folder of the public package.
        policy: its steps and thresholds.
        is_simulated: whether the deliveries were.
    """
    target = package / FOLDER
    target.mkdir(parents=True)
    mark = "SIMULATED" if is_simulated else "no"
    counts = {}
    for name, relation in _FILES.items():
        counts[name] = con.execute(
            f"copy (from {relation} order by all) to {sql_literal(target / f'{name}.parquet')} "
            f"(format parquet, compression zstd, kv_metadata {{simulated: '{mark}'}})"
        ).fetchall()[0][0]
    script = resources.files("rcs_assets.release") / SCRIPT
    (target / SCRIPT).write_bytes(script.read_bytes())
    rule = policy.output_classes[policy.audiences[AUDIENCE].output_classes["cpp"]]
    steps = {"n_step": rule.n_step, "pct_step": rule.pct_step, "mean_step": rule.mean_step}
    return {
        "rule": _RULE,
        "check": f"python {FOLDER}/{SCRIPT}",
        "cells": counts["cells"],
        "k": max(rule.numerator, rule.complement),
        **steps,
        **_margins(con, rule.pct_step, rule.mean_step),
    }


def _margins(con: duckdb.DuckDBPyConnection, pct_step: float, mean_step: float) -> dict[str, float]:
    found = dict(con.execute(_MARGINS).fetchall())
    margins = {}
    for statistic, step in (("pct", pct_step), ("mean", mean_step)):
        beyond = max(0.0, (found.get(statistic) or 0.0) - step / 2)
        margins[f"{statistic}_margin"] = round(math.ceil(round(beyond / step, 6)) * step, 6)
    return margins
