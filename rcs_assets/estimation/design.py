"""How a sample was drawn: strata, clusters, weights and finite populations.

Belongs here: the declaration of a design and the checks that need no data. Does not
belong here: SQL (`compilation`), variances (`variance`) or how weights are made
(`weights`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rcs_assets.errors import InputError
from rcs_assets.given import need_kind

LONELY_PSU: Final = ("missing", "fail", "adjust", "certainty")


def as_names(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """One name, several or none, as a tuple.

    Raises:
        InputError: it is no name, and holds none.
    """
    if value is None:
        return ()
    names = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise InputError(
            "Columns are named by texts",
            where="names of columns",
            why=f"one is of type {next(type(n).__name__ for n in names if type(n) is not str)}",
            fix="give the name of a column, or a list of names",
        )
    return names


@dataclass(frozen=True)
class Design:
    """The design of a survey, as R's `svydesign` declares it.

    Args:
        strata: column of the first-stage strata, or one column a stage.
        clusters: one column a stage, outermost first; none = each row is its own unit.
        weight: column of the sampling weights (>= 0, never null); none = all weigh 1.
        fpc: one column a stage (one for rows without clusters): population size of the
            stratum (> 1) or sampling fraction (<= 1). Without it, units count as drawn
            with replacement and only the first stage enters the variance, as in R.
        lonely_psu: what a stratum with a single unit adds to a variance. "missing": the
            estimate stands, its standard error is null, with a reason; "fail": an error
            that names the strata; "adjust": its square, uncentred (R "adjust");
            "certainty": nothing (R "certainty"). A stratum taken whole adds nothing.
        nest: cluster names are used again in other strata (R `nest=TRUE`).
        calibrated: sets of columns whose known counts the weights agree with, as `rake`
            (several sets) or `post_stratify` (one) made them: what they explain is taken
            out of the variance, as R does after `rake` and `postStratify`.

    Raises:
        InputError: the declaration contradicts itself.
    """

    strata: str | Iterable[str] | None = None
    clusters: str | Iterable[str] = ()
    weight: str | None = None
    fpc: str | Iterable[str] = ()
    lonely_psu: str = "missing"
    nest: bool = False
    calibrated: Iterable[str | Iterable[str]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "strata", as_names(self.strata))
        object.__setattr__(self, "clusters", as_names(self.clusters))
        object.__setattr__(self, "fpc", as_names(self.fpc))
        object.__setattr__(self, "calibrated", tuple(map(as_names, self.calibrated)))
        self._check()

    def _check(self) -> None:
        stages = max(1, len(self.cluster_names))
        if self.weight is not None:
            need_kind(self.weight, str, "Design.weight", "name one column of the table")
        if self.lonely_psu not in LONELY_PSU:
            raise InputError(
                f"lonely_psu '{self.lonely_psu}' is not known",
                where="Design.lonely_psu",
                fix=f"choose one of {', '.join(LONELY_PSU)}",
            )
        if self.fpc_names and len(self.fpc_names) != stages:
            raise InputError(
                f"{len(self.fpc_names)} fpc columns for {stages} stages",
                where="Design.fpc",
                why="a finite population correction needs every stage",
                fix="name one fpc column a stage, outermost first, or none",
            )
        if len(self.strata_names) > stages:
            raise InputError(
                f"{len(self.strata_names)} strata columns for {stages} stages",
                where="Design.strata",
                fix="name at most one strata column a stage",
            )
        if self.fpc_names and self.weight is None:
            raise InputError(
                "The design has an fpc and no weight",
                where="Design.weight",
                why="a total would silently be that of the sample",
                fix="name the weight column (population size / sample size of the stratum)",
            )
        if self.calibrated_names and self.weight is None:
            raise InputError(
                "The design is calibrated and has no weight",
                where="Design.weight",
                fix="name the column of the calibrated weights",
            )

    @property
    def strata_names(self) -> tuple[str, ...]:
        """Strata columns, one a stage."""
        return as_names(self.strata)

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """Cluster columns, outermost first."""
        return as_names(self.clusters)

    @property
    def fpc_names(self) -> tuple[str, ...]:
        """Columns of the finite population correction, outermost first."""
        return as_names(self.fpc)

    @property
    def calibrated_names(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns that the weights are calibrated to."""
        return tuple(map(as_names, self.calibrated))

    @property
    def is_simple(self) -> bool:
        """Rows drawn singly, with replacement, each weighing the same."""
        return not self.columns

    @property
    def stages_used(self) -> int:
        """Stages that enter the variance: all with an fpc, else the first (as R)."""
        return max(1, len(self.cluster_names)) if self.fpc_names else 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the design names."""
        weight = (self.weight,) if self.weight else ()
        margins = [name for margin in self.calibrated_names for name in margin]
        return (*self.strata_names, *self.cluster_names, *weight, *self.fpc_names, *margins)
