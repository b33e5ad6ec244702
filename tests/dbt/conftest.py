"""One real dbt build on a small real warehouse, shared by the tests of this folder.

The warehouse is made without the simulator: two engagements, the codebook's own tables,
random answers, links known beforehand.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.model import Codebook, Variable
from rcs_assets.codebook.tables import codebook_tables
from rcs_assets.programme import load_programme
from rcs_assets.programme.tables import programme_tables
from rcs_assets.storage import Home, Settings
from rcs_assets.storage.tables import replace_tables
from rcs_assets.wellbeing.dbt_build import NodeResult, run_build
from rcs_assets.wellbeing.scoring import project_dir

ENGAGEMENTS = ("t1-clackmannanshire", "t2-falkirk")
STAGES = {"primary": ("P5", "P6", "P7"), "secondary": ("S1", "S2", "S3", "S4")}


@dataclass(frozen=True)
class Built:
    """A home whose warehouse dbt has built, and what each node did."""

    home: Home
    codebook: Codebook
    results: list[NodeResult]


@pytest.fixture(scope="session")
def engagements() -> tuple[str, ...]:
    return ENGAGEMENTS


@pytest.fixture(scope="session")
def services() -> tuple[tuple, ...]:
    """The service map of each engagement."""
    return SERVICES


@pytest.fixture(scope="session")
def build() -> Callable[[Home, tuple[str, ...]], list[NodeResult]]:
    """Build all models of the named engagements."""
    return lambda home, keys: run_build(home, keys, settings=Settings.from_environment())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, build) -> Built:
    home = Home.open(tmp_path_factory.mktemp("home"), profile="demo")
    codebook = make_warehouse(home.warehouse)
    return Built(home, codebook, build(home, ENGAGEMENTS))


@pytest.fixture
def copy(built: Built, tmp_path: Path) -> Home:
    """A second home with the built warehouse, to be changed by one test."""
    home = Home.open(tmp_path / "home", profile="demo")
    shutil.copy(built.home.warehouse, home.warehouse)
    return home


@pytest.fixture(scope="session")
def dbt() -> Callable[..., dict[str, str]]:
    """Run dbt itself on a home; node name → status."""
    return _dbt


def _dbt(home: Home, *arguments: str, project: Path | None = None) -> dict[str, str]:
    project, target = project or project_dir(), home.logs / "dbt"
    subprocess.run(
        [
            str(Path(sys.executable).parent / "dbt"),
            *arguments,
            *("--project-dir", str(project), "--profiles-dir", str(project)),
            *("--target-path", str(target), "--log-path", str(target)),
        ],
        env={
            **os.environ,
            "RCS_WAREHOUSE": str(home.warehouse),
            "RCS_ENGAGEMENTS": ",".join(ENGAGEMENTS),
            "RCS_TMP": str(home.tmp),
        },
        cwd=project,
        capture_output=True,
        check=False,
    )
    ran = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    return {result["unique_id"].split(".")[2]: result["status"] for result in ran}


def make_warehouse(
    path: Path, *, engagements=ENGAGEMENTS, pupils_n: int = 120, schools_n: int = 4, seed: int = 1
) -> Codebook:
    """Write the warehouse; about every tenth pupil does not answer, every 20th UID is unknown."""
    codebook = load_codebook()
    with duckdb.connect(str(path)) as con:
        con.execute(f"select setseed({seed / 1000})")
        con.execute("set threads = 1")
        replace_tables(con, "codebook", codebook_tables(codebook))
        replace_tables(con, "programme", programme_tables(load_programme()))
        con.execute("create schema intake")
        con.execute("create schema linkage")
        _pupils(con, engagements, pupils_n, schools_n)
        for survey in STAGES:
            _survey(con, codebook, survey)
        _parents(con, codebook, engagements)
        _education(con)
        _links(con)
        _services(con)
    return codebook


def _pupils(con, engagements, pupils_n, schools_n) -> None:
    con.execute("create table keys as select unnest(?) as engagement", [list(engagements)])
    con.execute(f"""
        create table intake.sample as
        select
            's-' || engagement || '-' || i as record_id,
            engagement,
            (case when i % 2 = 0 then 5000000 else 5500000 end
                + (i // 2) % {schools_n} + 1000 * length(engagement))::varchar as seed_code,
            case
                when i % 2 = 0 then 'P' || (5 + (i // 2) % 3) else 'S' || (1 + (i // 2) % 4)
            end as stage,
            case when random() < 0.5 then 'F' else 'M' end as sex,
            i
        from keys, range({pupils_n}) as r(i)
    """)
    con.execute("""
        create table intake.roll_counts as
        select engagement, seed_code, stage, sex, count(*)::integer as roll_n
        from intake.sample group by all
    """)


def _answer(codebook: Codebook, variable: Variable) -> str:
    """A random valid code, one in ten a missing code."""
    codes = list(codebook.value_sets[variable.value_set].values)
    listed = ", ".join(map(str, codes))
    return (
        "case when random() < 0.9 "
        f"then [{listed}][1 + floor(random() * {len(codes)})::integer] "
        "else [-1, -9][1 + floor(random() * 2)::integer] end::tinyint"
    )


def _survey(con, codebook, survey) -> None:
    columns = ", ".join(
        f"{_answer(codebook, variable)} as {variable.name}"
        for variable in codebook.variables_of(survey)
    )
    con.execute(f"""
        create table intake.{survey}_survey as
        select
            '{survey[0]}-' || engagement || '-' || i as record_id,
            engagement, 'q' as questionnaire, date '2016-01-01' as completed_on, {columns}
        from intake.sample
        where stage in {STAGES[survey]} and i % 10 <> 3
    """)


def _parents(con, codebook, engagements) -> None:
    columns = ", ".join(
        f"{_answer(codebook, variable)} as {variable.name}"
        for variable in codebook.variables_of("parent")
    )
    con.execute(f"""
        create table intake.parent_survey as
        select
            'a-' || engagement || '-' || i as record_id,
            engagement, 'q' as questionnaire, date '2016-01-01' as completed_on, {columns}
        from keys, range(40) as r(i)
        where engagement not like 't3%'
    """)


def _education(con) -> None:
    con.execute("""
        create table intake.education as
        select
            'e-' || engagement || '-' || i as record_id, engagement, seed_code, stage, sex,
            'S0100000' || (i % 6) as datazone, '01' as ethnic_background,
            'EN' as level_of_english, i % 5 = 0 as free_school_meal,
            case i % 4 when 0 then '1;5' when 1 then '5' end as asn_types, '' as asn_needs,
            i % 50 = 0 as looked_after, 95.0 as attendance_pct, 0 as exclusions_n
        from intake.sample
        where i % 7 <> 1
    """)
    con.execute("""
        create table intake.social_work as
        select
            'w-' || engagement || '-' || i as record_id, engagement,
            if(i % 24 = 0, 'currently_away', 'never') as looked_after_status,
            null::varchar as placement, i % 24 = 0 as child_protection_12m,
            i % 16 <> 8 as open_case, i % 24 = 0 as childs_plan, date '2014-01-01' as opened_on,
            if(i % 16 = 8, date '2014-06-30', null) as closed_on
        from intake.sample
        where i % 8 = 0
    """)
    con.execute("""
        create table intake.simd as
        select '2016' as vintage, 'S0100000' || i as datazone, 'S12000005' as council_code,
            i + 1 as rank, 1 as decile, i::integer + 1 as quintile
        from range(5) as r(i)
    """)


def _links(con) -> None:
    con.execute("""
        create table linkage.project_ids as
        select
            'sample' as dataset, engagement, record_id,
            'p-' || engagement || '-' || i as project_id,
            0::tinyint as pass_no, 'exact' as weight_band
        from intake.sample
        union all
        select
            case when stage like 'P%' then 'primary_survey' else 'secondary_survey' end, engagement,
            case when stage like 'P%' then 'p-' else 's-' end || engagement || '-' || i,
            'p-' || engagement || '-' || i, 1::tinyint, 'exact'
        from intake.sample
        where i % 10 <> 3 and i % 20 <> 5
        union all
        select 'education', engagement, 'e-' || engagement || '-' || i,
            'p-' || engagement || '-' || i, 2::tinyint, 'exact'
        from intake.sample
        where i % 7 <> 1
        union all
        select 'social_work', engagement, 'w-' || engagement || '-' || i,
            'p-' || engagement || '-' || i, 9::tinyint, 'auto'
        from intake.sample
        where i % 8 = 0
    """)


# service_id, provider, kind, sector, ages, children, pounds, origin, tier shares, domain
SERVICES = (
    ("a", "Council", "council", "education", 5, 12, 100, 8000.0, "council", (90, 10, 0), "safe"),
    ("b", "Council", "council", "education", 16, 21, None, 600.0, "grant", (0, 0, 100), "safe"),
    ("c", "Trust", "third", "voluntary", 0, 25, 26, 2600.0, "grant", (49.9, 0, 49.9), "active"),
    ("d", "Trust", "third", "voluntary", 3, 3, 10, 100.0, "grant", (100, 0, 0), "active"),
)  # fmt: skip


def _services(con) -> None:
    con.execute("""
        create table intake.service_map (
            engagement varchar, service_id varchar, provider_name varchar, provider_type varchar,
            sector varchar, age_min integer, age_max integer, children_served integer,
            annual_cost_gbp double, funding_origin varchar, tier_universal_pct double,
            tier_targeted_pct double, tier_specialist_pct double, domain varchar,
            is_confidential boolean
        )
    """)
    con.execute("""
        create table intake.budgets as
        select engagement, sector, budget_gbp, share
        from keys, (values
            ('education', 9000.0, 1.0), ('health', 4000.0, 0.25), ('health', 1000.0, 0.5)
        ) as budgets (sector, budget_gbp, share)
    """)
    for *row, tiers, domain in SERVICES:
        con.execute(
            f"insert into intake.service_map select engagement, {', '.join('?' * 14)} from keys",
            [*row, *tiers, domain, row[2] == "third"],
        )
