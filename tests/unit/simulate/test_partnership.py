"""Cluster maps and budgets: what is delivered about a partnership, not about children."""

from __future__ import annotations

import pandas as pd
import pytest

from rcs_assets.programme import Programme
from rcs_assets.simulate.clusters import UNKNOWN_SCHOOL, cluster_map
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.places import Places
from rcs_assets.simulate.services import budgets, service_map
from tests.unit.simulate.conftest import SEED, SimulatedSet

ENGAGEMENTS = ("t1-clackmannanshire", "t2-falkirk")
KEY = "t2-north-lanarkshire"


@pytest.fixture(scope="module")
def schools(places: Places) -> pd.DataFrame:
    return places.schools[places.schools["engagement"] == KEY]


def test_every_school_has_one_home_cluster(schools: pd.DataFrame, programme: Programme) -> None:
    rows = cluster_map(programme.engagements[KEY], schools, SEED, None)
    homes = rows[rows["is_sdc_cluster"] == "Y"]
    assert set(homes["seed_code"]) == set(schools["seed_code"])
    assert homes["seed_code"].is_unique
    secondary = schools.loc[schools["survey"] == "secondary", "seed_code"]
    assert set(rows["cluster_code"]) <= set("C" + secondary)
    own = homes[homes["seed_code"].isin(secondary)]
    assert (own["cluster_code"] == "C" + own["seed_code"]).all()
    names = schools.set_index("seed_code")["name"]
    of = rows["cluster_code"].str[1:].map(names)
    assert (rows["cluster_name"] == of + " cluster").all()


def test_a_few_primaries_feed_two_secondaries(schools: pd.DataFrame, programme: Programme) -> None:
    rows = cluster_map(programme.engagements[KEY], schools, SEED, None)
    twice = rows[rows["is_sdc_cluster"] == "N"]
    primaries_n = (schools["survey"] == "primary").sum()
    assert 1 <= len(twice) < 0.1 * primaries_n
    assert not rows.duplicated(["seed_code", "cluster_code"]).any()


def test_primaries_go_to_the_nearest_district(programme: Programme) -> None:
    schools = pd.DataFrame(
        [
            ("1000001", "secondary", "Near Academy", "FK3"),
            ("1000002", "secondary", "Far Academy", "FK9"),
            ("1000003", "secondary", "Other Academy", "EH3"),
            ("1000004", "primary", "A Primary", "FK2"),
            ("1000005", "primary", "B Primary", "FK8"),
            ("1000006", "primary", "C Primary", "EH52"),
        ],
        columns=["seed_code", "survey", "name", "district"],
    )
    rows = cluster_map(programme.engagements[KEY], schools, SEED, None)
    homes = rows[rows["is_sdc_cluster"] == "Y"].set_index("seed_code")["cluster_code"]
    assert homes["1000004"] == "C1000001"
    assert homes["1000005"] == "C1000002"
    assert homes["1000006"] == "C1000003"


def test_one_unknown_school_is_planted_where_the_file_is_long_enough(
    schools: pd.DataFrame, programme: Programme, small_set: SimulatedSet
) -> None:
    planted = Planted()
    rows = cluster_map(programme.engagements[KEY], schools, SEED, planted)
    assert (rows["seed_code"] == UNKNOWN_SCHOOL).sum() == 1
    assert planted.table()["kind"].tolist() == ["unknown_school"]
    assert UNKNOWN_SCHOOL not in set(schools["seed_code"])
    for key in ENGAGEMENTS:
        assert UNKNOWN_SCHOOL not in set(small_set.csv(f"{key}_clusters.csv")["seed_code"])


def test_the_small_programme_has_a_cluster_of_three_schools(small_set: SimulatedSet) -> None:
    for key in ENGAGEMENTS:
        rows = small_set.csv(f"{key}_clusters.csv")
        primary = small_set.csv(f"{key}_sample-file.csv").query("stage.str.startswith('P')")
        homes = rows[(rows["is_sdc_cluster"] == "Y") & rows["seed_code"].isin(primary["seed_code"])]
        assert homes.groupby("cluster_code").size().max() >= 3
        assert (rows["is_sdc_cluster"] == "N").sum() == 1


def test_budgets_cover_the_costs_of_every_sector(programme: Programme) -> None:
    services = service_map(programme.engagements[KEY], 20_000, SEED)
    money = budgets(programme.engagements[KEY], services, 0.4, SEED)
    paid = (money["budget_gbp"] * money["share"]).groupby(money["sector"]).sum()
    costs = services.groupby("sector")["annual_cost_gbp"].sum()
    assert ((paid / costs) > 1).all()
    assert ((paid / costs) < 1.25).all()
    direct = money["method"] == "direct"
    assert (money.loc[direct, "share"] == 1).all()
    assert money.loc[~direct, "share"].between(0.3, 0.4).all()
    assert set(money["method"]) == {"direct", "activity", "population", "nrac"}
    assert money["budget_id"].is_unique
