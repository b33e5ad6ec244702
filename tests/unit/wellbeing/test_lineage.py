"""Lineage by the codebook against the SQL that the models compile to."""

from __future__ import annotations

import re

from rcs_assets.codebook import load_codebook
from rcs_assets.wellbeing.lineage import ITEMS, SCORES, VALUES, chain_of, model_lineage
from rcs_assets.wellbeing.scoring import scoring_sql

CODEBOOK = load_codebook()


def test_an_indicator_goes_back_to_its_questions() -> None:
    chain = chain_of(CODEBOOK, "secondary_sdq_total_raised")
    assert chain.scores[0] == "sdq_total"
    assert set(chain.scores[1:]) == {
        "sdq_emotional", "sdq_conduct", "sdq_hyperactivity", "sdq_peer",
    }  # fmt: skip
    prosocial = {1, 4, 9, 17, 20}
    assert set(chain.variables) == {f"sdq_{n}" for n in range(1, 26) if n not in prosocial}
    assert chain_of(CODEBOOK, "secondary_swemwbs_mean").scores == ("swemwbs_metric", "swemwbs_raw")
    assert chain_of(CODEBOOK, "primary_low_mood").variables == (
        "generally_cheerful", "lots_of_worries",
    )  # fmt: skip
    assert chain_of(CODEBOOK, "parent_reads_daily").answers == "intake.parent_survey"


def test_every_indicator_reaches_a_question_that_is_asked_of_its_survey() -> None:
    for name, indicator in CODEBOOK.indicators.items():
        variables = chain_of(CODEBOOK, name).variables
        assert variables, name
        assert all(indicator.survey in CODEBOOK.variables[v].surveys for v in variables)


def test_every_score_uses_the_items_that_its_sql_names() -> None:
    columns = model_lineage(CODEBOOK)[SCORES]
    for instrument in CODEBOOK.instruments.values():
        if instrument.surveys:
            query = scoring_sql("answers", instrument, CODEBOOK, "prorate")
            for scale in instrument.scales:
                (body,) = re.findall(
                    rf"as {scale.name}__n,\s(.*?)\sas {scale.name}__sum", query, re.DOTALL
                )
                named = set(re.findall(r"[a-z_]+[a-z0-9_]*", body)) & set(CODEBOOK.variables)
                assert {name for _, name in columns[scale.name]} == named


def test_columns_of_a_model_come_from_tables_before_it() -> None:
    made = model_lineage(CODEBOOK)
    for table, columns in made.items():
        for inputs in columns.values():
            for source, column in inputs:
                assert source in (ITEMS, SCORES) or source.startswith("intake.")
                assert source != table or table == SCORES
                if source in made:
                    assert column in made[source]
    assert set(made[VALUES]) == {
        name for name, i in CODEBOOK.indicators.items() if i.survey != "parent"
    }
