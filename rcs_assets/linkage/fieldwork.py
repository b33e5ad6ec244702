"""Flow and response: how many were invited, received, usable, linked; who answered, by school.

Belongs here: the tables `linkage.flow` and `linkage.response`, their exact record for the operator
(`receipts/fieldwork/<engagement>.json`), the definitions of `data/response.yaml`. Does not belong
here: what removes a record (`intake/removals.py`), the page that shows this (`monitor.py` at the
top), what is published of response (`disclosure`, `release`).

Works in sets on the warehouse; counts pupils and records, holds no row of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.programme import Programme
from rcs_assets.programme.datafile import DataFolder, read_rules
from rcs_assets.storage import Home, write_atomically

WHY = "domain.md 10.2, 1.2"
FILE = "response.yaml"
COUNTS = ("invited", "agreed", "completed")
_DEFAULTS = Path(__file__).parent / "data"
_FLOW = (
    "engagement varchar, survey varchar, position integer, step varchar, reason varchar, n bigint"
)
_RESPONSE = (
    "engagement varchar, survey varchar, seed_code varchar, stage varchar, sex varchar, "
    "invited_n integer, opted_out_n integer, refused_n integer, agreed_n integer, "
    "completed_n integer"
)


@dataclass(frozen=True)
class Rate:
    """`of` divided by `to`, two of `COUNTS`."""

    name: str
    title: str
    of: str
    to: str
    reason: str


@dataclass(frozen=True)
class ResponseRules:
    """What `data/response.yaml` says; the file gives the reasons."""

    counts: Mapping[str, str]
    rates: tuple[Rate, ...]
    low_response_pct: float


def load_response_rules(overlay: Path | None = None) -> ResponseRules:
    """Definitions with an adopter's overlay.

    Raises:
        ConfigurationError: an entry that is not in its form or makes no sense.
    """
    return read_rules(DataFolder("linkage", _DEFAULTS, overlay), FILE, _rules, _problems, WHY)


def _rules(entries: Mapping[str, Any]) -> ResponseRules:
    rates = entries["rates"].items()
    return ResponseRules(
        counts={name: str(entries["counts"][name]) for name in COUNTS},
        rates=tuple(
            Rate(str(name), str(r["title"]), str(r["of"]), str(r["to"]), str(r["reason"]))
            for name, r in rates
        ),
        low_response_pct=float(entries["low_response_pct"]),
    )


def _problems(rules: ResponseRules) -> Iterator[str]:
    if not {rate.of for rate in rules.rates} | {rate.to for rate in rules.rates} <= set(COUNTS):
        yield f"a rate divides two of {', '.join(COUNTS)}"
    if not rules.rates or rules.rates[0].name != "response":
        yield "the first rate is `response`"
    if not 0 <= rules.low_response_pct <= 100:
        yield "low_response_pct lies between 0 and 100"


def write_fieldwork(
    con: duckdb.DuckDBPyConnection, home: Home, programme: Programme, engagements: Sequence[str]
) -> None:
    """Make the rows of flow and response of some engagements, and their record.

    Args:
        con: the warehouse, for writing; project ids of these engagements are there.
        home: where the record goes.
        programme: stages of each survey.
        engagements: partition keys; rows of others are not changed.
    """
    con.execute("create schema if not exists linkage")
    con.execute(f"create table if not exists linkage.flow ({_FLOW})")
    con.execute(f"create table if not exists linkage.response ({_RESPONSE})")
    _waves(con, programme, engagements)
    _forms(con)
    con.execute("begin")
    for table in ("flow", "response"):
        con.execute(
            f"delete from linkage.{table} where engagement in (select unnest(?::varchar[]))",
            [list(engagements)],
        )
    con.execute(f"insert into linkage.response by name {_RESPONSE_QUERY}")
    con.execute(f"insert into linkage.flow by name {_FLOW_QUERY}")
    con.execute("commit")
    con.execute("drop table asked_waves")
    con.execute("drop view forms_had")
    for key in engagements:
        _record(con, home, key)


def _waves(
    con: duckdb.DuckDBPyConnection, programme: Programme, engagements: Sequence[str]
) -> None:
    """`asked_waves(engagement, survey, stage)`: the pupils' surveys and whom they ask."""
    con.execute("create temp table asked_waves (engagement varchar, survey varchar, stage varchar)")
    rows = [
        (key, wave.survey, stage)
        for key in engagements
        for wave in programme.engagements[key].waves
        for stage in wave.stages
    ]
    if rows:
        con.executemany("insert into asked_waves values (?, ?, ?)", rows)


