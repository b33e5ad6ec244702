"""Headline results under other links, by hand; and the items that are filled from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rcs_assets.errors import ConfigurationError
from rcs_assets.services.link_effects import write_link_effects
from rcs_assets.services.link_items import FACTS, load_link_items
from rcs_assets.services.rules import load_reach_rules

RULES = load_reach_rules()


@pytest.fixture
def effects(warehouse):
    """Ten girls in high need, five found by social work: two by number, three by the model."""
    warehouse.link("education", 1.0)
    warehouse.link("social_work", 0.9)
    warehouse.pupil(5, mood=2.0, social=True, asn=False)
    warehouse.pupil(5, mood=2.0)
    warehouse.pupil(4, mood=4.0, asn=None)
    con = warehouse.con
    con.execute("""
        alter table linkage.link_rates add column clerical_n integer;
        update linkage.link_rates set clerical_n = 2;
        alter table linkage.linked add column project_id varchar;
        update linkage.linked set project_id = 'p' || record_id;
        create table linkage.project_ids as
        select 't1-a' as engagement, dataset, record_id, project_id,
            if(dataset = 'social_work', weight, null) as weight
        from (values ('social_work', 'w1', 'pr1', null), ('social_work', 'w2', 'pr2', null),
            ('social_work', 'w3', 'pr3', 8.0), ('social_work', 'w4', 'pr4', 11.0),
            ('social_work', 'w5', 'pr5', 20.0), ('education', 'e1', 'pr1', null))
            as t(dataset, record_id, project_id, weight);
        create table linkage.link_weights as
        select engagement, dataset, record_id, project_id, 1.2 as link_weight
        from linkage.project_ids where record_id <> 'w1';
    """)
    write_link_effects(con, ["t1-a"], RULES, ["primary_low_mood", "another_survey"])
    return {
        (result, scenario): (pupils_n, counted_n, pct, difference)
        for result, scenario, pupils_n, counted_n, pct, difference in con.execute(
            "select result, scenario, pupils_n, counted_n, pct, difference "
            "from services.link_effects where survey = 'primary'"
        ).fetchall()
    }


def test_a_higher_threshold_takes_links_of_the_model_alone(effects) -> None:
    social = {
        scenario: row[:3] for (result, scenario), row in effects.items()
        if result == "low_mood, high: social_work"
    }  # fmt: skip
    assert social["as linked"] == (10, 5, 50)
    assert social["weight 10"] == (10, 4, 40)
    assert social["weight 13"] == (10, 3, 30)
    assert social["exact only"] == (10, 2, 20)
    # At most: both pairs that wait are links of pupils in need.
    assert social["all waiting"] == (10, 7, 70)
    # One record has no weight of its own and counts once.
    assert social["link weights"][2] == pytest.approx(10 * (1 + 4 * 1.2))
    assert effects["low_mood, high: social_work", "exact only"][3] == -30


def test_indicators_stand_beside_everyone_who_answered(effects) -> None:
    mood = {s: row for (result, s), row in effects.items() if result == "primary_low_mood"}
    assert mood["as linked"][:2] == (10, 10)
    assert mood["everyone"][:2] == (14, 10)
    assert mood["everyone"][3] == pytest.approx(1000 / 14 - 100)
    assert mood["link weights"][2] == 100
    assert not any(result == "another_survey" for result, _ in effects)


def test_an_owner_answers_items_and_a_wrong_entry_is_refused(tmp_path: Path) -> None:
    shipped = {item.name: item for item in load_link_items()}
    open_items = [item.name for item in shipped.values() if not item.answer]
    assert open_items == ["guild_1_origin"]
    file = tmp_path / "link_items.yaml"
    file.write_text(
        "guild_1_origin: {guideline: 'GUILD, step 1', label: Origin, answer: 'By {model}.'}\n"
    )
    owned = {item.name: item for item in load_link_items(tmp_path)}
    assert owned["guild_1_origin"].answer == "By {model}." and len(owned) == len(shipped)
    for entry in ("{guideline: G, label: L, answer: 'a {secret}'}", "{guideline: G, label: L}"):
        file.write_text(f"guild_1_origin: {entry}\n")
        with pytest.raises(ConfigurationError, match="is not valid"):
            load_link_items(tmp_path)
    assert {"quality", "passes", "waiting"} <= FACTS
