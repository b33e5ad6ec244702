"""Frames of the quality ladder: the estimates by indicator, and beside the last release.

Belongs here: counting the cells that break a rule, nested bands, design effects, the drift of
totals from what the last release shows. Does not belong here: limits and rungs
(`data_quality/ladder.py`), Dagster (`checks.py`).
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from rcs_assets.codebook.model import Codebook, Indicator
from rcs_assets.wellbeing.breakdowns import AREAS, BREAKDOWNS, ROLL_BREAKDOWNS, listed

if TYPE_CHECKING:
    import pandas as pd

_METHODS = ("logit", "t", "wilson", "indicative", "none")
_REASONS = ("", "not_asked", "no_roll", "no_data", "not_comparable")
# Where the public figures of the last release lie.
_LAST = ("current", "public", "parquet", "estimates.parquet")
_TOLERANCE = 1e-6


def ladder_profiles(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, releases: Path
) -> dict[str, pd.DataFrame]:
    """The frames `cells`, `bands`, `effects` and `drift`.

    `cells`: a row an indicator with the number of its cells that break each rule of the ladder;
    `bands`: a row a CPP and pair of indicators of one score whose limits lie in each other;
    `effects`: the pooled design effects farthest out; `drift`: a row a CPP's total that the last
    release shows, the distance in points or scores (null in the other); no row without a release.

    Args:
        con: a connection that sees `wellbeing.estimates`.
        codebook: ends and limits of scores.
        releases: the folder of the releases.
    """
    limits = {
        scale.name: (scale.low, scale.high)
        for instrument in codebook.instruments.values()
        for scale in instrument.scales
    }
    rows = [
        {"indicator": i.name, "low": low, "high": high}
        for i in codebook.indicators.values()
        for low, high in [limits.get(i.rule.score, (None, None))]
    ]
    kinds = pa.schema([("indicator", pa.string()), ("low", pa.float64()), ("high", pa.float64())])
    con.register("ladder_limits", pa.Table.from_pylist(rows, kinds))
    con.register("ladder_bands", _nested_bands(codebook))
    frames = {
        "cells": con.execute(_cells_sql()).df(),
        "bands": con.execute(_BANDS).df(),
        "effects": con.execute(_EFFECTS).df(),
        "drift": _drift(con, releases),
    }
    con.unregister("ladder_limits")
    con.unregister("ladder_bands")
    return frames


def _nested_bands(codebook: Codebook) -> pa.Table:
    """Pairs of percentages of one score, survey and stages, one's limits within the other's."""

    def key(i: Indicator) -> tuple[object, ...]:
        return (i.survey, i.stages, i.rule.score)

    bands = [
        i
        for i in codebook.indicators.values()
        if i.statistic == "pct" and i.rule.lower is not None and i.rule.upper is not None
    ]
    pairs = [
        {"narrow": a.name, "wide": b.name}
        for a, b in permutations(bands, 2)
        if key(a) == key(b)
        and (b.rule.lower or 0) <= (a.rule.lower or 0)
        and (a.rule.upper or 0) <= (b.rule.upper or 0)
    ]
    return pa.Table.from_pylist(pairs, pa.schema([("narrow", pa.string()), ("wide", pa.string())]))


def _cells_sql() -> str:
    """Counts of cells; a whole table of them would be as many rows as pupils."""
    known = f"""
        geography_level in ({listed(tuple(AREAS))}) and breakdown in ({listed(tuple(BREAKDOWNS))})
        and statistic in ('pct', 'mean') and method in ({listed(_METHODS)})
        and reason in ({listed(_REASONS)})
    """
    parts = [name for name in ROLL_BREAKDOWNS if name != "total"]
    return f"""
        with cells as (
            select
                estimates.*, limits.low, limits.high,
                count(*) over (
                    partition by engagement, tranche, survey, geography_level, geography_code,
                        breakdown, "group", indicator
                ) as same_n
            from wellbeing.estimates as estimates
            left join ladder_limits as limits using (indicator)
        ),
        sums as (
            select
                survey, indicator, engagement, tranche, geography_level, geography_code,
                breakdown, sum(coalesce(base_n, 0)) as base_n
            from cells
            where breakdown in ({listed(tuple(ROLL_BREAKDOWNS))}) and survey <> 'parent'
            group by all
        ),
        gaps as (
            select parts.survey, parts.indicator, count(*) as gap_n
            from sums as parts
            inner join sums as total
                on
                    total.breakdown = 'total' and total.survey = parts.survey
                    and total.indicator = parts.indicator
                    and total.engagement is not distinct from parts.engagement
                    and total.tranche is not distinct from parts.tranche
                    and total.geography_level = parts.geography_level
                    and total.geography_code = parts.geography_code
            where parts.breakdown in ({listed(tuple(parts))}) and parts.base_n <> total.base_n
            group by all
        )
        select
            survey, indicator,
            coalesce(count_if(same_n > 1), 0) as repeated_n,
            coalesce(count_if(not coalesce({known}, false)), 0) as unknown_n,
            coalesce(count_if((reason = '') <> (estimate is not null)), 0) as empty_n,
            coalesce(count_if(
                not estimate between
                if(statistic = 'pct', 0, coalesce(low, estimate)) - {_TOLERANCE}
                and if(statistic = 'pct', 100, coalesce(high, estimate)) + {_TOLERANCE}
            ), 0) as outside_n,
            coalesce(count_if(
                not estimate between ci_low - {_TOLERANCE} and ci_high + {_TOLERANCE}
            ), 0) as interval_n,
            coalesce(count_if(numerator_n > base_n or base_n > roll_n), 0) as count_n,
            coalesce(any_value(gaps.gap_n), 0) as gap_n
        from cells
        left join gaps using (survey, indicator)
        group by all
        order by all
    """


_BANDS = """
    select
        narrow.engagement, bands.narrow, bands.wide,
        narrow.estimate as narrow_pct, wide.estimate as wide_pct
    from ladder_bands as bands
    inner join wellbeing.estimates as narrow on bands.narrow = narrow.indicator
    inner join wellbeing.estimates as wide
        on
            bands.wide = wide.indicator
            and narrow.engagement = wide.engagement
            and wide.geography_level = 'cpp'
            and wide.breakdown = 'total'
    where narrow.geography_level = 'cpp' and narrow.breakdown = 'total'
    order by all