def _forms(con: duckdb.DuckDBPyConnection) -> None:
    """`forms_had(engagement, survey, form)`: a row a record whose questionnaire has forms."""
    tables = con.execute(
        "select table_name from information_schema.columns where table_schema = 'intake' "
        "and table_name in ('primary_survey', 'secondary_survey') and column_name = 'form'"
    ).fetchall()
    parts = [
        f"select engagement, '{table.removesuffix('_survey')}' as survey, form "
        f"from intake.{table} where form is not null"
        for (table,) in sorted(tables)
    ]
    nothing = "select '' as engagement, '' as survey, '' as form where false"
    con.execute(f"create temp view forms_had as {' union all '.join([*parts, nothing])}")


# Every place that was invited, whether or not anybody there opted out, refused or answered.
_RESPONSE_QUERY = """
with invited as (
    select w.engagement, w.survey, r.seed_code, r.stage, r.sex, sum(r.roll_n) as n
    from intake.roll_counts as r inner join asked_waves as w using (engagement, stage) group by all
),
held as (
    select engagement, seed_code, stage, sex, count(*) as n from intake.sample group by all
),
answered as (
    select engagement, replace(dataset, '_survey', '') as survey, seed_code, stage, sex,
        sum(pupils_n) filter (where state = 'refused') as refused_n,
        sum(pupils_n) filter (where state = 'usable') as completed_n,
    from intake.survey_counts where seed_code is not null group by all
)
select engagement, survey, seed_code, stage, sex,
    invited.n as invited_n,
    invited.n - coalesce(held.n, 0) as opted_out_n,
    coalesce(refused_n, 0) as refused_n,
    coalesce(held.n, 0) - coalesce(refused_n, 0) as agreed_n,
    coalesce(completed_n, 0) as completed_n
from invited left join held using (engagement, seed_code, stage, sex)
left join answered using (engagement, survey, seed_code, stage, sex)
order by all
"""
_FLOW_QUERY = """
with keys as (select distinct engagement from asked_waves),
surveys as (select distinct engagement, survey from asked_waves),
places as (
    select engagement, survey, sum(invited_n) as invited_n, sum(opted_out_n) as opted_out_n
    from linkage.response group by all
),
records as (
    select engagement, replace(dataset, '_survey', '') as survey, state, sum(records_n) as n
    from intake.survey_counts group by all
),
links as (
    select own.engagement, replace(own.dataset, '_survey', '') as survey, count(*) as linked_n,
        count(*) filter (where edu.project_id is not null) as with_education_n,
        count(*) filter (where sw.project_id is not null) as with_social_work_n
    from linkage.project_ids as own
    left join linkage.project_ids as edu
        on edu.engagement = own.engagement and edu.project_id = own.project_id
        and edu.dataset = 'education'
    left join linkage.project_ids as sw
        on sw.engagement = own.engagement and sw.project_id = own.project_id
        and sw.dataset = 'social_work'
    where own.dataset in ('primary_survey', 'secondary_survey') group by all
),
sums as (
    select engagement, survey,
        sum(n) as received_n, sum(n) filter (where state = 'usable') as usable_n
    from records group by all
),
found as (
    select engagement, survey, 1 as position, 'invited' as step, null as reason, invited_n as n
    from places
    union all by name
    select engagement, survey, 2 as position, 'opted_out' as step, opted_out_n as n from places
    union all by name
    select engagement, survey, 3 as position, 'received' as step, received_n as n from sums
    union all by name
    select engagement, survey, 4 as position, 'removed' as step, state as reason, n
    from records where state <> 'usable'
    union all by name
    select engagement, survey, 5 as position, 'usable' as step, coalesce(usable_n, 0) as n
    from sums
    union all by name
    select engagement, survey, 5 as position, 'usable_on_form' as step, form as reason,
        count(*) as n
    from forms_had group by all
    union all by name
    select engagement, survey, 6 as position, 'not_linked' as step,
        coalesce(usable_n, 0) - coalesce(linked_n, 0) as n
    from sums left join links using (engagement, survey)
    union all by name
    select engagement, survey, 7 as position, 'linked' as step, coalesce(linked_n, 0) as n
    from sums left join links using (engagement, survey)
    union all by name
    select engagement, survey, 8 as position, 'with_education' as step,
        coalesce(with_education_n, 0) as n
    from sums left join links using (engagement, survey)
    union all by name
    select engagement, survey, 9 as position, 'with_social_work' as step,
        coalesce(with_social_work_n, 0) as n
    from sums left join links using (engagement, survey)
    union all by name
    select engagement, 'adapted' as survey, 1 as position, 'opted_in' as step, accepted_n as n
    from intake.receipts where dataset = 'adapted_opt_ins' and status = 'accepted'
    union all by name
    select engagement, 'sample' as survey, 1 as position, 'received' as step, received_n as n
    from intake.receipts where dataset = 'sample_file'
    union all by name
    select engagement, 'sample' as survey, 2 as position, 'removed' as step, reason,
        count(*) as n
    from intake.removals where dataset = 'sample_file' group by all
    union all by name
    select engagement, 'sample' as survey, 3 as position, 'usable' as step, accepted_n as n
    from intake.receipts where dataset = 'sample_file'
    union all by name
    select engagement, 'parent' as survey, 3 as position, 'received' as step, received_n as n
    from intake.receipts where dataset = 'parent_survey' and status = 'accepted'
    union all by name
    select engagement, 'parent' as survey, 4 as position, 'removed' as step,
        'refused or broken' as reason, quarantined_n + withdrawn_n as n
    from intake.receipts where dataset = 'parent_survey' and status = 'accepted'
    union all by name
    select engagement, 'parent' as survey, 5 as position, 'usable' as step, accepted_n as n
    from intake.receipts where dataset = 'parent_survey' and status = 'accepted'
)
select engagement, survey, position, step, reason, n::bigint as n
from found semi join keys using (engagement)
order by all
"""


