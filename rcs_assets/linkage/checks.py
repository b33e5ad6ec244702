"""Checks of linkage: links are one-to-one, banded, for records that exist, and counted.

Belongs here: rules in Python on `linkage.*`, and the expectations of the boundary
linked that judge links. Does not belong here: profile queries (`profile.py`), limits
(`data_quality`), and the dbt tests of `linkage.linked`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data_quality import linked_suite, load_thresholds
from rcs_assets.codebook import load_codebook
from rcs_assets.errors import InputError
from rcs_assets.intake.exchange import INDEXES
from rcs_assets.linkage.by_group import BREAKDOWNS
from rcs_assets.linkage.model import read_model
from rcs_assets.linkage.profile import linkage_profiles
from rcs_assets.linkage.received import PASS_READ_THROUGH
from rcs_assets.linkage.settings import load_link_rules
from rcs_assets.storage import home_path
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks
from rcs_assets.storage.guard import identifier_columns

if TYPE_CHECKING:
    import pandas as pd

PROJECT_IDS = ("linkage", "project_ids")
LINKED = ("linkage", "linked")
LINK_RATES = ("linkage", "link_rates")
BY_GROUP = ("linkage", "link_rates_by_group")
SENSITIVITY = ("linkage", "link_sensitivity")
WEIGHTS = ("linkage", "link_weights")
LINK_FLOW = ("linkage", "link_flow")
FLOW = ("linkage", "flow")
RESPONSE = ("linkage", "response")
_INDEX_NUMBERS = {"index_no", "index_education", "index_social_work", *INDEXES}


def _groups(bench: Bench, sql: str) -> Verdict:
    """Passed if the query names no `engagement dataset` but of engagements left out."""
    named = [row[0] for row in bench.con.execute(sql).fetchall()]
    found = [group for group in named if group.partition(" ")[0] not in bench.left_out]
    total = bench.con.execute("select count(*) from linkage.project_ids").fetchall()[0][0]
    return Verdict.of(found, total, "project ids")


def records_have_one_project_id(bench: Bench) -> Verdict:
    """No record has two project ids."""
    return _groups(
        bench,
        "select distinct engagement || ' ' || dataset from (select engagement, dataset, record_id "
        "from linkage.project_ids group by all having count(*) > 1) order by all",
    )


def links_are_one_to_one(bench: Bench) -> Verdict:
    """Within a dataset and engagement no two records have the same project id."""
    return _groups(
        bench,
        "select distinct engagement || ' ' || dataset from (select engagement, dataset, project_id "
        "from linkage.project_ids group by all having count(*) > 1) order by all",
    )


def project_ids_have_records(bench: Bench) -> Verdict:
    """Every record that is linked was accepted by intake."""
    return _groups(
        bench,
        """
        with records as (
            select 'sample' as dataset, engagement, record_id from intake.sample
            union all
            select 'primary_survey', engagement, record_id from intake.primary_survey
            union all
            select 'secondary_survey', engagement, record_id from intake.secondary_survey
            union all
            select 'education', engagement, record_id from intake.education
            union all
            select 'social_work', engagement, record_id from intake.social_work
        )
        select distinct ids.engagement || ' ' || ids.dataset
        from linkage.project_ids as ids
        anti join records
            on
                ids.dataset = records.dataset
                and ids.engagement = records.engagement
                and ids.record_id = records.record_id
        order by all
        """,
    )


def links_start_at_the_sample(bench: Bench) -> Verdict:
    """Every project id of an answer or education record is that of a pupil of the sample file."""
    return _groups(
        bench,
        "select distinct ids.engagement || ' ' || ids.dataset from linkage.project_ids as ids "
        "anti join (select engagement, project_id from linkage.project_ids "
        "where dataset = 'sample') as spine using (engagement, project_id) order by all",
    )


def link_bands_are_valid(bench: Bench) -> Verdict:
    """A link is exact or decided, without weight, or by the model and above its threshold."""
    rules = load_link_rules(bench.home.config)
    return _groups(
        bench,
        f"""
        select distinct engagement || ' ' || dataset from linkage.project_ids
        where
            not coalesce(
                (
                    weight_band = 'exact' and pass_no < {rules.clerical.pass_no}
                    and weight is null and probability is null
                )
                or (
                    weight_band = 'decided' and pass_no = {rules.clerical.pass_no}
                    and weight is null and probability is null
                )
                -- An outside indexer tells how it linked, and no weight.
                or (
                    pass_no = {PASS_READ_THROUGH} and weight_band in ('exact', 'auto')
                    and weight is null and probability is null
                )
                or (
                    weight_band = 'auto' and probability between 0.5 and 1
                    and (
                        (pass_no = {rules.model_pass} and weight >= {rules.thresholds.auto})
                        or (
                            pass_no = {rules.remainder.pass_no}
                            and weight >= {rules.remainder.auto}
                        )
                    )
                ),
                false
            )
        order by all
        """,
    )


def link_rates_add_up(bench: Bench) -> Verdict:
    """The rates count the accepted records, and the links that project_ids holds."""
    return _groups(
        bench,
        """
        with records as (
            select engagement, 'primary_survey' as dataset, count(*) as n
            from intake.primary_survey group by all
            union all
            select engagement, 'secondary_survey', count(*)
            from intake.secondary_survey
            group by all
            union all
            select engagement, 'education', count(*) from intake.education group by all
            union all
            select engagement, 'social_work', count(*) from intake.social_work group by all
        ),
        links as (
            select
                engagement,
                dataset,
                count(*) filter (where weight_band = 'exact') as exact_n,
                count(*) filter (where weight_band = 'decided') as decided_n,
                count(*) filter (where weight_band = 'auto') as auto_n,
            from linkage.project_ids
            where dataset <> 'sample'
            group by all
        )
        select engagement || ' ' || dataset
        from records
        left join linkage.link_rates as rates using (engagement, dataset)
        left join links using (engagement, dataset)
        where
            rates.records_n is distinct from records.n
            or rates.exact_n is distinct from coalesce(links.exact_n, 0)
            or rates.decided_n is distinct from coalesce(links.decided_n, 0)
            or rates.probabilistic_n is distinct from coalesce(links.auto_n, 0)
            or rates.linked_n
            is distinct from rates.exact_n + rates.decided_n + rates.probabilistic_n
            or rates.linked_n + rates.clerical_n > rates.records_n
        order by all
        """,
    )


def rates_by_group_are_complete(bench: Bench) -> Verdict:
    """Every dataset has each of its breakdowns, no group is small, and totals agree."""
    smallest = load_link_rules(bench.home.config).groups.min_records
    wanted = ", ".join(
        f"('{dataset}', '{breakdown}')"
        for dataset, breakdowns in BREAKDOWNS.items()
        for breakdown in breakdowns
    )
    return _groups(
        bench,
        f"""
        with wanted(dataset, breakdown) as (values {wanted}),
        sums as (
            select
                engagement,
                dataset,
                breakdown,
                sum(records_n) as records_n,
                sum(linked_n) as linked_n,
                min(records_n) as smallest_n,
                bool_and(linked_pct between ci_low and ci_high) as is_inside,
            from linkage.link_rates_by_group
            group by all
        )
        select distinct rates.engagement || ' ' || rates.dataset
        from linkage.link_rates as rates
        inner join wanted using (dataset)
        left join sums using (engagement, dataset, breakdown)
        where
            rates.records_n >= {smallest}
            and not coalesce(
                sums.smallest_n >= {smallest} and sums.is_inside
                -- Small groups that stay small together are left out: fewer than a group.
                and rates.records_n - sums.records_n between 0 and {smallest} - 1
                and (breakdown <> 'total' or sums.linked_n = rates.linked_n),
                false
            )
        order by all
        """,
    )


def estimates_hold_themselves(bench: Bench) -> Verdict:
    """Every estimated share lies inside its interval, in each file and group."""
    return _groups(
        bench,
        """
        select distinct engagement || ' ' || dataset
        from (
            select engagement, dataset, estimated_precision as share, precision_low as low,
                precision_high as high
            from linkage.link_rates
            union all
            select engagement, dataset, estimated_recall, recall_low, recall_high
            from linkage.link_rates
            union all
            select engagement, dataset, false_pct / 100, false_low / 100, false_high / 100
            from linkage.link_rates_by_group
            union all
            select engagement, dataset, missed_pct / 100, missed_low / 100, missed_high / 100
            from linkage.link_rates_by_group
        )
        where share is not null and not coalesce(0 <= low and share between low and high
            and high <= 1, false)
        order by all
        """,
    )


def sensitivities_fit_the_links(bench: Bench) -> Verdict:
    """Sensitivity counts the links that there are, for groups of ten or more pupils."""
    smallest = load_link_rules(bench.home.config).groups.min_records
    return _groups(
        bench,
        f"""
        select distinct rates.engagement || ' ' || rates.dataset
        from linkage.link_rates as rates
        left join (
            select
                engagement,
                dataset,
                max(linked_n) filter (breakdown = 'total') as linked_n,
                min(pupils_n) as smallest_n,
                bool_and(sensitivity_pct between ci_low and ci_high and ci_low >= 0
                    and ci_high <= 100) as is_sound
            from linkage.link_sensitivity
            group by all
        ) as found using (engagement, dataset)
        where
            rates.dataset in ('education', 'social_work')
            and rates.estimated_recall is not null
            and not coalesce(
                found.linked_n = rates.linked_n and smallest_n >= {smallest} and is_sound, false
            )
        order by all
        """,
    )


def link_weights_add_up(bench: Bench) -> Verdict:
    """The weights of a file add up to its right links and expected missed pairs."""
    return _groups(
        bench,
        """
        select distinct rates.engagement || ' ' || rates.dataset
        from linkage.link_rates as rates
        left join (
            select engagement, dataset, count(*) as records_n, sum(link_weight) as pairs
            from linkage.link_weights
            group by all
        ) as found using (engagement, dataset)
        where
            rates.dataset in ('education', 'social_work')
            and rates.estimated_precision is not null
            and not coalesce(
                found.records_n = rates.linked_n
                and abs(pairs - linked_n * estimated_precision - missed_n)
                    <= 0.01 + 0.001 * linked_n,
                false
            )
        order by all
        """,
    )


def link_flow_adds_up(bench: Bench) -> Verdict:
    """Accepted rows are the linked, the waiting and the others; passes add up to the linked."""
    return _groups(
        bench,
        """
        select engagement || ' ' || dataset
        from linkage.link_flow
        where dataset not in ('sample', 'pupils')
        group by engagement, dataset
        having not coalesce(
            sum(n) filter (step = 'accepted')
            = sum(n) filter (step in ('linked', 'waits for a clerk', 'not linked'))
            and max(n) filter (step = 'linked') = coalesce(sum(n) filter (step like 'linked: %'), 0)
            and min(n) >= 0,
            false
        )
        order by all
        """,
    )


def links_are_of_this_model(bench: Bench) -> Verdict:
    """The model is what its hash names, written under the rules of now; links are made of it."""
    try:
        stored = read_model(bench.con, bench.home.config)
    except InputError as error:
        return Verdict(False, str(error))
    others = bench.con.execute(
        "select distinct engagement from linkage.link_rates where dataset = 'social_work' "
        "and estimated_recall is not null and model_id is distinct from ? order by all",
        [stored.model_id],
    ).fetchall()
    found = [row[0] for row in others if row[0] not in bench.left_out]
    return Verdict(not found, places(found, f"model {stored.model_id[:12]}"))


def linkage_has_no_identifiers(bench: Bench) -> Verdict:
    """No column of schema linkage is named like an identifier or an index number."""
    forbidden = identifier_columns(bench.codebook) | _INDEX_NUMBERS
    columns = bench.con.execute(
        "select table_name, lower(column_name) from information_schema.columns "
        "where table_schema = 'linkage' order by all"
    ).fetchall()
    found = [f"{table}.{column}" for table, column in columns if column in forbidden]
    return Verdict.of(found, len(columns), "columns")


def flow_adds_up(bench: Bench) -> Verdict:
    """Of every survey, received = removed + usable, and usable = linked + not linked."""
    rows = bench.con.execute(
        "with steps as (select engagement, survey, "
        "coalesce(sum(n) filter (where step = 'received'), 0) as received, "
        "coalesce(sum(n) filter (where step = 'removed'), 0) as removed, "
        "coalesce(sum(n) filter (where step = 'usable'), 0) as usable, "
        "coalesce(sum(n) filter (where step in ('linked', 'not_linked')), 0) as joined "
        "from linkage.flow group by all) "
        "select engagement || ' ' || survey, received <> removed + usable "
        "or (survey in ('primary', 'secondary') and usable <> joined) from steps order by all"
    ).fetchall()
    wrong = [place for place, is_wrong in rows if is_wrong]
    return Verdict.of(wrong, len(rows), "flows")


def response_fits_the_flow(bench: Bench) -> Verdict:
    """In no place more pupils completed than were invited; all places sum to the flow."""
    rows = bench.con.execute(
        "with places as (select engagement, survey, sum(invited_n) as invited, "
        "bool_or(completed_n > invited_n or opted_out_n < 0) as is_wrong "
        "from linkage.response group by all), "
        "steps as (select engagement, survey, n from linkage.flow where step = 'invited') "
        "select engagement || ' ' || survey, is_wrong or n is distinct from invited "
        "from places full join steps using (engagement, survey) order by all"
    ).fetchall()
    wrong = [place for place, is_wrong in rows if is_wrong is not False]
    return Verdict.of(wrong, len(rows), "surveys")


PYTHON_CHECKS = (
    PythonCheck(
        PROJECT_IDS,
        "records_have_one_project_id",
        "A record has one project id at most",
        "contract of linkage.project_ids",
        "do not publish; run: rcs materialise; if it stays, report a defect of linkage",
        records_have_one_project_id,
    ),
    PythonCheck(
        PROJECT_IDS,
        "links_are_one_to_one",
        "Within a dataset of an engagement a pupil has one record at most",
        "interfaces.md, Engines: links are one-to-one",
        "do not publish; run: rcs materialise; if it stays, report a defect of linkage",
        links_are_one_to_one,
    ),
    PythonCheck(
        PROJECT_IDS,
        "project_ids_have_records",
        "Every linked record is one that intake accepted",
        "contract of linkage.project_ids",
        "run: rcs materialise for the engagements named (linkage is older than intake)",
        project_ids_have_records,
    ),
    PythonCheck(
        PROJECT_IDS,
        "links_start_at_the_sample",
        "Every link leads to a pupil of the engagement's sample file",
        "design.md, Spine of linkage",
        "do not publish; report a defect of linkage",
        links_start_at_the_sample,
    ),
    PythonCheck(
        PROJECT_IDS,
        "link_bands_are_valid",
        "A link is exact, decided by clerks, or made by the model above its threshold",
        "contract of linkage.project_ids; linkage/data/linkage.yaml",
        "run: rcs materialise for the engagements named (the rules are newer than the links)",
        link_bands_are_valid,
    ),
    PythonCheck(
        LINK_RATES,
        "link_rates_add_up",
        "Link rates count the accepted records and the links that there are",
        "contract of linkage.link_rates",
        "run: rcs materialise for the engagements named (linkage is older than intake)",
        link_rates_add_up,
    ),
    PythonCheck(
        BY_GROUP,
        "rates_by_group_are_complete",
        "Link rates stand for every group of ten or more records, and for no smaller one",
        "policy.md, Table A (base); methods.md A (link rates by subgroup)",
        "do not publish; run: rcs materialise; if it stays, report a defect of linkage",
        rates_by_group_are_complete,
    ),
    PythonCheck(
        LINK_RATES,
        "estimates_hold_themselves",
        "Estimated precision, recall and error rates lie inside their own intervals",
        "contract of linkage.link_rates and linkage.link_rates_by_group",
        "do not publish; report a defect of linkage",
        estimates_hold_themselves,
    ),
    PythonCheck(
        SENSITIVITY,
        "sensitivities_fit_the_links",
        "Link sensitivity counts the links that there are, for groups of ten or more pupils",
        "policy.md, Table B, reach; Table A (base)",
        "do not publish; run: rcs materialise; if it stays, report a defect of linkage",
        sensitivities_fit_the_links,
    ),
    PythonCheck(
        WEIGHTS,
        "link_weights_add_up",
        "Inverse-linkage weights add up to the pairs of one child that a file is expected to have",
        "contract of linkage.link_weights",
        "do not publish; run: rcs materialise; if it stays, report a defect of linkage",
        link_weights_add_up,
    ),
    PythonCheck(
        FLOW,
        "flow_adds_up",
        "Of every survey, received = removed + usable, and usable = linked + not linked",
        "domain.md 1.11",
        "run: rcs materialise for the engagements named; if it stays, report a defect of intake",
        flow_adds_up,
    ),
    PythonCheck(
        RESPONSE,
        "response_fits_the_flow",
        "In no place more pupils completed than were invited, and places sum to the flow",
        "linkage/data/response.yaml",
        "run: rcs materialise for the engagements named; if it stays, report a defect of linkage",
        response_fits_the_flow,
    ),
    PythonCheck(
        LINKED,
        "linkage_has_no_identifiers",
        "No table of linkage has a column for an identifier or an index number",
        "design.md, Zones",
        "stop; delete warehouse.duckdb, correct the table's definition, run: rcs materialise",
        linkage_has_no_identifiers,
    ),
)


# Both are made in other runs than the links: definitions of their own.
FLOW_CHECKS = (
    PythonCheck(
        LINK_FLOW,
        "link_flow_adds_up",
        "The steps from accepted rows to linked ones lose nobody",
        "contract of linkage.link_flow; RECORD 6.3",
        "run: rcs materialise (the flow is older than the links)",
        link_flow_adds_up,
    ),
    PythonCheck(
        LINK_FLOW,
        "links_are_of_this_model",
        "The match model is what its hash names, and every engagement was linked by it",
        "contract of linkage.model",
        "run: rcs materialise for the engagements named",
        links_are_of_this_model,
    ),
)


def profiles(bench: Bench) -> Mapping[str, pd.DataFrame]:
    """The frames of linkage at the boundary linked."""
    return linkage_profiles(bench.con)


SUITE = linked_suite(load_codebook(home_path() / "config"), load_thresholds(home_path() / "config"))

linkage_checks = room_checks(
    "linkage_checks",
    PYTHON_CHECKS,
    SUITE,
    profiles,
    assets=(LINKED, LINK_RATES),
)

flow_checks = room_checks("link_flow_checks", FLOW_CHECKS)