"""

_EFFECTS = """
    select survey, indicator, max(design_effect) as design_effect
    from wellbeing.estimates
    where geography_level = 'cpp' and breakdown = 'total' and design_effect is not null
    group by all
    order by all
"""

_DRIFT = """
    select
        now.engagement, now.survey, now.indicator,
        if(now.statistic = 'pct', abs(now.estimate - before.estimate::double), null)
            as drift_points,
        if(now.statistic = 'mean', abs(now.estimate - before.estimate::double) / now.sd, null)
            as drift_scores
    from wellbeing.estimates as now
    inner join last_release as before using (engagement, survey, indicator)
    where
        now.geography_level = 'cpp' and now.breakdown = 'total' and now.survey <> 'parent'
        and now.estimate is not null
    order by all
"""


def _drift(con: duckdb.DuckDBPyConnection, releases: Path) -> pd.DataFrame:
    """Totals of CPPs that the last release shows of the same wave, and how far they are from it."""
    file = releases.joinpath(*_LAST)
    # The connection of the warehouse opens no other file: the release is read by one of its own.
    with duckdb.connect() as reader:
        if file.is_file():
            reader.execute("create table held as select * from read_parquet(?)", [str(file)])
        else:
            reader.execute(
                "create table held (engagement varchar, survey varchar, indicator varchar, "
                "estimate double, geography_level varchar, breakdown varchar, status varchar)"
            )
        before = reader.execute(
            "select engagement, survey, indicator, estimate::double as estimate from held where "
            "geography_level = 'cpp' and breakdown = 'total' and status in ('published', 'u')"
        ).to_arrow_table()
    con.register("last_release", before)
    frame = con.execute(_DRIFT).df()
    con.unregister("last_release")
    return frame
