"""The roll: suppressed cells are filled so that every published margin holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rcs_assets.programme import Programme
from rcs_assets.simulate.draws import round_to_sum, stream
from rcs_assets.simulate.places import Places, cut_small, read_places
from rcs_assets.simulate.public import ROLL_FILE, STAGES, copy_public
from rcs_assets.simulate.roll import fill_counts, fill_sexes, stage_by_sex

tables = arrays(np.int64, (6, 7), elements=st.integers(0, 60))
masks = arrays(np.bool_, (6, 7))
seeds = st.integers(0, 1_000)


@given(table=tables, hidden=masks, seed=seeds)
def test_filled_counts_keep_published_cells_and_totals(
    table: np.ndarray, hidden: np.ndarray, seed: int
) -> None:
    published = np.where(hidden, np.nan, table)
    filled = fill_counts(published, table.sum(axis=1), stream(seed, "roll"))
    assert (filled >= 0).all()
    assert (filled[~hidden] == table[~hidden]).all()
    assert (filled.sum(axis=1) == table.sum(axis=1)).all()


@settings(max_examples=40)
@given(table=tables, share=st.floats(0, 1), seed=seeds)
def test_stage_by_sex_meets_both_margins(table: np.ndarray, share: float, seed: int) -> None:
    girls = np.floor(table.sum(axis=1) * share).astype(np.int64)
    sexes = stage_by_sex(table, girls, stream(seed, "sexes"))
    assert (sexes >= 0).all()
    assert (sexes.sum(axis=2) == table).all()
    assert (sexes[:, :, 0].sum(axis=1) == girls).all()


def test_a_single_suppressed_sex_is_the_rest_of_the_roll() -> None:
    girls = fill_sexes(
        np.array([np.nan, 7.0]), np.array([12.0, np.nan]), np.array([20, 20]), stream(1, "x")
    )
    assert girls.tolist() == [8, 7]


def test_rounding_gives_units_to_the_largest_remainders() -> None:
    rounded = round_to_sum(np.array([[1.2, 2.7, 3.1]]), np.array([7]))
    assert rounded.tolist() == [[1, 3, 3]]


def test_places_agree_with_every_unsuppressed_figure_of_the_real_roll(
    shared_reference: Path, programme: Programme, tmp_path: Path
) -> None:
    copy_public(shared_reference, tmp_path)
    places = read_places(tmp_path, programme, 7)
    roll = pd.read_csv(tmp_path / ROLL_FILE, dtype=str).set_index(["SeedCode", "School Type"])
    kinds = places.schools["survey"].map({"primary": "Primary", "secondary": "Secondary"})
    own = roll.loc[pd.MultiIndex.from_arrays([places.schools["seed_code"], kinds])]
    asked = ["P5", "P6", "P7", "S1", "S2", "S3", "S4"]
    published = own[asked].apply(pd.to_numeric, errors="coerce").to_numpy()
    drawn = places.rolls.sum(axis=2)[:, [STAGES.index(stage) for stage in asked]]
    assert (drawn == published)[~np.isnan(published)].all()
    # domain.md 12: 560 primaries, 94 secondaries, S1-S4 roll 61,654 (never suppressed).
    assert kinds.value_counts().to_dict() == {"Primary": 560, "Secondary": 94}
    assert drawn[:, 3:].sum() == 61_654
    assert 47_800 < drawn[:, :3].sum() < 48_500


def test_fictitious_programme_has_the_real_size(places: Places) -> None:
    assert 640 <= len(places.schools) <= 670
    assert 108_000 < places.pupils_n < 112_000
    assert places.schools["seed_code"].str.startswith("9").all()
    assert places.schools["name"].str.endswith("(fictitious)").all()
    assert places.zones["datazone"].str.fullmatch(r"S019[0-9]{5}").all()


def test_small_programme_keeps_schools_that_small_cell_rules_need(places: Places) -> None:
    small = cut_small(places)
    assert 2_500 < small.pupils_n < 4_000
    by_engagement = small.schools.groupby(["engagement", "survey"]).size()
    assert by_engagement.xs("secondary", level="survey").tolist() == [2, 2]
    assert (by_engagement.xs("primary", level="survey") >= 6).all()
    assert sorted(small.schools["role"])[-4:] == ["under_10", "under_10", "under_20", "under_20"]
