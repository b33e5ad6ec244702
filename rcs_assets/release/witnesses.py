"""The witnesses of a package as files, and what the certificate says of them.

Belongs here: writing `certificate/` of the public package and of each CPP's from the tables
that disclosure made, with the script that checks them. Does not belong here: finding witnesses
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
_FILES = {"tables": "disclosure.certificate_tables", "cells": "disclosure.certificate_cells"}
# The levels whose hidden cells a package certifies; a CPP holds the public package as well.
_LEVELS = {"public": ("cpp", "tranche", "all"), "cpp": ("cpp", "cluster", "school")}
_RULE = (
    "Each table fits all that the package shows; for each hidden cell one has it low and one "
    "high. Numbers of pupils may be fractions. Percentages of areas are weighted; the tables fit "
    "them by weights that are not told, and pct_margin and mean_margin say how far a figure of "
    "theirs is from the shown one if all count alike; not of a stage and sex of a CPP. Numbers of "
    "pupils of areas may be off by n_slack beyond their rounding, since they stay as an earlier "
    "release showed them while few pupils have changed; 0 if all are rounded."
)

# Shown cells of areas, in each made-up table.
_AREAS = """
from disclosure.certificate_tables as w
inner join disclosure.estimates as estimates
    on estimates.audience = w.audience and estimates.survey = w.survey
    and estimates.indicator = w.indicator and estimates.geography_level = w.geography_level
    and estimates.geography_code = w.geography_code and estimates.breakdown = w.breakdown
    and estimates."group" = w."group"
where w.audience = $audience and estimates.status in ('published', 'u') and w.n > 1
    and w.geography_level in ('cpp', 'tranche', 'all')
"""
# Weighting: the largest distance between a table's figure if all count alike and the shown one,
# beyond the rounding, over all tables. Of a stage and sex of a CPP all weigh the same.
_MARGINS = f"""
select estimates.statistic, max(abs(
    if(estimates.statistic = 'pct', 100, 1) * w.positive / w.n - estimates.estimate
))::double as distance
{_AREAS}and not (w.geography_level = 'cpp' and w.breakdown = 'stage:sex')
group by estimates.statistic
"""
# Numbers that no rounding explains: an earlier release showed them.
_OFF = f"""
select coalesce(bool_or(abs(w.n - estimates.n) > w.n_step / 2 + 0.01), false)
{_AREAS}
"""


def write_witnesses(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    audience: str,
    policy: Policy,
    *,
    is_simulated: bool,
) -> dict[str, Any]:
    """Write `certificate/` into one package; returns what its `certificate.json` says.

    Args:
        con: a connection to the warehouse.
        folder: the candidate's.
        audience: `public` or `cpp/<engagement>`, which is the package's name too.
        policy: its steps and thresholds.
        is_simulated: whether the deliveries were.
    """
    target = folder / audience / FOLDER
    target.mkdir(parents=True)
    mark = "SIMULATED" if is_simulated else "no"
    counts = {}
    for name, relation in _FILES.items():
        counts[name] = con.execute(
            f"copy (select * exclude (audience) from {relation} "
            f"where audience = {sql_literal(audience)} order by all) "
            f"to {sql_literal(target / f'{name}.parquet')} "
            f"(format parquet, compression zstd, kv_metadata {{simulated: '{mark}'}})"
        ).fetchall()[0][0]
    script = resources.files("rcs_assets.release") / SCRIPT
    (target / SCRIPT).write_bytes(script.read_bytes())
    kind = audience.split("/")[0]
    rule = policy.output_classes[policy.audiences[kind].output_classes["cpp"]]
    return {
        "rule": _RULE,
        "check": f"python {FOLDER}/{SCRIPT}",
        "cells": counts["cells"],
        "levels": list(_LEVELS[kind]),
        **_largest(policy),
        "n_slack": _n_slack(con, audience, policy),
        **_margins(con, audience, rule.pct_step, rule.mean_step),
    }


def _largest(policy: Policy) -> dict[str, float]:
    """The largest steps and threshold of any row of Table A: no row of a certificate has more."""
    rows = policy.output_classes.values()
    return {
        "k_most": max(max(row.base + row.base_plus, row.pair_base) for row in rows)
        + max(row.base_plus for row in rows),
        "n_step_most": max(row.n_step for row in rows),
        "pct_step_most": max(max(row.pct_step, row.school_pct_step) for row in rows),
        "mean_step_most": max(row.mean_step for row in rows),
    }


def _n_slack(con: duckdb.DuckDBPyConnection, audience: str, policy: Policy) -> int:
    """By how many pupils numbers may be off beyond their rounding: 0 where no table makes use."""
    is_used = con.execute(_OFF, {"audience": audience}).fetchall()[0][0]
    return policy.n_slack if is_used else 0


def _margins(
    con: duckdb.DuckDBPyConnection, audience: str, pct_step: float, mean_step: float
) -> dict[str, float]:
    found = dict(con.execute(_MARGINS, {"audience": audience}).fetchall())
    margins = {}
    for statistic, step in (("pct", pct_step), ("mean", mean_step)):
        beyond = max(0.0, (found.get(statistic) or 0.0) - step / 2)
        margins[f"{statistic}_margin"] = round(math.ceil(round(beyond / step, 6)) * step, 6)
    return margins
