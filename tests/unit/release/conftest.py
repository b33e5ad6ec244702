"""A small warehouse with protected estimates, for candidates and publications."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pytest

from rcs_assets.codebook import PUPIL_SURVEYS, load_codebook
from rcs_assets.disclosure import load_policy
from rcs_assets.programme import load_programme
from rcs_assets.release.candidate import Candidate, build_candidate
from rcs_assets.release.contents import Sources
from rcs_assets.release.gate import CheckRecord, CheckStatus
from rcs_assets.release.publish import publish_candidate
from rcs_assets.storage import Home, open_warehouse

ENGAGEMENTS = ("t1-clackmannanshire", "t2-falkirk")
CHECKS = (CheckRecord("intake/receipts", "receipts_add_up", CheckStatus.PASSED, 5, 5, "0", "0"),)


SCHOOL, CLUSTER = "5500001", "C5500009"
# A protected table as disclosure writes it, by hand: the release decides nothing about cells.
_CELL = (
    "audience, tranche, engagement, geography_level, geography_code, geography_name, "
    'breakdown, "group", n, estimate, status, note'
)


def _cells(codes: dict[str, str]) -> list[tuple[object, ...]]:
    alloa, falkirk = ENGAGEMENTS
    groups = (("total", "all"), ("sex", "F"), ("sex", "M"))
    areas = (
        ("public", "t1", alloa, "cpp", codes[alloa], "Clackmannanshire"),
        ("public", "t2", falkirk, "cpp", codes[falkirk], "Falkirk"),
        ("public", "t1", None, "tranche", "t1", "Tranche 1"),
        ("public", "t2", None, "tranche", "t2", "Tranche 2"),
        ("public", None, None, "all", "all", "All"),
        (f"cpp/{alloa}", "t1", alloa, "cpp", codes[alloa], "Clackmannanshire"),
        (f"cpp/{falkirk}", "t2", falkirk, "cpp", codes[falkirk], "Falkirk"),
        (f"cpp/{falkirk}", "t2", falkirk, "cluster", f"{CLUSTER}-small", "B cluster, small"),
        (f"cpp/{alloa}", "t1", alloa, "school", SCHOOL, 'A "good" School, Alloa'),
    )
    return [
        (*area, *group, *(figures if group[1] != "M" or area[3] != "school" else hidden))
        for area in areas
        for group in groups
        for figures, hidden in [((120, 40.0, "published", None), (None, None, "c", "low"))]
    ]


def _fill(con: duckdb.DuckDBPyConnection) -> None:
    programme = load_programme()
    codes = {key: programme.engagements[key].cpp.council_code for key in ENGAGEMENTS}
    con.execute("create schema wellbeing; create schema linkage; create schema intake")
    con.execute("create schema disclosure")
    con.execute(
        """
        create table linkage.linked as
        select
            'r' || i as record_id,
            if(i % 3 = 0, 't1-clackmannanshire', 't2-falkirk') as engagement,
            if(i % 3 = 0, 't1', 't2') as tranche, 'secondary' as survey,
            if(i % 50 = 0, null, 'p' || i) as project_id, i % 50 <> 0 as is_linked,
            '55' || (i % 7)::varchar || '0001' as seed_code, 'S' || (1 + i % 4) as stage,
            if(i % 2 = 0, 'F', 'M') as sex, true as has_education, 1 as education_pass,
            'S01000001' as datazone, 1 + i % 5 as simd_quintile, 'White' as ethnicity_group,
            false as free_school_meal, false as has_asn, false as has_asn_but_other,
            false as looked_after, i % 11 = 0 as has_asn_support, i % 13 = 0 as has_social_work,
            if(i % 13 = 0, 1, null) as social_work_pass, 'never' as looked_after_status,
            false as child_protection_12m, i % 26 = 0 as has_open_case,
            false as has_childs_plan,
        from range(3000) as t(i)
        """
    )
    # A tenth of S2 and S4 in tranche 1 had the combined form; main leaves out what that one asks.
    con.execute(
        """
        create table intake.primary_survey (record_id varchar, form varchar);
        create table intake.secondary_survey as
        select record_id, case
            when tranche <> 't1' then null
            when stage in ('S2', 'S4') and hash(record_id) % 10 = 0 then 'combined'
            else 'main'
        end as form from linkage.linked
        """
    )
    main = load_codebook().questionnaire_for("t1", "secondary").forms[0]
    answers = ", ".join(
        f"if(form = 'main' and {variable.name in main.left_out}, -4, "
        f"hash(record_id || '{variable.name}') % 2)::tinyint as {variable.name}"
        for variable in load_codebook().variables.values()
        if set(variable.surveys) & set(PUPIL_SURVEYS)
    )
    con.execute(
        f"""
        create table wellbeing.weights as
        select record_id, engagement, survey, stage, sex, 1.25::double as weight
        from linkage.linked;
        create table wellbeing.item_answers as
        select record_id, engagement, tranche, survey, seed_code, stage, sex, simd_quintile,
            {answers}
        from linkage.linked inner join intake.secondary_survey using (record_id);
        create table wellbeing.scores as
        select record_id, engagement, survey, 12.5::double as sdq_total from linkage.linked;
        create table linkage.link_weights as
        select engagement, 'education' as dataset, 'e' || record_id as record_id, project_id,
            'all' as cell, 1.125::double as link_weight
        from linkage.linked
        where project_id is not null;
        create table linkage.link_rates as
        select engagement, survey as dataset, count(*) as records_n,
            count(project_id) as linked_n, 0 as ambiguous_n, 0 as clerical_n, 10 as exact_n,
            0 as decided_n, 0 as probabilistic_n, 1.0 as estimated_precision,
            0.99 as precision_low, 1.0 as precision_high, 0.9 as estimated_recall,
            0.8 as recall_low, 1.0 as recall_high, 2.5 as missed_n, 'abc' as model_id,
            false as is_encoded,
        from linkage.linked group by all;
        create table linkage.link_rates_by_group as
        select engagement, dataset, 'sex' as breakdown, 'F' as "group", records_n, linked_n,
            98.0 as linked_pct, 97.0 as ci_low, 99.0 as ci_high, 0.1 as false_pct,
            0.0 as false_low, 0.3 as false_high, 2.0 as missed_pct, 1.0 as missed_low,
            3.0 as missed_high, 50.0 as linked_share_pct, 60.0 as unlinked_share_pct,
            -0.2 as std_difference
        from linkage.link_rates;
        create table linkage.link_sensitivity as
        select engagement, 'education' as dataset, 'sex' as breakdown, 'F' as "group",
            100 as pupils_n, 90 as linked_n, 2.0 as missed_n, 97.8 as sensitivity_pct,
            95.0 as ci_low, 99.0 as ci_high
        from linkage.link_rates;
        create table linkage.model as
        select 'abc' as model_id, 'shipped' as origin, '5.0.0' as splink_version,
            '{{"splink": {{"comparisons": [{{"output_column_name": "sex", "comparison_levels":
                [{{"label_for_charts": "same", "m_probability": 0.9, "u_probability": 0.5}}]
            }}]}}}}' as definition;
        create table linkage.link_flow as
        select engagement, dataset, 51 as step_no, 'linked' as step, linked_n as n
        from linkage.link_rates;
        create schema services;
        create table services.link_effects as
        select engagement, 'secondary' as survey, 'reach' as kind, 'a' as result,
            'exact only' as scenario, 100 as pupils_n, 10 as counted_n, 10.0 as pct,
            -1.5 as difference
        from linkage.link_rates;
        create table services.link_items as
        select 1 as item_no, 'RECORD 6.3' as guideline, 'record_6_3' as item, 'Flow' as label,
            'Steps' as answer, 'run' as filled_by;
        create table intake.school_list as
        select '{SCHOOL}' as seed_code, 'A School' as school_name,
            'Clackmannanshire' as council_name, 'Yes' as has_primary, 'No' as has_secondary
        union all select '5500002', 'B School', 'Falkirk', 'No', 'Yes'
        union all select '5500003', 'Only Special', 'Falkirk', 'No', 'No';
        create table intake.clusters as
        select 't2-falkirk' as engagement, '5500002' as seed_code, '{CLUSTER}' as cluster_code,
            'B School cluster' as cluster_name, true as is_sdc_cluster,
            date '2017-08-01' as valid_from;
        create table intake.receipts as
        select 't2-falkirk' as engagement, 'secondary_survey' as dataset,
            't2-falkirk_secondary-survey.sav' as file, repeat('ab', 32) as sha256,
            2004 as received_n, 2000 as accepted_n, 4 as quarantined_n, 0 as withdrawn_n,
            'accepted' as status, null::varchar as reason, true as is_simulated;
        create table wellbeing.estimates as
        select 't1' as tranche, 't1-clackmannanshire' as engagement, 'secondary' as survey,
            'cpp' as geography_level, '{codes[ENGAGEMENTS[0]]}' as geography_code,
            'total' as breakdown, 'all' as "group", 'secondary_hungry' as indicator,
            'pct' as statistic, 1500 as roll_n, 1000 as base_n, 400 as numerator_n,
            40.0 as estimate, 37.0 as ci_low, 43.0 as ci_high, 'wilson' as method,
            1.2 as design_effect, 7 as schools_n, '' as reason, null::double as sum_x,
            null::double as sd, 1::bigint as answers_mark;
        """
    )
    _fill_protected(con, codes)


def _fill_protected(con: duckdb.DuckDBPyConnection, codes: dict[str, str]) -> None:
    con.execute(
        """
        create table disclosure.estimates (
            audience varchar, release varchar, tranche varchar, engagement varchar,
            survey varchar default 'secondary', geography_level varchar,
            geography_code varchar, geography_name varchar, breakdown varchar, "group" varchar,
            indicator varchar default 'secondary_hungry', statistic varchar default 'pct',
            n decimal(9, 0), estimate decimal(7, 1), ci_low decimal(7, 1),
            ci_high decimal(7, 1), status varchar, note varchar, status_inside varchar
        )
        """
    )
    con.executemany(
        f"insert into disclosure.estimates ({_CELL}) values ({', '.join('?' * 12)})",
        _cells(codes),
    )
    con.execute(
        """
        create table disclosure.comparisons as
        select audience, engagement, survey, geography_level, geography_code, indicator,
            statistic, if(geography_level = 'cpp', 'tranche', 'rest_of_cpp') as comparator,
            'similar' as verdict, status
        from disclosure.estimates where breakdown = 'total' and engagement is not null;
        create table disclosure.changes as
        select distinct engagement, null::varchar as earlier_engagement, survey, geography_code,
            geography_name, breakdown, "group", indicator, statistic,
            null::decimal(9, 0) as n, null::decimal(7, 1) as earlier_estimate,
            null::decimal(7, 1) as later_estimate, null::decimal(7, 1) as change,
            null::decimal(7, 1) as ci_low, null::decimal(7, 1) as ci_high,
            null::varchar as verdict, 'x' as status, 'one_wave' as note
        from disclosure.estimates
        where breakdown = 'total' and geography_level = 'cpp' and audience = 'public';
        create table disclosure.participation as
        select audience, engagement, survey, geography_level, geography_code,
            120 as respondents_n, 160 as roll_n, '70-74 %' as response_band,
            if(geography_level = 'cpp', 7, null) as schools_n, 'published' as status
        from disclosure.estimates
        where breakdown = 'total' and geography_level in ('cpp', 'school');
        create table disclosure.reach as
        select audience, engagement, 'total' as breakdown, 'all' as "group",
            'secondary_sdq_very_high_emotional' as need, 'high' as need_level,
            'social_work' as service, 120 as n, 30.0 as observed_pct, 25.0 as ci_low,
            35.0 as ci_high, 36.0 as corrected_pct, 30.0 as bound_low, 42.0 as bound_high,
            'published' as status
        from disclosure.participation where geography_level = 'cpp';
        create table disclosure.recipients as
        select engagement, 'secondary' as survey, 'any_service' as service, 110 as n,
            38.0 as not_responded_pct, 'published' as status
        from disclosure.reach where audience = 'public';
        create table disclosure.spend as
        select audience, engagement, 'all' as sector, 'all' as tier, 'all' as age_band,
            'all' as funding_origin, 'all' as domain, 123000 as gbp, 500 as children_n,
            'published' as status
        from disclosure.reach;
        create table services.complex_asn as
        select 't2-falkirk' as engagement, 'secondary' as survey, 'answers' as part,
            'secondary_lonely' as measure, 'complex' as "group", 'pct' as statistic,
            40::bigint as n, 12::bigint as numerator_n, 3::bigint as schools_n,
            30.5::double as estimate, 18.0::double as ci_low, 46.0::double as ci_high,
            'wilson' as method, 8.0::double as difference, null::double as difference_low,
            null::double as difference_high, '' as reason;
        create table wellbeing.definition_sets as
        select 'current' as definition_set, 't2-falkirk' as engagement, 'secondary' as survey,
            'secondary_positive_wellbeing' as indicator, 'pct' as statistic, 100::bigint as n,
            20.5::double as estimate;
        create table wellbeing.unit_nonresponse as
        select 't2-falkirk' as engagement, 'secondary' as survey, 'total' as breakdown,
            'all' as "group", 160 as roll_n, 120 as respondents_n, 25.0::double as nonresponse_pct,
            1.3::double as mean_weight, 110.0::double as effective_n, 1.1::double
            as weighting_effect;
        create table wellbeing.item_nonresponse as
        select 't2-falkirk' as engagement, 'secondary' as survey, 'happy_at_school' as variable,
            'total' as breakdown, 'all' as "group", 120 as asked_n, 110 as valid_n,
            4 as prefer_not_to_say_n, 0 as dont_know_n, 0 as does_not_apply_n,
            6 as not_answered_n, 8.3::double as nonresponse_pct;
        create table wellbeing.salsus_contrasts as
        select 't2-falkirk' as engagement, 'S12000014' as council_code, 'S2' as stage,
            'F' as sex, 'wemwbs' as measure, 'mean' as statistic, 2 as councils_n,
            '2013' as period, 100 as rcs_n, 48.0::double as rcs_estimate,
            0.5::double as rcs_contrast, 47.0::double as salsus_estimate,
            0.2::double as salsus_contrast, 0.3::double as change, 0.4::double as se,
            -0.5::double as ci_low, 1.1::double as ci_high, 0.4::double as p_value,
            0.4::double as corrected_p, false as is_marked, '' as reason;
        create table wellbeing.respondents as
        select distinct engagement, survey, geography_level, geography_code,
            120 as respondents_n, 160 as roll_n, 7 as schools_n
        from disclosure.participation;
        create table wellbeing.comparisons as
        select distinct * exclude (audience, status) from disclosure.comparisons;
        create table wellbeing.changes as
        select *, 120 as earlier_n, 120 as later_n, 48 as earlier_numerator_n,
            48 as later_numerator_n, 0 as shared_n
        from disclosure.changes;
        create table services.reach as
        select distinct engagement, need, need_level, service, breakdown, "group",
            120 as need_n, 36 as served_n
        from disclosure.reach;
        create table services.recipients as
        select engagement, survey, unnest([true, false]) as has_responded, 400 as pupils_n,
            30 as asn_support_n, 40 as social_work_n, 15 as both_n, 55 as any_service_n
        from disclosure.recipients;
        create table services.spend as
        select engagement, 'voluntary' as sector, 'universal' as tier, '0-4' as age_band,
            'grant' as funding_origin, 'safe' as domain, 'Trust ' || i as provider_name,
            'third' as provider_type, false as is_confidential, 41000::double as gbp,
            166::double as children_n
        from disclosure.recipients cross join range(3) as t(i);
        create table disclosure.risks as
        select 'secondary' as survey, 'factor' as kind, 'peer' as domain, 'often_lonely' as factor,
            'Often lonely' as title, unnest(['risk', 'protective']) as level,
            'secondary_positive_wellbeing' as outcome, 100 as n, 50 as share_pct,
            20 as outcome_pct, 15 as ci_low, 26 as ci_high, 'published' as status;
        create schema research;
        create table research.risks as
        select survey, kind, domain, factor, level, outcome, 100 as n, 20 as with_outcome_n
        from disclosure.risks;
        create table disclosure.models as
        select 'secondary' as survey, 'secondary_positive_wellbeing' as outcome, 'term' as kind,
            'often_lonely' as factor, 'risk' as level, 0.5 as odds_ratio, 0.3 as ci_low,
            0.8 as ci_high, true as is_clear, -12 as effect_points, -20 as effect_low,
            -4 as effect_high, null::double as value, 200 as n, 'published' as status;
        create table research.models as
        select *, 60 as least_cell_n, 20 as least_outcome_n from disclosure.models;
        create table disclosure.audit as
        select 'public' as coalition, 'secondary' as survey, 'secondary_hungry' as indicator,
            21 as cells_n, 2 as hidden_n, 4 as targets_n, 0 as unsafe_n, 8 as programs_n,
            'ab' as system_hash;
        create table disclosure.certificate_tables (
            table_no integer, audience varchar, survey varchar, indicator varchar,
            tranche varchar, engagement varchar, geography_level varchar, geography_code varchar,
            breakdown varchar, "group" varchar, n decimal(12, 4), positive decimal(14, 4),
            n_step decimal(4, 0), figure_step decimal(4, 1)
        );
        create table disclosure.certificate_cells (
            audience varchar, survey varchar, indicator varchar, tranche varchar,
            engagement varchar, geography_level varchar, geography_code varchar,
            breakdown varchar, "group" varchar, quantity varchar, k integer, low_table integer,
            high_table integer
        );
        """
    )


def _change_content(home: Home, value: int) -> None:
    """Another score of one pupil: the next candidate says something else."""
    with open_warehouse(home) as con:
        con.execute(f"update wellbeing.scores set sdq_total = {value} where record_id = 'r1'")


def _sources(overlay: Path | None = None) -> Sources:
    return Sources(load_programme(), load_codebook(), load_policy(overlay), date(2020, 6, 30))


def _build(place: Home) -> Candidate:
    with open_warehouse(place, read_only=True) as con:
        return build_candidate(place, con, _sources(place.config))


@dataclass(frozen=True)
class Built:
    """A home with a candidate, for tests that only read it."""

    home: Home
    candidate: Candidate

    @property
    def path(self) -> Path:
        """The candidate's folder."""
        return self.candidate.path


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo home with a filled warehouse; copied, never changed."""
    place = Home.open(tmp_path_factory.mktemp("filled") / "home", profile="demo", seed=7)
    with open_warehouse(place) as con:
        _fill(con)
    return place.path


@pytest.fixture(scope="session")
def built(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A home with a candidate that no test may change."""
    place = Home.open(shutil.copytree(filled, tmp_path_factory.mktemp("built") / "home"))
    return Built(place, _build(place))


