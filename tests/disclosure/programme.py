"""A drawn programme with what is released of it: the meeting point of rules and attacks.

Belongs here: protecting a drawn programme, picking rows, changing them by hand. Does not
belong here: the draw (`made_programme.py`), the attack (`attacker.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.disclosure import audience_names, load_policy, protect_estimates
from rcs_assets.disclosure.answers import Answers
from rcs_assets.disclosure.cells import Sources
from rcs_assets.disclosure.estimates_audit import Audit, audit_estimates
from tests.disclosure.attacker import SHOWN, Attack, Finding, World, cell_of
from tests.disclosure.made_programme import SCALE, Shape, count_estimates, rows

SOURCES = Sources("estimates", "indicators", "respondents", "clusters", "geographies", "weights")
LINKED = (
    "secondary_sdq_total_raised",
    "secondary_sdq_total_borderline",
    "secondary_sdq_total_abnormal",
)


@lru_cache(maxsize=8)
def _counted(shape: Shape, seed: int) -> dict[str, tuple[str, pa.Table]]:
    """Every relation of a drawn programme with its columns as SQL, for all who draw the same."""
    with _connect() as con:
        count_estimates(con, shape, seed)
        found = {}
        for name in [name for (name,) in con.execute("show tables").fetchall() if name != "drawn"]:
            # Arrow knows fewer types of numbers than the engine.
            columns = con.execute(f"describe {name}").fetchall()
            typed = ", ".join(f'"{column[0]}"::{column[1]} as "{column[0]}"' for column in columns)
            found[name] = typed, con.execute(f"from {name}").to_arrow_table()
        return found


def _connect() -> duckdb.DuckDBPyConnection:
    """To wake a second thread costs more than it does for some hundred rows."""
    return duckdb.connect(config={"threads": 1})


class Programme:
    """Truth and protected rows of a drawn programme."""

    def __init__(self, shape: Shape, seed: int, table: pa.Table | None = None) -> None:
        """Draw it, and protect it unless `table` has what came of that before."""
        self.shape = shape
        self.n_slack = 0
        self.con = _connect()
        for name, (columns, relation) in _counted(shape, seed).items():
            self.con.register("counted", relation)
            self.con.execute(f"create table {name} as select {columns} from counted")
            self.con.unregister("counted")
        self.engagements = sorted({row["engagement"] for row in rows(self.con, "clusters")})
        self.table = self.protect() if table is None else table
        self.released: list[dict[str, Any]] = self.table.to_pylist()

    def protect(
        self, con: duckdb.DuckDBPyConnection | None = None, earlier: Sequence[Path] = ()
    ) -> pa.Table:
        """Protect the truth once more, releases before it known."""
        audiences = audience_names(self.engagements)
        return protect_estimates(
            con or self.con, SOURCES, load_policy(), audiences, earlier=earlier
        )

    def schools(self, engagement: str) -> list[str]:
        """Schools of a CPP that have a package, the largest first."""
        sizes = self.world(self.measures()[0]).sizes
        own = {
            row["geography_code"]
            for row in self.released
            if row["geography_level"] == "school" and row["engagement"] == engagement
        }
        return sorted(own, key=lambda school: (-sizes[school], school))

    def measures(self) -> list[tuple[str, ...]]:
        """What is attacked together: each measure, and the linked ones."""
        alone = [(measure.name,) for measure in self.shape.measures]
        return [*alone, *([self.shape.linked] if self.shape.linked else [])]

    def world(self, measures: tuple[str, ...]) -> World:
        """What holds before the release, and the truth."""
        schools = [r for r in rows(self.con, "respondents") if r["geography_level"] == "school"]
        clusters = rows(self.con, "clusters") if self.shape.survey == "primary" else []
        return World(
            truth=[row for row in rows(self.con, "estimates") if row["indicator"] in measures],
            sizes={row["geography_code"]: row["respondents_n"] for row in schools},
            cluster_of={row["seed_code"]: row["cluster_code"] for row in clusters},
            weights={
                (row["engagement"], f"{row['stage']}:{row['sex']}"): row["weight"]
                for row in rows(self.con, "weights")
            },
            sensitive=frozenset(
                row["indicator"] for row in rows(self.con, "indicators") if row["is_sensitive"]
            ),
            scale=SCALE,
            measures=measures,
            linked=measures == self.shape.linked,
            n_slack=self.n_slack,
        )

    def attacks(self, *, one_school: bool = True) -> Iterator[Attack]:
        """Every coalition on everything: the public, each CPP, and one school of the first."""
        holders = [("", ""), *((engagement, "") for engagement in self.engagements)]
        first = self.engagements[0]
        if one_school:
            holders += [(first, school) for school in self.schools(first)[:1]]
        for measures in self.measures():
            world = self.world(measures)
            for holder, school in holders:
                yield Attack(world, self.released, holder=holder, school=school)
                if not school:
                    yield Attack(world, self.released, holder=holder, files=True)

    def findings(self) -> list[Finding]:
        """What any coalition learns too much of."""
        return [finding for attack in self.attacks() for finding in attack.findings()]

    def pick(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Released rows as they stand, for a test to read or spoil."""
        return [row for row in self.released if wanted(row)]

    def show(self, row: dict[str, Any]) -> None:
        """Show a hidden row by hand, rounded as the release would."""
        cell, measure = cell_of(row), row["indicator"]
        world = self.world((measure,))
        truth = world.by_cell[measure, cell]
        steps = world.rule(measure, cell, row["audience"].split("/")[0])
        step = steps.mean if row["statistic"] == "mean" else steps.pct
        row |= {
            "n": Decimal(math.floor(truth["base_n"] / steps.n + 0.5) * int(steps.n)),
            "estimate": Decimal(str(round(round(truth["estimate"] / step) * step, 1))),
            "status": "published",
            "note": None,
        }

    def audit(
        self, earlier: Sequence[Path] = (), kept: Mapping[tuple[str, str, str], str] | None = None
    ) -> Audit:
        """The product's own audit of the rows as they stand."""
        self.register_released()
        return audit_estimates(
            self.con, SOURCES, load_policy(), "released", Answers(), earlier, kept
        )

    def register_released(self) -> None:
        """The rows as they stand as the table `released`."""
        self.con.register("released_rows", pa.Table.from_pylist(self.released, self.table.schema))
        self.con.execute("create or replace table released as from released_rows")

    def publish(self, folder: Path) -> Path:
        """Lay the rows and the counts behind them down as a release does."""
        self.register_released()
        packages = {"public": "audience = 'public'", "safe_haven": ""} | {
            f"cpp/{name}": f"audience = 'cpp/{name}'" for name in self.engagements
        }
        for package, own in packages.items():
            place = folder / package / "parquet"
            place.mkdir(parents=True)
            name, relation = (
                ("estimates", f"released where {own}")
                if own
                else ("estimates_unrounded", "estimates")
            )
            self.con.execute(f"copy (from {relation}) to '{place / name}.parquet'")
        return folder

    def shown_share(self) -> float:
        """Share of the rows that have a figure."""
        return sum(row["status"] in SHOWN for row in self.released) / len(self.released)