def _record(con: duckdb.DuckDBPyConnection, home: Home, engagement: str) -> None:
    """The exact record for the operator; an engagement without a sample has none."""
    path = home.receipts / "fieldwork" / f"{engagement}.json"
    columns = "engagement, survey, seed_code, stage, sex, invited_n, agreed_n, completed_n"
    response = _dicts(
        con,
        f"select {columns.partition(', ')[2]}, school_name from linkage.response left join ("
        "select seed_code, max(school_name) as school_name from intake.school_roll group by all) "
        "using (seed_code) where engagement = ? order by all",
        engagement,
    )
    flow = _dicts(
        con,
        "select survey, step, reason, n from linkage.flow where engagement = ? "
        "order by survey, position, reason",
        engagement,
    )
    if not response:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    text = json.dumps({"engagement": engagement, "flow": flow, "response": response}, indent=1)
    write_atomically(path, text + "\n")


def _dicts(con: duckdb.DuckDBPyConnection, query: str, engagement: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = con.execute(query, [engagement]).to_arrow_table().to_pylist()
    return found


@dataclass(frozen=True)
class Fieldwork:
    """What was recorded of one engagement.

    `flow`: survey, step, reason, n. `response`: survey, seed_code, school_name, stage, sex,
    invited_n, agreed_n, completed_n.
    """

    engagement: str
    flow: Sequence[Mapping[str, Any]]
    response: Sequence[Mapping[str, Any]]


def read_fieldwork(home: Home) -> tuple[Fieldwork, ...]:
    """What was recorded of every engagement, by key; never opens the warehouse."""
    paths = sorted((home.receipts / "fieldwork").glob("*.json"))
    return tuple(Fieldwork(**json.loads(path.read_text(encoding="utf-8"))) for path in paths)
