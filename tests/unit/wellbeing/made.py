"""A small made programme for tests of estimates: three CPPs whose pupils answered.

Belongs here: tables in the schemas of the warehouse, filled by a seeded draw, and the
pupils as plain rows for arithmetic by hand. Does not belong here: any expected figure.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np

from rcs_assets.wellbeing.estimators import load_estimators

MANY, FEW, OUT = "t1-many", "t2-few", "t2-out"
NAMES = (
    "primary_lonely",
    "primary_mood_mean",
    "primary_young_carer",
    "secondary_lonely",
    "parent_reads_daily",
)
SCHOOLS = {MANY: 16, FEW: 3, OUT: 2}
# A school that has nobody in P7.
NO_P7 = "t2-few-2"
STAGES = {"primary": ["P5", "P6", "P7"], "secondary": ["S1", "S2", "S3", "S4"]}
RULES = load_estimators()


def fill(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables that estimates read, and `people`, the pupils with their weight."""
    for schema in ("programme", "intake", "linkage", "wellbeing"):
        con.execute(f"create schema {schema}")
    con.execute("""
        create table programme.engagements as
        from (values ('t1-many', 't1', 'S12000001'), ('t2-few', 't2', 'S12000002'),
            ('t2-out', 't2', 'S12000003')) as t(engagement, tranche, council_code)
    """)
    con.execute(
        "create table programme.waves (engagement varchar, survey varchar, stages varchar[])"
    )
    for engagement in SCHOOLS:
        for survey, stages in STAGES.items():
            con.execute(
                "insert into programme.waves values (?, ?, ?)", [engagement, survey, stages]
            )
    con.execute("insert into programme.waves values ('t1-many', 'parent', [])")
    random = np.random.default_rng(7)
    rows = []
    for engagement, schools_n in SCHOOLS.items():
        for school in range(schools_n):
            level = random.uniform(0.15, 0.45)
            stages_n = 2 if f"{engagement}-{school}" == NO_P7 else 3
            for number in range(int(random.integers(20, 40))):
                stage = STAGES["primary"][number % stages_n]
                lonely = float(random.random() < level)
                mood = float(random.integers(2, 11)) / 2 + 4 * level
                rows.append(
                    (
                        f"{engagement}-{school}-{number}",
                        engagement,
                        f"{engagement}-{school}",
                        stage,
                        "FM"[number % 2],
                        None if number % 5 == 4 else number % 4 + 1,
                        None if number % 10 == 9 else lonely,
                        None if number % 10 == 8 else mood,
                        lonely if stage == "P7" else None,
                        1.0 + (number % 3) / 10,
                    )
                )
    con.execute("""
        create table people (record_id varchar, engagement varchar, seed_code varchar,
            stage varchar, sex varchar, simd_quintile integer, primary_lonely double,
            primary_mood_mean double, primary_young_carer double, weight double)
    """)
    con.executemany("insert into people values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    con.execute("""
        create table wellbeing.indicator_values as
        select people.* exclude (weight), engagements.tranche, engagements.council_code,
            'primary' as survey, null::double as secondary_lonely
        from people inner join programme.engagements as engagements using (engagement)
    """)
    con.execute("""
        create table wellbeing.weights as
        select record_id, engagement, 'primary' as survey, stage, sex, weight from people
    """)
    con.execute("""
        create table intake.roll_counts as
        select engagement, seed_code, stage, sex, count(*)::integer + 5 as roll_n
        from people group by all
    """)
    con.execute("""
        create table linkage.linked as
        select
            record_id, engagement,
            case when right(record_id, 1) <> '9' then right(record_id, 1) = '3' end
                as looked_after,
            case when right(record_id, 1) <> '9' then
                if(right(record_id, 1) in ('1', '2'), 'mixed', 'white_scottish') end
                as ethnicity_group,
            case when right(record_id, 1) <> '9' then right(record_id, 1) in ('4', '5') end
                as has_asn
        from people
    """)
    con.execute("""
        create table intake.clusters as
        select distinct engagement, seed_code, true as is_sdc_cluster,
            'C' || engagement || right(seed_code, 1)::integer // 4 as cluster_code
        from people
    """)
    con.execute("""
        create table wellbeing.parent_indicator_values as
        select 'p' || i as record_id, 't1-many' as engagement, (i % 4 = 0)::double
            as parent_reads_daily
        from range(40) as r(i)
    """)


def people(con: duckdb.DuckDBPyConnection, *engagements: str) -> list[dict[str, Any]]:
    """The pupils as plain rows, with their cluster."""
    rows = con.execute(
        "select people.*, cluster_code from people "
        "inner join intake.clusters using (engagement, seed_code) order by record_id"
    ).to_arrow_table()
    return [row for row in rows.to_pylist() if row["engagement"] in engagements]
