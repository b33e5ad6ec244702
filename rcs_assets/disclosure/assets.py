"""The protected tables as assets.

Belongs here: wiring protection and audit into the graph.
Does not belong here: rules and policy.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

from collections.abc import Mapping

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from rcs_assets.disclosure.changes import protect_changes
from rcs_assets.disclosure.derived import protect_comparisons, protect_participation
from rcs_assets.disclosure.earlier import earlier_releases
from rcs_assets.disclosure.estimates_audit import (
    AUDITED_SQL,
    audit_estimates,
    read_answers,
    write_answers,
)
from rcs_assets.disclosure.held import Protect, protect_beside
from rcs_assets.disclosure.models import protect_findings
from rcs_assets.disclosure.policy import Policy, audience_names, load_policy
from rcs_assets.disclosure.reach import protect_reach
from rcs_assets.disclosure.recipients import protect_recipients
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.disclosure.rules import protect_estimates
from rcs_assets.disclosure.sources import register_sources
from rcs_assets.disclosure.spend import protect_spend
from rcs_assets.disclosure.together import load_parts
from rcs_assets.disclosure.witness import questions_table, read_questions
from rcs_assets.research import load_findings_rules
from rcs_assets.services import load_reach_rules
from rcs_assets.storage import open_warehouse, sql_list
from rcs_assets.storage.code import programs_version
from rcs_assets.storage.resources import HomeResource, asset_options
from rcs_assets.storage.tables import replace_tables


@dg.asset(
    **asset_options(
        "disclosure",
        "estimates",
        zone="warehouse",
        sensitivity="protected",
        description="Estimates as each audience may see them: thresholds, rounding, intervals "
        "from rounded values and statuses by Table A of the policy; what sums would give away is "
        "hidden too, in every table of every package.",
        deps=[
            ("wellbeing", "estimates"),
            ("wellbeing", "respondents"),
            ("wellbeing", "weights"),
            ("intake", "clusters"),
            ("intake", "school_list"),
            ("codebook", "tables"),
            ("programme", "register"),
        ],
    )
)
def estimates(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect wellbeing.estimates for the public and for each CPP."""
    policy = load_parts(home.codebook(), home.home().config).policy
    version = programs_version()
    with open_warehouse(home.home(), settings=home.settings()) as con:
        engagements = _released_engagements(con)
        sources = register_sources(con, home.programme(), home.codebook(), engagements)
        answers = read_answers(con, version)
        earlier = earlier_releases(home.home().releases)
        protected = protect_estimates(
            con, sources, policy, audience_names(engagements), answers, earlier
        )
        replace_tables(con, "disclosure", {"estimates": protected})
        write_answers(con, answers, version)
    return _counted(protected, policy)


@dg.asset(
    **asset_options(
        "disclosure",
        "audit",
        zone="warehouse",
        sensitivity="aggregate",
        description="What each coalition of readers can derive of hidden cells, by linear "
        "programs over all protected tables: cells, hidden ones, unsafe ones (0 for a release); "
        "what somebody learns of these stays in the table disclosure.unsafe.",
        deps=[
            ("disclosure", "estimates"),
            ("wellbeing", "estimates"),
            ("wellbeing", "respondents"),
            ("wellbeing", "weights"),
            ("intake", "clusters"),
            ("intake", "school_list"),
            ("codebook", "tables"),
            ("programme", "register"),
        ],
    )
)
def audit(home: HomeResource) -> dg.MaterializeResult[None]:
    """Attack disclosure.estimates as it stands, from every coalition."""
    policy = load_policy(home.home().config)
    version = programs_version()
    with open_warehouse(home.home(), settings=home.settings()) as con:
        engagements = _released_engagements(con)
        sources = register_sources(con, home.programme(), home.codebook(), engagements)
        answers = read_answers(con, version)
        earlier = earlier_releases(home.home().releases)
        found = audit_estimates(
            con,
            sources,
            policy,
            "disclosure.estimates",
            answers,
            earlier,
            read_questions(con, version),
        )
        subject = con.execute(AUDITED_SQL).fetchall()[0][0]
        table = found.table.append_column(
            "audited", pa.array([subject] * found.table.num_rows, pa.string())
        )
        made = {
            "audit": table,
            "unsafe": found.findings,
            "certificate_tables": found.certificate_tables,
            "certificate_cells": found.certificate_cells,
            "certificate_questions": questions_table(found.certificate_questions, version),
            "differences": found.differences.table,
            "difference_places": found.differences.places,
        }
        replace_tables(con, "disclosure", made)
    columns = ("cells_n", "hidden_n", "targets_n", "programs_n")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": table.num_rows,
            "unsafe_n": found.unsafe_n,
            "earlier_releases": len(earlier),
            **{name: int(pc.sum(table[name]).as_py() or 0) for name in columns},
            "first_places": "; ".join(found.places) or "none",
        }
    )


@dg.asset(
    **asset_options(
        "disclosure",
        "comparisons",
        zone="warehouse",
        sensitivity="protected",
        description="Verdicts better, similar, worse as each audience may see them: shown where "
        "the place's figure and the one beside it are.",
        deps=[
            ("disclosure", "estimates"),
            ("wellbeing", "comparisons"),
            ("wellbeing", "estimates"),
        ],
    )
)
def comparisons(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect wellbeing.comparisons for the public and for each CPP."""
    policy = load_policy(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        audiences = audience_names(_released_engagements(con))
        made = _protect(
            con,
            home,
            policy,
            lambda holds: {
                "comparisons": protect_comparisons(con, policy, audiences, holds["comparisons"])
            },
            "comparisons",
        )
    return _counted(made["comparisons"], policy)


@dg.asset(
    **asset_options(
        "disclosure",
        "changes",
        zone="warehouse",
        sensitivity="protected",
        description="Changes of CPPs between waves as everybody may see them: differences of two "
        "public figures as they are shown, with the range that follows from theirs.",
        deps=[
            ("disclosure", "estimates"),
            ("wellbeing", "changes"),
            ("codebook", "tables"),
        ],
    )
)
def changes(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect wellbeing.changes for the public."""
    policy = load_policy(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        codebook = home.codebook()
        made = _protect(
            con,
            home,
            policy,
            lambda holds: {"changes": protect_changes(con, policy, codebook, holds["changes"])},
            "changes",
        )
    protected = made["changes"]
    shown = protected.filter(pc.is_valid(protected["change"]))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": protected.num_rows,
            "policy_version": policy.version,
            "changes_shown": shown.num_rows,
        }
    )


