"""A small warehouse made without the simulator: random answers, links known beforehand.

Two engagements, the codebook's own tables, every table that the dbt project reads.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.model import Codebook, Variable
from rcs_assets.codebook.tables import codebook_tables
from rcs_assets.programme import load_programme
from rcs_assets.programme.tables import programme_tables
from rcs_assets.storage.tables import replace_tables

ENGAGEMENTS = ("t1-clackmannanshire", "t2-falkirk")
STAGES = {"primary": ("P5", "P6", "P7"), "secondary": ("S1", "S2", "S3", "S4")}


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
        create table intake.simd as
        select '2016' as vintage, 'S0100000' || i as datazone, 'S12000005' as council_code,
            i + 1 as rank, 1 as decile, i::integer + 1 as quintile
        from range(5) as r(i)
    """)


def _links(con) -> None:
    con.execute("""
        create table linkage.project_ids as
        select
            'sample' as dataset, engagement, record_id, 'p-' || engagement || '-' || i as project_id,
            0::tinyint as pass_no, 'exact' as weight_band
        from intake.sample
        union all
        select
            case when stage like 'P%' then 'primary_survey' else 'secondary_survey' end, engagement,
            case when stage like 'P%' then 'p-' else 's-' end || engagement || '-' || i,
            'p-' || engagement || '-' || i, 1, 'exact'
        from intake.sample
        where i % 10 <> 3 and i % 20 <> 5
        union all
        select 'education', engagement, 'e-' || engagement || '-' || i,
            'p-' || engagement || '-' || i, 2, 'exact'
        from intake.sample
        where i % 7 <> 1
    """)
