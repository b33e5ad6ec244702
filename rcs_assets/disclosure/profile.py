"""What stands ready for release, cell by cell: frames that the candidate suite judges.

Belongs here: the protected cells with what a suite needs beside them, and what share of
totals is shown. Does not belong here: limits (`data_quality`), Dagster (`checks.py`),
protection itself (`rules.py`), and anything unprotected.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from rcs_assets.codebook import Codebook
from rcs_assets.disclosure.drift import Since, drift_profile
from rcs_assets.disclosure.policy import Policy
from rcs_assets.storage import sql_literal

if TYPE_CHECKING:
    import pandas as pd

_CELLS = """
select
    cells.audience,
    split_part(cells.audience, '/', 1) as kind,
    coalesce(cells.tranche, '') as tranche,
    coalesce(cells.engagement, '') as engagement,
    cells.survey,
    cells.geography_level,
    cells.geography_code,
    cells.breakdown,
    cells."group",
    cells.indicator,
    cells.statistic,
    if(indicators.is_sensitive, 'sensitive', 'ordinary') as sensitivity,
    cells.status,
    coalesce(cells.note, '') as note,
    cells.n::double as n,
    cells.estimate::double as estimate,
    cells.ci_low::double as ci_low,
    cells.ci_high::double as ci_high,
    (cells.ci_high - cells.ci_low)::double as interval_width,
    (cells.n is not null)::integer + (cells.estimate is not null)::integer as main_figures_filled,
    main_figures_filled + (cells.ci_low is not null)::integer + (cells.ci_high is not null)::integer
    as figures_filled,
    100.0 * (cells.estimate::double - scores.low) / (scores.high - scores.low)
    as mean_position_pct,
from disclosure.estimates as cells
left join codebook.indicators as indicators on cells.indicator = indicators.name
left join ({scores}) as scores
    on cells.statistic = 'mean' and indicators.score = scores.score
order by all
"""

_COVERAGE = """
select
    audience,
    survey,
    100.0 * avg((status in ('published', 'u'))::integer) as shown_totals_pct,
from disclosure.estimates
where breakdown = 'total' and geography_level = 'cpp' and status not in ('x', 'z')
group by all
order by all
"""


def disclosure_profiles(
    con: duckdb.DuckDBPyConnection,
    codebook: Codebook,
    policy: Policy,
    earlier: Sequence[Path] = (),
    since: Since | None = None,
) -> dict[str, pd.DataFrame]:
    """The profile frames of the boundary candidate.

    Args:
        con: a warehouse connection; read only.
        codebook: gives the lowest and highest value of each score.
        policy: of how many contributors a change may be told.
        earlier: folders of the releases before, oldest first.
        since: children whom opt-outs moved since the newest of them.

    Returns:
        `cells` (a row of disclosure.estimates each), `coverage` and `drift` (audience × survey).
    """
    scores = " union all ".join(
        f"select {sql_literal(name)} as score, {low} as low, {high} as high"
        for name, (low, high) in score_limits(codebook).items()
    )
    return {
        "cells": con.execute(_CELLS.format(scores=scores)).df(),
        "coverage": con.execute(_COVERAGE).df(),
        "drift": drift_profile(con, earlier, since or Since(), policy.changed_least),
    }


def score_limits(codebook: Codebook) -> dict[str, tuple[float, float]]:
    """Score → lowest and highest value it can have; scales, composites and converted scores."""
    limits: dict[str, tuple[float, float]] = {}
    for instrument in codebook.instruments.values():
        for scale in instrument.scales:
            limits[scale.name] = (scale.low, scale.high)
            if scale.conversion:
                metric = codebook.conversions[scale.conversion].values()
                limits[f"{scale.conversion}_metric"] = (min(metric), max(metric))
        for composite in instrument.composites:
            parts = [limits[name] for name in composite.scales]
            limits[composite.name] = (sum(p[0] for p in parts), sum(p[1] for p in parts))
    return limits
