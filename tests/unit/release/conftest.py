"""A small warehouse with protected estimates, for candidates and publications."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure import audience_names, load_policy, protect_estimates
from rcs_assets.disclosure.geographies import geography_table
from rcs_assets.programme import load_programme
from rcs_assets.release.candidate import Candidate, Sources, build_candidate
from rcs_assets.release.gate import CheckRecord, CheckStatus
from rcs_assets.release.publish import publish_candidate
from rcs_assets.storage import Home, open_warehouse

ENGAGEMENTS = ("t1-clackmannanshire", "t2-falkirk")
CHECKS = (CheckRecord("intake/receipts", "receipts_add_up", CheckStatus.PASSED, 5, 5, "0", "0"),)


def _fill(con: duckdb.DuckDBPyConnection, positive_pct: int = 40) -> None:
    programme = load_programme()
    codes = {key: programme.engagements[key].cpp.council_code for key in ENGAGEMENTS}
    con.execute("create schema wellbeing; create schema linkage; create schema intake")
    con.execute("create schema disclosure")
    con.execute(
        f"""
        create table linkage.linked as
        select
            'r' || i as record_id,
            if(i % 3 = 0, 't1-clackmannanshire', 't2-falkirk') as engagement,
            if(i % 3 = 0, 't1', 't2') as tranche, 'secondary' as survey,
            if(i % 50 = 0, null, 'p' || i) as project_id, i % 50 <> 0 as is_linked,
            '55' || (i % 7)::varchar || '0001' as seed_code, 'S' || (1 + i % 4) as stage,
            if(i % 2 = 0, 'F', 'M') as sex, true as has_education, 1 as education_pass,
            'S01000001' as datazone, 1 + i % 5 as simd_quintile, 'White' as ethnicity_group,
            false as free_school_meal, false as has_asn, false as looked_after,
            hash(i) % 100 < {positive_pct} as is_positive,
        from range(3000) as t(i)
        """
    )
    con.execute(
        """
        create table wellbeing.weights as
        select record_id, engagement, survey, stage, sex, 1.25::double as weight
        from linkage.linked;
        create table wellbeing.item_answers as
        select record_id, engagement, tranche, survey, seed_code, stage, sex, simd_quintile,
            is_positive::tinyint as hungry from linkage.linked;
        create table wellbeing.scores as
        select record_id, engagement, survey, 12.5::double as sdq_total from linkage.linked;
        create table linkage.link_rates as
        select engagement, survey as dataset, count(*) as records_n,
            count(project_id) as linked_n from linkage.linked group by all;
        create table intake.school_list as
        select '5500001' as seed_code, 'A School' as school_name,
            'Clackmannanshire' as council_name, 'Yes' as has_primary, 'No' as has_secondary
        union all select '5500002', 'B School', 'Falkirk', 'No', 'Yes'
        union all select '5500003', 'Only Special', 'Falkirk', 'No', 'No';
        create table intake.receipts as
        select 't2-falkirk' as engagement, 'secondary_survey' as dataset,
            't2-falkirk_secondary-survey.sav' as file, repeat('ab', 32) as sha256,
            2004 as received_n, 2000 as accepted_n, 4 as quarantined_n, 0 as withdrawn_n,
            'accepted' as status, null::varchar as reason, true as is_simulated;
        """
    )
    levels = (
        ("cpp", "tranche", "engagement"),
        ("tranche", "tranche", "null"),
        ("all", "null", "null"),
    )
    breakdowns = {"total": "'all'", "sex": "sex", "stage": "stage"}
    con.register("code", pa.table({"engagement": list(codes), "code": list(codes.values())}))
    parts = [
        f"""
        select {tranche}::varchar as tranche, {engagement}::varchar as engagement, survey,
            '{level}' as geography_level,
            coalesce(any_value(if('{level}' = 'cpp', code, null)), {tranche}, 'all')
                as geography_code,
            '{breakdown}' as breakdown, {group} as "group",
            'secondary_hungry' as indicator, 'pct' as statistic, count(*) + 500 as roll_n,
            count(*) as base_n, count(*) filter (where is_positive) as numerator_n,
            100.0 * numerator_n / base_n as estimate, 1.0 as ci_low, 99.0 as ci_high,
            'wilson' as method, 1.2 as design_effect, 7 as schools_n, '' as reason
        from linkage.linked inner join code using (engagement) group by all
        """.replace("group by all", f"group by {tranche}, {engagement}, survey, {group}")
        .replace("group by null, null, ", "group by ")
        .replace(", null, survey", ", survey")
        .replace(", 'all'\n", "\n")
        for level, tranche, engagement in levels
        for breakdown, group in breakdowns.items()
    ]
    con.execute("create table wellbeing.estimates as " + " union all ".join(parts))
    con.register("geo", geography_table(programme, ENGAGEMENTS))
    con.execute(
        "create temp table ind as select 'secondary_hungry' as indicator, false as is_sensitive"
    )
    protected = protect_estimates(
        con,
        "wellbeing.estimates",
        "ind",
        load_policy(),
        audience_names(ENGAGEMENTS),
        geographies="geo",
    )
    con.register("protected", protected)
    con.execute("create table disclosure.estimates as from protected")


def _sources() -> Sources:
    return Sources(load_programme(), load_codebook(), load_policy(), date(2020, 6, 30))


def _build(place: Home) -> Candidate:
    with open_warehouse(place, read_only=True) as con:
        return build_candidate(place, con, _sources())


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


@pytest.fixture
def released(published_home: Path, tmp_path: Path) -> Home:
    """A home with one published release that the test may change."""
    return Home.open(shutil.copytree(published_home, tmp_path / "home", symlinks=True))


@pytest.fixture
def sources() -> Sources:
    """Register, codebook and policy as they are; the day fixed."""
    return _sources()


@pytest.fixture
def build() -> Callable[[Home], Candidate]:
    """Build a candidate of a home."""
    return _build