@dg.asset(
    **asset_options(
        "disclosure",
        "participation",
        zone="warehouse",
        sensitivity="protected",
        description="Pupils who took part, roll and response band; hidden where refusals are few.",
        deps=[("wellbeing", "respondents"), ("wellbeing", "estimates")],
    )
)
def participation(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect wellbeing.respondents for the public and for each CPP."""
    policy = load_policy(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        register_rounding(con)
        audiences = audience_names(_released_engagements(con))
        made = _protect(
            con,
            home,
            policy,
            lambda holds: {
                "participation": protect_participation(
                    con, policy, audiences, holds["participation"]
                )
            },
            "participation",
        )
    return _counted(made["participation"], policy)


@dg.asset(
    **asset_options(
        "disclosure",
        "spend",
        zone="warehouse",
        sensitivity="protected",
        description="Spend on children as everybody may see it: sums that tell a confidential "
        "holding are hidden, with as many others as keep them from being worked out; £1,000.",
        deps=[("services", "spend"), ("wellbeing", "estimates")],
    )
)
def spend(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect services.spend for the public and for each CPP."""
    policy = load_policy(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        engagements = _released_engagements(con)
        audiences = audience_names(engagements)
        own = f"(from services.spend where engagement in ({sql_list(engagements)}))"
        made = _protect(
            con,
            home,
            policy,
            lambda holds: {
                "spend": protect_spend(con, policy, audiences, holds["spend"], spend=own)
            },
            "spend",
        )
    return _counted(made["spend"], policy)


@dg.asset(
    **asset_options(
        "disclosure",
        "reach",
        zone="warehouse",
        sensitivity="protected",
        description="Need × reach as each audience may see it: rows of a need are shown alike or "
        "not at all, hidden where the indicator that counts the same pupils is; the table "
        "disclosure.recipients holds those who have support and did not respond.",
        deps=[("services", "reach"), ("services", "recipients"), ("disclosure", "estimates")],
    )
)
def reach(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect services.reach for the public and each CPP, services.recipients for all."""
    policy = load_policy(home.home().config)
    rules = load_reach_rules(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        found = con.execute(
            "select distinct engagement from services.reach order by engagement"
        ).fetchall()
        engagements = [row[0] for row in found]
        audiences = audience_names(engagements)
        needs = {need.name: need.indicators for need in rules.needs}
        made = _protect(
            con,
            home,
            policy,
            lambda holds: {
                "reach": protect_reach(con, policy, audiences, needs, holds["reach"]),
                "recipients": protect_recipients(con, policy, engagements, holds["recipients"]),
            },
            "reach",
            "recipients",
        )
    return _counted(made["reach"], policy)


@dg.asset(
    **asset_options(
        "disclosure",
        "findings",
        zone="warehouse",
        sensitivity="protected",
        description="Findings as everybody may see them: risk factors, counts of risks and "
        "models by the row of Table A; the tables disclosure.risks and disclosure.models.",
        deps=[
            ("research", "findings"),
            ("codebook", "tables"),
            ("wellbeing", "estimates"),
            ("disclosure", "estimates"),
        ],
    )
)
def findings(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect research.risks and research.models for the public."""
    policy = load_policy(home.home().config)
    rules = load_findings_rules(home.codebook(), home.home().config)
    titles = {factor.name: factor.title for factor in rules.factors}
    # 1 - 0.95 is not 0.05 in binary fractions.
    alpha = round(1 - rules.confidence, 9)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        codebook = home.codebook()
        made = _protect(
            con,
            home,
            policy,
            lambda holds: protect_findings(con, policy, codebook, titles, alpha, holds),
            "risks",
            "models",
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(table.num_rows for table in made.values()),
            "policy_version": policy.version,
        }
    )


def _protect(
    con: duckdb.DuckDBPyConnection,
    home: HomeResource,
    policy: Policy,
    protect: Protect,
    *names: str,
) -> Mapping[str, pa.Table]:
    """Protect tables beside the estimates, releases before them known, and write them."""
    earlier = earlier_releases(home.home().releases)
    made = protect_beside(con, names, protect, earlier, policy)
    replace_tables(con, "disclosure", made)
    return made


def _released_engagements(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The engagements that are not left out: those that have estimates."""
    rows = con.execute(
        "select distinct engagement from wellbeing.estimates "
        "where engagement is not null order by engagement"
    ).fetchall()
    return [row[0] for row in rows]


def _counted(protected: pa.Table, policy: Policy) -> dg.MaterializeResult[None]:
    """Rows in all, and the public ones by status."""
    statuses = protected.filter(pc.equal(protected["audience"], "public"))["status"]
    counts = {row["values"]: row["counts"] for row in statuses.value_counts().to_pylist()}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": protected.num_rows,
            "policy_version": policy.version,
            **{f"public_cells_{status}": counts[status] for status in sorted(counts)},
        }
    )
