"""Assets of the room research.

Belongs here: wiring `write_findings` into the graph. Does not belong here: the analysis.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

import dagster as dg

from rcs_assets.intake.drop import engagements_in_scope
from rcs_assets.research.findings import write_findings
from rcs_assets.research.rules import load_findings_rules
from rcs_assets.storage import open_warehouse
from rcs_assets.storage.resources import HomeResource, asset_options
from rcs_assets.wellbeing.estimators import load_estimators


@dg.asset(
    **asset_options(
        "research",
        "findings",
        zone="warehouse",
        sensitivity="aggregate",
        description="Risk and protective factors, counts of risks and logistic models of the "
        "outcomes of the 2020 report, over all areas, before protection: the tables "
        "research.risks and research.models.",
        deps=(
            ("wellbeing", "indicator_values"),
            ("wellbeing", "item_answers"),
            ("wellbeing", "weights"),
            ("codebook", "tables"),
            ("programme", "register"),
        ),
    )
)
def findings(home: HomeResource) -> dg.MaterializeResult[None]:
    """Analyse the engagements that delivered and are not left out."""
    rules = load_findings_rules(home.codebook(), home.home().config)
    delivered = engagements_in_scope(home.home(), home.programme())
    kept = [key for key in delivered if key not in home.left_out]
    with open_warehouse(home.home(), settings=home.settings()) as con:
        estimators = load_estimators(home.home().config)
        risks_n, models_n = write_findings(con, kept, rules, home.codebook(), estimators)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": risks_n + models_n, "risks": risks_n, "models": models_n}
    )
