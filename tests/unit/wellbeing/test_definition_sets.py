"""Definition sets on made answers, counted a second time in plain Python."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from data_quality.thresholds import load_thresholds
from rcs_assets.cli import main
from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.frozen import freeze, frozen_codebooks
from rcs_assets.codebook.model import VersionChange
from rcs_assets.codebook.versions import variables_of
from rcs_assets.errors import InputError
from rcs_assets.wellbeing.definition_sets import write_definition_sets

CODEBOOK = load_codebook()
EMOTIONAL = (3, 8, 13, 16, 24)
STAGES = {"primary": ["P5", "P6", "P7"], "secondary": ["S1", "S2", "S3", "S4"]}
# The engagements that enter, and the tranche of each.
TRANCHES = {"t1-one": "t1", "t2-two": "t2"}


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 400
    survey = rng.choice(["primary", "secondary"], n)
    frame = pd.DataFrame(
        {
            "record_id": [f"r{i}" for i in range(n)],
            "engagement": rng.choice(["t1-one", "t2-two", "t2-out"], n),
            "survey": survey,
            "stage": [rng.choice(STAGES[s]) for s in survey],
            "weight": rng.uniform(1, 2, n),
        }
    )
    columns = {}
    for name, variable in CODEBOOK.variables.items():
        if set(variable.surveys) & set(STAGES):
            codes = sorted(CODEBOOK.value_sets[variable.value_set].values)
            drawn = rng.choice([*codes, -1, -9], n)
            columns[name] = np.where(np.isin(survey, variable.surveys), drawn, -5)
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


@pytest.fixture(scope="module")
def rows(answers) -> pd.DataFrame:
    con = duckdb.connect()
    con.execute("create schema wellbeing")
    con.register("made", answers)
    con.execute("create table wellbeing.item_answers as select * exclude (weight) from made")
    con.execute("create table wellbeing.weights as select engagement, record_id, weight from made")
    write_definition_sets(con, CODEBOOK, TRANCHES)
    return con.sql("from wellbeing.definition_sets").df()


def test_a_question_that_changed_makes_no_figure_of_all(answers) -> None:
    item = sorted(variables_of(CODEBOOK, "secondary_sdq_very_high_emotional"))[0]
    changes = (VersionChange("t2-secondary", item, "reworded", True, "made for this", "test"),)
    found = _counted(answers, replace(CODEBOOK, version_changes=changes), None)
    # Some scales need every item, which nobody of the made-up pupils has answered.
    mine = found[(found.survey == "secondary") & (found.n > 0)]
    of_all = mine[mine.engagement.isna()]
    barred = set(of_all[of_all.estimate.isna()].indicator)
    assert "secondary_sdq_very_high_emotional" in barred
    touched = {name for name in set(mine.indicator) if item in variables_of(CODEBOOK, name)}
    assert barred == touched
    # What one council answered to its own question is a figure.
    assert mine[mine.engagement.notna()].estimate.notna().all()


def one(rows: pd.DataFrame, name: str, indicator: str) -> pd.Series:
    found = rows[
        (rows.definition_set == name) & (rows.indicator == indicator) & rows.engagement.isna()
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_prefer_not_to_say_is_in_the_base_of_hwb_parity_alone(answers, rows) -> None:
    mine = answers[(answers.survey == "primary") & (answers.engagement != "t2-out")]
    item = mine.happy_at_school
    positive = item.isin([4, 5])
    for name, base, weight in (
        ("current", item >= 1, mine.weight),
        ("report_2020", item >= 1, pd.Series(1.0, mine.index)),
        ("hwb_parity", (item >= 1) | (item == -1), pd.Series(1.0, mine.index)),
    ):
        row = one(rows, name, "primary_happy_at_school")
        assert row.n == base.sum()
        expected = 100 * weight[base & positive].sum() / weight[base].sum()
        assert row.estimate == pytest.approx(expected)


def test_hwb_parity_needs_every_item_of_a_scale(answers, rows) -> None:
    mine = answers[(answers.survey == "secondary") & (answers.engagement != "t2-out")]
    items = mine[[f"sdq_{n}" for n in EMOTIONAL]]
    answered = (items >= 0).sum(axis=1)
    total = items.where(items >= 0, 0).sum(axis=1)
    prorated = np.floor(total * 5 / answered.clip(lower=1) + 0.5)
    for name, base, score in (
        ("report_2020", answered >= 3, prorated),
        ("hwb_parity", answered == 5, total),
    ):
        row = one(rows, name, "secondary_sdq_very_high_emotional")
        assert row.n == base.sum()
        assert row.estimate == pytest.approx(100 * (score[base] >= 7).mean())


def test_every_set_has_every_indicator_of_the_pupils(rows) -> None:
    names = {n for n, i in CODEBOOK.indicators.items() if i.survey in STAGES}
    for name in CODEBOOK.definition_sets:
        assert set(rows[rows.definition_set == name].indicator) == names
    assert "t2-out" not in set(rows.engagement.dropna())


def _counted(answers: pd.DataFrame, codebook, kept) -> pd.DataFrame:
    with duckdb.connect() as con:
        con.execute("create schema wellbeing")
        con.register("made", answers)
        con.execute("create table wellbeing.item_answers as select * exclude (weight) from made")
        con.execute(
            "create table wellbeing.weights as select engagement, record_id, weight from made"
        )
        write_definition_sets(con, codebook, TRANCHES, kept)
        return con.sql("from wellbeing.definition_sets").df()


def test_a_kept_codebook_counts_as_it_did(
    answers, repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/how-to/count-by-an-earlier-codebook.md, but for its last command."""
    page = (repo_root / "docs" / "how-to" / "count-by-an-earlier-codebook.md").read_text()
    commands = re.findall(r"^   \.venv/bin/rcs (.+)$", page, re.MULTILINE)
    config = tmp_path / "config"
    assert main([*commands[0].split(), "--home", str(tmp_path)]) == 0
    kept_version = load_codebook().version
    assert kept_version[:12] in capsys.readouterr().out
    names = re.findall(r"`config/(\w+\.csv)`:", page)
    for name, rows in zip(names, re.findall(r"```csv\n(.+?)```", page, re.DOTALL), strict=True):
        text = "\n".join(line.strip() for line in rows.split("\n"))
        (config / name).write_text(text, encoding="utf-8")
    now = load_codebook(config)
    assert "at or above the frozen cut-off of 50" in (
        now.indicators["secondary_positive_wellbeing"].definition
    )
    # A release of before shows another figure under the same name: the limit is dated for it.
    assert load_thresholds(config)["drift_points"].high > load_thresholds()["drift_points"].high
    kept = frozen_codebooks(config)
    assert {name: c.version for name, c in kept.items()} == {"2026-spring": kept_version}
    assert now.version != kept_version
    # Every pupil has answered the scale whose cut-off is another now.
    scale = {f"wemwbs_{i}": np.where(answers.index % 3 > i % 3, 4, 3) for i in range(1, 15)}
    answers = answers.assign(**scale)
    was = _counted(answers, load_codebook(), None)
    # A question of then is no longer asked, nor in the answers.
    lost = [name for name in now.indicators if "pressured" in name]
    asked = {name: i for name, i in now.indicators.items() if name not in lost}
    now = replace(now, indicators=asked)
    found = _counted(answers.drop(columns=["pressured_by_schoolwork"]), now, kept)
    names = ["engagement", "survey", "indicator", "statistic", "n", "estimate"]
    then = found[found.definition_set == "codebook:2026-spring"][names]
    before = was[was.definition_set == "current"][names]
    assert len(lost) > 0
    assert set(then[then.indicator.isin(lost)].n) == {0}
    pd.testing.assert_frame_equal(
        then[~then.indicator.isin(lost)].reset_index(drop=True),
        before[~before.indicator.isin(lost)].reset_index(drop=True),
    )
    current = found[found.definition_set == "current"]
    changed = current.merge(before, on=names[:4], suffixes=("", "_before"))
    differ = changed[changed.estimate.fillna(-1) != changed.estimate_before.fillna(-1)]
    assert set(differ.indicator) == {"secondary_positive_wellbeing"}


@pytest.mark.parametrize("name", ["kept", "Not a name", "../up"])
def test_a_codebook_is_kept_once_and_under_a_plain_name(tmp_path: Path, name: str) -> None:
    freeze(tmp_path, "kept")
    with pytest.raises(InputError):
        freeze(tmp_path, name)
    assert set(frozen_codebooks(tmp_path)) == {"kept"}
    assert [p.name for p in (tmp_path / "codebooks").iterdir()] == ["kept"]
