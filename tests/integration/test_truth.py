"""What the platform computed against what the simulator knows: the largest difference."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from rcs_assets.storage import Home, open_vault
from tests.conftest import ReleasedHome

SCORES = (
    "sdq_emotional",
    "sdq_conduct",
    "sdq_hyperactivity",
    "sdq_peer",
    "sdq_prosocial",
    "sdq_total",
    "sdq_internalising",
    "sdq_externalising",
    "wemwbs_total",
    "swemwbs_metric",
    "life_satisfaction",
    "mood_score",
)


@pytest.fixture
def compared(released_home: ReleasedHome) -> duckdb.DuckDBPyConnection:
    """Truth and platform side by side, joined by UID through the vault."""
    truth = Path(f"{released_home.path}-truth")
    con = duckdb.connect()
    con.execute(f"attach '{released_home.path / 'warehouse.duckdb'}' as w (read_only)")
    con.execute(f"create view truth as select * from '{truth / 'respondents.parquet'}'")
    con.execute(f"create view counts as select * from '{truth / 'estimates.csv'}'")
    con.execute(f"create view links as select * from '{truth / 'links.parquet'}'")
    con.execute(f"create view cases as select * from '{truth / 'social_work_links.parquet'}'")
    with open_vault(Home.open(released_home.path), read_only=True) as vault:
        for table in (
            "survey_identifiers",
            "sample_identifiers",
            "education_identifiers",
            "social_work_identifiers",
            "opt_outs",
        ):
            rows = vault.execute(f"select * from {table}").to_arrow_table()
            con.register(f"v_{table}", rows)
    return con


@pytest.mark.parametrize("score", SCORES)
def test_every_score_equals_the_truth(compared: duckdb.DuckDBPyConnection, score: str) -> None:
    found = compared.execute(
        f"""
        select
            count(*) as pupils_n,
            count(t.{score}) as scored_n,
            count(*) filter (where t.{score} is distinct from s.{score}
                and not abs(t.{score} - s.{score}) <= 1e-9) as different_n,
        from truth as t
        inner join v_survey_identifiers as v
            on v.uid = t.uid and v.engagement = t.engagement and v.survey = t.survey
        inner join w.wellbeing.scores as s using (record_id)
        where t.status in ('accepted', 'not_on_sample')
        """
    ).fetchall()[0]
    pupils_n, scored_n, different_n = found
    assert pupils_n > 1000
    assert scored_n > 300
    assert different_n == 0


def test_every_accepted_answer_is_in_the_warehouse(compared: duckdb.DuckDBPyConnection) -> None:
    wanted = compared.execute(
        "select count(*) from truth where status in ('accepted', 'not_on_sample')"
    ).fetchall()
    kept = compared.execute("select count(*) from w.wellbeing.item_answers").fetchall()
    assert kept == wanted


def test_the_flow_equals_the_truth(compared: duckdb.DuckDBPyConnection) -> None:
    """Invited, received, removed by each reason, usable and linked, by engagement and survey."""
    reasons = {
        "opted_out": "opted_out",
        "refusal": "refused",
        "duplicate": "duplicate_uid",
        "out_of_codebook": "value_outside_codebook",
        "other_stage": "no_stage_match",
        "form_of_other_stage": "form_not_of_stage",
        "unknown_form": "form_unknown",
        "no_answers": "no_answers",
    }
    named = ", ".join(f"('{status}', '{reason}')" for status, reason in reasons.items())
    different = compared.execute(
        f"""
        with names(status, reason) as (values {named}),
        wanted as (
            select engagement, survey, 'received' as step, null as reason, count(*) as n
            from truth group by all
            union all
            select engagement, survey, 'removed', reason, count(*)
            from truth join names using (status) group by all
            union all
            select engagement, survey, 'usable', null, count(*)
            from truth where status in ('accepted', 'not_on_sample') group by all
            union all
            select engagement, survey, 'linked', null, count(*)
            from truth where status = 'accepted' group by all
        )
        select coalesce(w.step, f.step), coalesce(w.reason, f.reason), w.n, f.n
        from wanted as w
        full join (
            from w.linkage.flow where survey in ('primary', 'secondary')
            and step in ('received', 'removed', 'usable', 'linked')
        ) as f
            on f.engagement = w.engagement and f.survey = w.survey and f.step = w.step
            and f.reason is not distinct from w.reason
        where w.n is distinct from f.n
        """
    ).fetchall()
    assert different == []
    invited = compared.execute(
        "select sum(n) from w.linkage.flow where step = 'invited'"
    ).fetchall()
    roll = compared.execute("select sum(roll_n) from w.intake.roll_counts").fetchall()
    assert invited == roll


def test_the_flow_counts_each_form_as_the_truth_does(compared: duckdb.DuckDBPyConnection) -> None:
    """Tranche 1 has two forms of its secondary questionnaire, tranche 2 has one and so no row."""
    wanted = compared.execute(
        "select engagement, survey, form, count(*) from truth where form <> '' "
        "and status in ('accepted', 'not_on_sample') group by all order by all"
    ).fetchall()
    counted = compared.execute(
        "select engagement, survey, reason, n from w.linkage.flow "
        "where step = 'usable_on_form' order by all"
    ).fetchall()
    assert counted == wanted
    assert {row[:3] for row in counted} == {
        ("t1-clackmannanshire", "secondary", "combined"),
        ("t1-clackmannanshire", "secondary", "main"),
    }


def test_bases_and_numerators_of_estimates_equal_the_truth(
    compared: duckdb.DuckDBPyConnection,
) -> None:
    found = compared.execute(
        """
        select count(*), count(*) filter (where e.base_n != c.base_n
            or e.numerator_n is distinct from c.numerator_n and c.numerator_n is not null)
        from counts as c
        inner join w.wellbeing.estimates as e
            on e.engagement = c.engagement and e.survey = c.survey
            and e.indicator = c.indicator and e.breakdown = c.breakdown
            and e."group" = c."group" and e.geography_level = 'cpp' and e.reason = ''
        """
    ).fetchall()[0]
    assert found[0] > 250
    assert found[1] == 0


def test_no_education_link_is_wrong_and_every_exact_one_is_found(
    compared: duckdb.DuckDBPyConnection,
) -> None:
    found = compared.execute(
        """
        with linked as (
            select s.uid, e.supplier_id
            from w.linkage.project_ids as p
            inner join v_education_identifiers as e
                on e.record_id = p.record_id and p.dataset = 'education'
            inner join w.linkage.project_ids as q
                on q.project_id = p.project_id and q.dataset = 'sample'
            inner join v_sample_identifiers as s on s.record_id = q.record_id
            where e.engagement = s.engagement
        )
        select
            count(*) as links_n,
            count(*) filter (where l.record_id is null) as wrong_n,
            (select count(*) from links where scn_on_both) as findable_n,
        from linked
        left join links as l on l.uid = linked.uid and l.record_id = linked.supplier_id
        """
    ).fetchall()[0]
    links_n, wrong_n, findable_n = found
    assert wrong_n == 0
    assert links_n >= 0.97 * findable_n


# Pupils who have a social work record that intake accepted, and who allow linkage.
FINDABLE = """
    select distinct e.engagement, t.uid
    from cases as t
    inner join v_social_work_identifiers as e
        on e.supplier_id = t.record_id and e.engagement = t.engagement
    inner join w.intake.social_work as p on p.record_id = e.record_id
    inner join v_sample_identifiers as s on s.uid = t.uid and s.engagement = t.engagement
    where not exists (
        select 1 from v_opt_outs as o
        where o.uid = t.uid and o.engagement = t.engagement and o.scope in ('linkage', 'all')
    )