@pytest.fixture(scope="session")
def published_home(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a release; copied, never changed."""
    place = Home.open(shutil.copytree(built.home.path, tmp_path_factory.mktemp("made") / "home"))
    publish_candidate(place, built.candidate.content_hash, CHECKS)
    return place.path


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Home:
    """A home with a filled warehouse that the test may change."""
    return Home.open(shutil.copytree(filled, tmp_path / "home"))


@pytest.fixture(scope="session")
def pending_home(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A home with a release and a candidate that says something else; copied, never changed."""
    place = tmp_path_factory.mktemp("pending") / "home"
    home = Home.open(shutil.copytree(published_home, place, symlinks=True))
    _change_content(home, 1)
    return Built(home, _build(home))


@pytest.fixture
def pending(pending_home: Built, tmp_path: Path) -> tuple[Home, str]:
    """A home with a release and another candidate that the test may change, and its hash."""
    place = shutil.copytree(pending_home.home.path, tmp_path / "home", symlinks=True)
    return Home.open(place), pending_home.candidate.content_hash


@pytest.fixture
def released(published_home: Path, tmp_path: Path) -> Home:
    """A home with one published release that the test may change."""
    return Home.open(shutil.copytree(published_home, tmp_path / "home", symlinks=True))


@pytest.fixture
def sources() -> Sources:
    """Register, codebook and policy as they are; the day fixed."""
    return _sources()


@pytest.fixture(scope="session")
def build() -> Callable[[Home], Candidate]:
    """Build a candidate of a home."""
    return _build


@pytest.fixture(scope="session")
def change_content() -> Callable[[Home, int], None]:
    """Change a score of one pupil: the next candidate says something else."""
    return _change_content
