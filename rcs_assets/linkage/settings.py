"""What the caller of the engine chooses, and the rules of linkage as typed data.

Belongs here: `LinkSettings`, and reading `data/*.yaml` with an adopter's overlay. Does not
belong here: applying any rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rcs_assets.errors import InputError
from rcs_assets.linkage.standardise import FIELDS
from rcs_assets.programme.datafile import DataFolder, Nonsense, read_rules

if TYPE_CHECKING:
    from rcs_assets.linkage.probabilistic import MatchModel

RULES_FILE = "linkage.yaml"
MODEL_FILE = "model.yaml"
FORMS_FILE = "diminutives.yaml"
QUALITY_FILE = "quality.yaml"
MODES = ("link", "dedupe")
WHY = "methods.md A; domain.md 3.4, 3.5; see the comments of the platform's own files"
_BLOCKS = ("blocking", "loose_blocking", "training_blocks")
_YEAR_KEYS = ("from_share", "records", "pairs_seen", "both", "one")
TRAINING = ("auto", "fixed", "fit")
# Columns of a council's record that make cells of weights (by_group.py).
WEIGHT_COLUMNS = {
    "education": ("stage", "simd_quintile", "looked_after", "ethnicity", "asn"),
    "social_work": ("looked_after_status", "open_case", "child_protection_12m"),
}


@dataclass(frozen=True)
class LinkSettings:
    """Choices of one call of `link`.

    `mode`: `link` (left to right, one-to-one) or `dedupe` (within one table). `seed` and
    `threads` (None: all cores) change nothing in the result but what sampling changes.
    `extra_fields`: further columns to compare. `training`: `fixed` keeps the shipped model,
    `fit` fits it to the data, `auto` fits where enough records are left over. `auto_weight`
    and `clerical_weight` (log2 of the odds) override the thresholds of the rules.
    `overlay`: folder with an adopter's files of rules. `model`: that of an earlier call
    (`Links.model`), used again as it is. `decided`: pyarrow.Table of left_id, right_id, is_same:
    pairs of these records that people decided, which no model decides again; one that is decided
    both ways, or joins a record with two of the other table, is refused.
    """

    mode: str = "link"
    seed: int = 1
    threads: int | None = None
    memory_limit: str = "2GB"
    extra_fields: tuple[str, ...] = ()
    training: str = "auto"
    auto_weight: float | None = None
    clerical_weight: float | None = None
    overlay: Path | None = None
    model: MatchModel | None = None
    decided: Any = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise _wrong("mode", "modes are " + " and ".join(MODES))
        if self.training not in TRAINING:
            raise _wrong("training", "choices are " + ", ".join(TRAINING))
        if not _is_whole(self.seed):
            raise _wrong("seed", "a whole number is needed")
        if self.threads is not None and not (_is_whole(self.threads) and self.threads >= 1):
            raise _wrong("threads", "a whole number of threads is needed, at least one")
        if self.overlay is not None and not isinstance(self.overlay, Path):
            raise _wrong("overlay", "a pathlib.Path of a folder is needed")
        self._check_weights()
        self._check_extra_fields()

    def _check_weights(self) -> None:
        for name in ("auto_weight", "clerical_weight"):
            weight = getattr(self, name)
            if weight is not None and not (isinstance(weight, Real) and isfinite(weight)):
                raise _wrong(name, "a number is needed (log2 of the odds), or None")
        given = (self.auto_weight, self.clerical_weight)
        if None not in given and given[0] < given[1]:  # type: ignore[operator]
            raise _wrong("auto_weight", "a link needs no less evidence than what a clerk looks at")

    def _check_extra_fields(self) -> None:
        fields = self.extra_fields
        if not isinstance(fields, (tuple, list)) or not all(
            isinstance(name, str) for name in fields
        ):
            raise _wrong("extra_fields", "a tuple of column names is needed")
        # SQL tells no capitals from small letters.
        small = [name.lower() for name in fields]
        taken = sorted(set(small) & {"record_id", *FIELDS})
        if taken or len(set(small)) < len(small) or not all(map(str.isidentifier, fields)):
            raise _wrong(
                "extra_fields",
                "further columns by plain names, each once whatever its capitals, "
                f"without {taken or 'fields that are compared anyway'}",
            )


def inner_name(column: str) -> str:
    """A column of a caller's table in the engine's own tables.

    One that he named himself has a prefix: its name means nothing to the engine, nor to Splink,
    whose columns and prefixes (source_dataset, tf_) no caller can know.
    """
    return column if column in ("record_id", *FIELDS) else f"extra_{column}"


@dataclass(frozen=True)
class Pass:
    """One deterministic pass; `data/linkage.yaml` says what its fields mean."""

    pass_no: int
    name: str
    keys: tuple[str, ...]
    any_of: tuple[str, ...]
    no_conflict: tuple[str, ...]
    no_default: tuple[str, ...]
    precision: float


@dataclass(frozen=True)
class Siblings:
    """When the forename must decide; when an SCN is a brother's or sister's."""

    agree: tuple[str, ...]
    near: tuple[str, ...]
    decide: str
    alike: float
    twin_share: float
    twin_strength: float
    sibling_share: float
    home: tuple[str, ...]
    household: tuple[str, ...]
    personal: tuple[str, ...]


@dataclass(frozen=True)
class Thresholds:
    """Match weights (log2 of the odds) from which a pair is a link or waits for a clerk."""

    auto: float
    clerical: float
    margin: float
    step: float


@dataclass(frozen=True)
class Training:
    """From how many records on the model is fitted, and how.

    A block of fewer than `min_pairs` pairs fits nothing. `exact_share` of the pairs within
    one file are expected to agree exactly.
    """

    min_records: int
    min_pairs: int
    exact_share: float
    u_pairs: int
    max_iterations: int


@dataclass(frozen=True)
class RemainderRules:
    """The last pass, over all records without a link; `data/linkage.yaml` explains the fields."""

    pass_no: int
    all_pairs: int
    lowest_evidence: float
    auto: float
    auto_evidence: float
    prior_records: float
    estimate_records: float
    likelihood_drop: float


@dataclass(frozen=True)
class Groups:
    """Link rates by group: smallest group (records) and confidence of the intervals."""

    min_records: int
    confidence: float


@dataclass(frozen=True)
class QualityRules:
    """`data/quality.yaml`, checked; its comments say what each key means."""

    weight_cells: Mapping[str, tuple[tuple[str, ...], ...]]
    least_linked: int


@dataclass(frozen=True)
class Clerical:
    """Clerical review: number of its pass, share of records that clerks get at most, its cost.

    `precision`: assumed share of decided links that are right. `confidence`: of the intervals of
    agreement. `idle_minutes`: after which the page ends. `fields`: field → its name on the page.
    """

    pass_no: int
    max_share: float
    precision: float
    confidence: float
    idle_minutes: float
    fields: dict[str, str]


@dataclass(frozen=True)
class LinkRules:
    """`data/linkage.yaml`, `data/model.yaml` and `data/diminutives.yaml`, checked.

    `most_pairs`: that one call of the model looks at, block by block. `most_kept`: pairs that it
    keeps, the heaviest. `block_records`: pairs a
    record that an extra field may make as a block. `prior_margin`: evidence
    (log2) below that of a link, from which pairs tell how many of them are one child.
    `forms`: name → the names that may stand for it, itself among them, as standardised.
    """

    passes: tuple[Pass, ...]
    model_pass: int
    siblings: Siblings
    thresholds: Thresholds
    expected_share: float
    training: Training
    remainder: RemainderRules
    groups: Groups
    clerical: Clerical
    most_pairs: int
    most_kept: int
    block_records: int
    prior_margin: float
    model: dict[str, Any]
    forms: dict[str, tuple[str, ...]]

    @property
    def precision(self) -> dict[int, float]:
        """Assumed share of right links of each pass that gives no probability."""
        exact = {entry.pass_no: entry.precision for entry in self.passes}
        return {**exact, self.clerical.pass_no: self.clerical.precision}


@cache
def load_link_rules(overlay: Path | None = None) -> LinkRules:
    """The platform's rules with the overlay's keys in their place.

    Args:
        overlay: folder that may hold files of the same names with some of the keys.

    Raises:
        ConfigurationError: a file that cannot be read, an unknown key, or rules that
            contradict themselves.
    """
    rules = read_rules(rules_folder(overlay), RULES_FILE, _rules, _problems, WHY)
    return replace(rules, model=load_model_rules(overlay), forms=load_forms(overlay))


def load_model_rules(overlay: Path | None = None) -> dict[str, Any]:
    """`data/model.yaml` with the overlay's keys in their place.

    Raises:
        ConfigurationError: as of `load_link_rules`.
    """
    return read_rules(rules_folder(overlay), MODEL_FILE, dict, _model_problems, WHY)


def load_forms(overlay: Path | None = None) -> dict[str, tuple[str, ...]]:
    """`data/diminutives.yaml` with the overlay's keys in their place.

    Raises:
        ConfigurationError: as of `load_link_rules`.
    """
    return read_rules(rules_folder(overlay), FORMS_FILE, _forms, lambda _: (), WHY)


def rules_folder(overlay: Path | None = None) -> DataFolder:
    """The room's files of rules with an adopter's beside them."""
    defaults = Path(str(resources.files("rcs_assets.linkage") / "data"))
    return DataFolder("linkage", defaults, overlay)


def load_quality_rules(overlay: Path | None = None) -> QualityRules:
    """How the quality of linkage is looked at.

    Args:
        overlay: folder that may hold a file of the same name with some of the keys.

    Raises:
        ConfigurationError: a file that cannot be read, an unknown key, a value without sense.
    """
    return read_rules(
        rules_folder(overlay),
        QUALITY_FILE,
        _quality,
        _quality_problems,
        "methods.md A; policy.md, Table A",
    )


def _quality(raw: Mapping[str, Any]) -> QualityRules:
    return QualityRules(
        weight_cells={
            str(dataset): tuple(tuple(str(column) for column in cell) for cell in cells)
            for dataset, cells in raw["weight_cells"].items()
        },
        least_linked=int(raw["least_linked"]),
    )


def _quality_problems(rules: QualityRules) -> Iterator[str]:
    for dataset, cells in rules.weight_cells.items():
        known = WEIGHT_COLUMNS.get(dataset, ())
        unknown = sorted({column for cell in cells for column in cell} - set(known))
        if unknown or not known:
            yield f"weight_cells: {dataset} has no {', '.join(unknown) or 'cells'}"
    if rules.least_linked < 1:
        yield "least_linked is at least 1"


def _rules(raw: Mapping[str, Any]) -> LinkRules:
    """What `data/linkage.yaml` says; the other two files have loaders of their own."""
    return LinkRules(
        passes=tuple(_pass(entry) for entry in raw["passes"]),
        model_pass=int(raw["model_pass"]),
        siblings=Siblings(**_tuples(raw["siblings"])),
        thresholds=Thresholds(**raw["thresholds"]),
        expected_share=float(raw["expected_share"]),
        training=Training(**raw["training"]),
        remainder=RemainderRules(**raw["remainder"]),
        groups=Groups(**raw["groups"]),
        clerical=Clerical(**raw["clerical"]),
        most_pairs=int(raw["most_pairs"]),
        most_kept=int(raw["most_kept"]),
        block_records=int(raw["block_records"]),
        prior_margin=float(raw["prior_margin"]),
        model={},
        forms={},
    )


def _forms(raw: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    for name, others in raw["forms"].items():
        if not isinstance(others, list) or not all(isinstance(n, str) for n in (name, *others)):
            raise Nonsense(f"forms: {name} takes a list of names; put quotes around a bare NO")
    return {name: (name, *others) for name, others in raw["forms"].items()}


def _pass(entry: dict[str, Any]) -> Pass:
    return Pass(
        pass_no=int(entry["pass_no"]),
        name=str(entry["name"]),
        keys=tuple(entry["keys"]),
        any_of=tuple(entry["any_of"]),
        no_conflict=tuple(entry["no_conflict"]),
        no_default=tuple(entry.get("no_default", ())),
        precision=float(entry["precision"]),
    )


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _problems(rules: LinkRules) -> Iterator[str]:
    numbers = [entry.pass_no for entry in rules.passes]
    named = {field for p in rules.passes for field in (*p.keys, *p.any_of, *p.no_conflict)}
    limits = rules.thresholds
    sound = {
        "passes (numbers rise)": numbers == sorted(set(numbers)) and bool(numbers),
        "passes (each has keys)": all(entry.keys for entry in rules.passes),
        "pass_no (passes, clerical, model_pass, remainder rise)": rules.remainder.pass_no
        > rules.model_pass
        > rules.clerical.pass_no
        > max(numbers, default=0),
        "fields (known ones)": named <= set(FIELDS),
        "precision": all(0 < entry.precision <= 1 for entry in rules.passes),
        "thresholds": limits.auto >= limits.clerical and limits.margin >= 0 < limits.step,
        "most_pairs": rules.most_pairs >= rules.most_kept >= rules.remainder.all_pairs
        and rules.prior_margin >= 0,
        "expected_share": 0 < rules.expected_share <= 1,
        "siblings": 0 < rules.siblings.twin_share < 1
        and 0 < rules.siblings.sibling_share <= 1
        and rules.siblings.twin_strength > 0,
        "clerical": 0 <= rules.clerical.max_share <= 0.01
        and 0 < rules.clerical.precision <= 1
        and 0 < rules.clerical.confidence < 1
        and rules.clerical.idle_minutes > 0
        and set(rules.clerical.fields) <= set(FIELDS) - {"uid", "address", "town", "clk"},
        "groups": rules.groups.min_records >= 10 and 0 < rules.groups.confidence < 1,
    }
    yield from (f"{name} makes no sense" for name, is_sound in sound.items() if not is_sound)


def _model_problems(model: Mapping[str, Any]) -> Iterator[str]:
    levels = {entry["field"]: entry["levels"] for entry in model["comparisons"]}
    blocks = [rule for kind in _BLOCKS for rule in model[kind]]
    if not {*levels, *(field for rule in blocks for field in rule["fields"])} <= set(FIELDS):
        yield f"comparisons and blocks are of {', '.join(FIELDS)}"
    if not levels or not all(isinstance(rule["when"], str) for rule in blocks):
        yield "comparisons are needed, and each block has a condition `when`"
    for field, entries in {**levels, "extra_field": model["extra_field"]}.items():
        if not entries or not all(isinstance(entry["when"], str) for entry in entries):
            yield f"{field} needs levels, each with a condition `when`"
        if not all(0 < entry[share] <= 1 for entry in entries for share in ("m", "u")):
            yield f"{field}: m and u are shares above 0, at most 1"
    years = model["years_alone"]
    if set(years) != set(_YEAR_KEYS) or not 0 < years["from_share"] < 1:
        yield f"years_alone has {', '.join(_YEAR_KEYS)}; from_share lies between 0 and 1"


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _wrong(name: str, why: str) -> InputError:
    return InputError(
        "A setting of link is wrong",
        where=f"LinkSettings.{name}",
        why=why,
        fix="correct it, or leave it out",
    )