"""
SOCIAL_WORK = """
    select p.engagement, p.pass_no, s.uid, t.uid is not distinct from s.uid as is_right
    from w.linkage.project_ids as p
    inner join v_social_work_identifiers as e
        on e.record_id = p.record_id and p.dataset = 'social_work'
    inner join w.linkage.project_ids as q
        on q.project_id = p.project_id and q.engagement = p.engagement and q.dataset = 'sample'
    inner join v_sample_identifiers as s on s.record_id = q.record_id
    left join (select distinct engagement, record_id, uid from cases) as t
        on t.record_id = e.supplier_id and t.engagement = e.engagement
"""


def test_hardly_a_social_work_link_is_wrong_and_hardly_a_pupil_is_missed(
    compared: duckdb.DuckDBPyConnection,
) -> None:
    links_n, right_n, found_n, findable_n = compared.execute(
        f"""
        with linked as ({SOCIAL_WORK}), findable as ({FINDABLE})
        select
            (select count(*) from linked),
            (select count(*) from linked where is_right),
            (select count(*) from findable semi join linked using (engagement, uid)),
            (select count(*) from findable)
        """
    ).fetchall()[0]
    assert findable_n > 200
    assert right_n >= 0.998 * links_n
    assert found_n >= 0.97 * findable_n


def test_every_pass_links_social_work_records(compared: duckdb.DuckDBPyConnection) -> None:
    passes = compared.execute(f"select distinct pass_no from ({SOCIAL_WORK}) order by all")
    assert {row[0] for row in passes.fetchall()} >= {2, 3, 4, 9}


@pytest.mark.parametrize(("dataset", "source"), [("social_work", "cases"), ("education", "links")])
def test_precision_and_recall_are_estimated_near_their_truth(
    compared: duckdb.DuckDBPyConnection, dataset: str, source: str
) -> None:
    """Within 0.2 points or half the interval, for every council; nothing of it saw the truth."""
    rows = compared.execute(
        f"""
        with pairs as (
            select distinct e.engagement, e.record_id, s.record_id as pupil
            from {source} as t
            inner join v_{dataset}_identifiers as e
                on e.supplier_id = t.record_id and e.engagement = t.engagement
            inner join w.intake.{dataset} as p on p.record_id = e.record_id
            inner join v_sample_identifiers as s on s.uid = t.uid and s.engagement = t.engagement
            where not exists (
                select 1 from v_opt_outs as o
                where o.uid = t.uid and o.engagement = t.engagement
                    and o.scope in ('linkage', 'all')
            )
        ),
        found as (
            select p.engagement, p.record_id, q.record_id as pupil
            from w.linkage.project_ids as p
            inner join w.linkage.project_ids as q using (engagement, project_id)
            where p.dataset = '{dataset}' and q.dataset = 'sample'
        ),
        truth as (
            select
                pairs.engagement,
                count(distinct found.pupil) filter (found.pupil = pairs.pupil) as right_n,
                count(distinct pairs.pupil) as pairs_n,
                (select count(*) from found as f where f.engagement = pairs.engagement) as links_n,
            from pairs
            left join found using (engagement, record_id)
            group by pairs.engagement
        )
        select
            right_n / links_n, estimated_precision, precision_low, precision_high,
            right_n / pairs_n, estimated_recall, recall_low, recall_high
        from truth
        inner join w.linkage.link_rates as rates using (engagement)
        where rates.dataset = '{dataset}'
        """
    ).fetchall()
    assert len(rows) == 2
    for row in rows:
        for true, estimate, low, high in (row[:4], row[4:]):
            assert abs(estimate - true) <= max(0.002, (high - low) / 2)
            assert low <= estimate <= high


def test_nobody_who_refused_linkage_has_a_council_record(
    compared: duckdb.DuckDBPyConnection,
) -> None:
    refused_n, linked_n = compared.execute(
        """
        with refused as (
            select s.record_id, s.engagement
            from v_sample_identifiers as s
            inner join v_opt_outs as o
                on o.uid = s.uid and o.engagement = s.engagement
                and o.scope in ('linkage', 'all')
        )
        select count(*), count(council.record_id)
        from refused
        inner join w.linkage.project_ids as own
            on own.record_id = refused.record_id and own.dataset = 'sample'
        left join w.linkage.project_ids as council
            on council.project_id = own.project_id and council.engagement = own.engagement
            and council.dataset in ('education', 'social_work')
        """
    ).fetchall()[0]
    assert refused_n > 0
    assert linked_n == 0


def test_weights_sum_to_the_roll(compared: duckdb.DuckDBPyConnection) -> None:
    found = compared.execute(
        """
        with rolls as (
            select
                r.engagement,
                case when left(r.stage, 1) = 'P' then 'primary' else 'secondary' end as survey,
                sum(r.roll_n) as roll_n,
            from w.intake.roll_counts as r
            group by all
        )
        select max(abs(sum_weight - roll_n)) from rolls
        inner join (
            select engagement, survey, sum(weight) as sum_weight
            from w.wellbeing.weights group by all
        ) using (engagement, survey)
        """
    ).fetchall()[0][0]
    assert found < 1e-6
