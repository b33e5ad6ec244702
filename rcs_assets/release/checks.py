"""Checks of release: the candidate as whoever receives it will find it.

Belongs here: rules in Python that open the packages of `releases/.candidate/` from
outside. Does not belong here: building them (`candidate.py`, `database.py`), the gate
(`gate.py`); of the code that wrote the packages nothing is used but their place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.codebook import PUPIL_SURVEYS
from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.disclosure.anonymise import Told
from rcs_assets.disclosure.earlier import earlier_releases
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.policy import Policy, load_policy
from rcs_assets.disclosure.row_differences import find_row_differences
from rcs_assets.errors import StorageError
from rcs_assets.release.beside_tables import BesideTables
from rcs_assets.release.examine import (
    answer_files,
    audit_problems,
    csv_columns,
    description_problems,
    fingerprint,
    form_problems,
    k_problems,
    key_problems,
    l_problems,
    part_problems,
    school_problems,
    told_problems,
    unmarked,
)
from rcs_assets.release.packages import CANDIDATE
from rcs_assets.release.tables import table_specs
from rcs_assets.release.verify_certificate import verify
from rcs_assets.storage import sql_literal
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks
from rcs_assets.storage.guard import identifier_columns

ASSET = ("release", "candidate")
MANIFEST = "manifest.json"
DATABASE = "rcs.duckdb"
EXPECTED_FILES = frozenset({DATABASE, "datapackage.json", "certificate.json"})
SCHOOL_FILES = frozenset(
    {
        "table.csv",
        "comparisons.csv",
        "participation.csv",
        "indicators.csv",
        "geographies.csv",
        "certificate.json",
    }
)
# policy.md, How protection is judged: what never leaves the safe haven.
INSIDE_ONLY = frozenset(
    {
        "status_inside",
        "base_n",
        "numerator_n",
        "design_effect",
        "weight",
        "se",
        "df",
        "deff",
        "roll_n",
        "record_id",
        "project_id",
    }
)
# Named so and meant otherwise: the published roll, and the coarse weight of microdata.
MICRODATA_FORMS = ("parquet", "tab")
ALLOWED = frozenset({("participation", "roll_n"), ("participation.parquet", "roll_n")}) | frozenset(
    {("participation.csv", "roll_n")}
    | {(f"{survey}.{form}", "weight") for survey in PUPIL_SURVEYS for form in MICRODATA_FORMS}
)


def _root(bench: Bench) -> Path:
    return bench.home.releases / CANDIDATE


def _packages(bench: Bench) -> dict[str, Path]:
    """Name → folder of each package that lies in the candidate."""
    root = _root(bench)
    found = sorted([*root.glob(f"*/{MANIFEST}"), *root.glob(f"*/*/{MANIFEST}")])
    return {file.parent.relative_to(root).as_posix(): file.parent for file in found}


def _with_database(bench: Bench) -> dict[str, Path]:
    return {n: folder for n, folder in _packages(bench).items() if not n.startswith("school/")}


def _packages_due(bench: Bench) -> set[str]:
    """What policy.md, Audiences, asks for, from the protected tables and the policy alone."""
    rows = bench.con.execute("select distinct audience from disclosure.estimates").fetchall()
    audiences = {row[0] for row in rows}
    schools = bench.con.execute(
        "select distinct geography_code from disclosure.estimates where geography_level = 'school'"
    ).fetchall()
    due = audiences | {f"school/{row[0]}" for row in schools} | {SAFE_HAVEN}
    if "archive" in load_policy(bench.home.config).microdata.purposes:
        due |= {f"archive/{name.partition('/')[2]}" for name in audiences if "/" in name}
    return due


def _manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


@contextmanager
def _opened(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The package's database, as an analyst opens it: read-only."""
    con = duckdb.connect(
        str(folder / DATABASE), read_only=True, config={"autoload_known_extensions": False}
    )
    try:
        yield con
    finally:
        con.close()


def manifests_are_complete(bench: Bench) -> Verdict:
    """Each package that is due is there, with the files that its manifest lists, byte by byte."""
    packages = _packages(bench)
    found = [f"package {name}" for name in sorted(_packages_due(bench) ^ set(packages))]
    for name, folder in packages.items():
        expected = SCHOOL_FILES if name.startswith("school/") else EXPECTED_FILES
        listed = {entry["path"]: entry["sha256"] for entry in _manifest(folder)["files"]}
        present = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and path != folder / MANIFEST
        }
        differing = set(listed) ^ set(present) | (expected - set(present))
        differing |= {
            path for path in set(listed) & set(present) if _sha256(present[path]) != listed[path]
        }
        found += [f"{name}/{path}" for path in sorted(differing)]
    return Verdict.of(found, len(packages), "packages")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def packages_open_and_explain_themselves(bench: Bench) -> Verdict:
    """Databases open read-only and are filled; columns and files of answers are described."""
    found = []
    may_be_empty = {spec.name for spec in table_specs().values() if spec.may_be_empty}
    packages = _with_database(bench)
    for name, folder in packages.items():
        with _opened(folder) as con:
            tables = con.execute("select table_name, comment from duckdb_tables()").fetchall()
            silent = con.execute(
                "select table_name || '.' || column_name from duckdb_columns() "
                "where not internal and coalesce(comment, '') = '' order by all"
            ).fetchall()
            found += [f"{name} {table}" for table, comment in tables if not comment]
            found += [f"{name} {row[0]}" for row in silent]
            filled = [t for t, _ in tables if t not in may_be_empty]
            found += [f"{name} {t} is empty" for t in filled if _is_empty(con, t)]
            if not {"estimates", "dictionary"} <= {table for table, _ in tables}:
                found.append(f"{name} has no estimates or no dictionary")
        found += [f"{name} {problem}" for problem in description_problems(bench.con, folder)]
    return Verdict.of(found, len(packages), "packages")


def _is_empty(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    return not con.execute(f'select 1 from "{table}" limit 1').fetchall()


def simulated_is_stated(bench: Bench) -> Verdict:
    """Made from simulated deliveries: manifests, certificates, tables and files all say so."""
    simulated = bench.con.execute("select bool_or(is_simulated) from intake.receipts").fetchall()
    if not simulated[0][0]:
        return Verdict(True, "no delivery is simulated")
    found = []
    packages = _packages(bench)
    for name, folder in packages.items():
        described = (MANIFEST, "certificate.json", "datapackage.json")
        there = [file for file in described if (folder / file).is_file()]
        found += [f"{name}/{f}" for f in there if not _says_simulated(folder / f)]
        found += [f"{name}/{file}" for file in unmarked(folder)]
        for file in sorted(folder.rglob("*.parquet")):
            marks = bench.con.execute(
                "select decode(value) from parquet_kv_metadata(?) where decode(key) = 'simulated'",
                [str(file)],
            ).fetchall()
            if marks != [("SIMULATED",)]:
                found.append(f"{name}/{file.name}")
    for name, folder in _with_database(bench).items():
        with _opened(folder) as con:
            rows = con.execute(
                "select table_name from duckdb_tables() "
                "where coalesce(comment, '') not like 'SIMULATED%' order by all"
            ).fetchall()
            found += [f"{name} {row[0]}" for row in rows]
    return Verdict.of(found, len(packages), "packages")


def _says_simulated(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return '"simulated": true' in text or "SIMULATED" in text


def packages_hold_no_inside_columns(bench: Bench) -> Verdict:
    """No package has a column for an identifier; none but the safe haven's for exact counts."""
    identifiers = identifier_columns(bench.codebook)
    extracts = load_policy(bench.home.config).microdata.extracts
    allowed = ALLOWED | {
        (f"{extract.name}.{form}", "weight") for extract in extracts for form in MICRODATA_FORMS
    }
    found = []
    packages = _packages(bench)
    for name, folder in packages.items():
        forbidden = identifiers if name == SAFE_HAVEN else identifiers | INSIDE_ONLY
        held = {pair for pair in _columns_of(bench, folder) if pair[1] in forbidden} - allowed
        found += [f"{name} {table}.{column}" for table, column in sorted(held)]
    return Verdict.of(found, len(packages), "packages")


def _columns_of(bench: Bench, folder: Path) -> Iterator[tuple[str, str]]:
    """Table or file, and column, of all that a package holds."""
    yield from csv_columns(folder)
    if not (folder / DATABASE).is_file():
        return
    with _opened(folder) as con:
        yield from con.execute(
            "select table_name, lower(column_name) from duckdb_columns() where not internal"
        ).fetchall()
    for file in sorted(folder.rglob("*.parquet")):
        columns = bench.con.execute(
            f"describe select * from read_parquet({sql_literal(file)})"
        ).fetchall()
        yield from ((file.name, row[0].lower()) for row in columns)


_CELL = (
    'engagement, survey, geography_level, geography_code, breakdown, "group", indicator, '
    "statistic, n::double as n, estimate::double as estimate, ci_low::double as ci_low, "
    "ci_high::double as ci_high, status, note"
)


def packages_hold_the_protected_cells(bench: Bench) -> Verdict:
    """Estimates of a package are the protected cells of its audience: all, and no others."""
    found = []
    packages = _with_database(bench)
    for name, folder in packages.items():
        wanted = fingerprint(
            bench.con, f"select {_CELL} from disclosure.estimates where {_due_cells(name)}"
        )
        parquet = sql_literal(folder / "parquet" / "estimates.parquet")
        held = [fingerprint(bench.con, f"select {_CELL} from read_parquet({parquet})")]
        with _opened(folder) as con:
            held.append(fingerprint(con, f"select {_CELL} from estimates"))
        if not wanted[0] or held != [wanted, wanted]:
            found.append(name)
    return Verdict.of(found, len(packages), "packages")


def _due_cells(name: str) -> str:
    """The protected cells of a package: its audience's, and the public ones around its area."""
    kind, _, engagement = name.partition("/")
    own = sql_literal(engagement)
    tranche = f"(select any_value(tranche) from disclosure.estimates where engagement = {own})"
    around = (
        "audience = 'public' and (geography_level = 'all' or "
        f"(geography_level = 'tranche' and geography_code = {tranche}))"
    )
    if kind == "cpp":
        return f"audience = {sql_literal(name)} or ({around})"
    if kind == "archive":
        return f"(audience = 'public' and engagement = {own}) or ({around})"
    return "audience = 'public'"


def schools_hold_their_own_cells(bench: Bench) -> Verdict:
    """A school's files hold its protected rows, all and no other school's, beside public ones."""
    schools = [name for name in _packages(bench) if name.startswith("school/")]
    if not schools:
        return Verdict(True, "no school has figures")
    found = school_problems(bench.con, _root(bench))
    return Verdict(not found, places(found, f"{len(schools)} packages"))


def certificates_state_a_clean_audit(bench: Bench) -> Verdict:
    """Every certificate gives the figures of the audit, and none of them is an unsafe cell."""
    columns = ("cells", "suppressed", "attacked", "unsafe")
    row = bench.con.execute(
        "select sum(cells_n), sum(hidden_n), sum(targets_n), sum(unsafe_n) from disclosure.audit"
    ).fetchall()[0]
    wanted = {name: int(n or 0) for name, n in zip(columns, row, strict=True)}
    found = []
    packages = _packages(bench)
    for name, folder in packages.items():
        said = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
        problems = audit_problems(said.get("audit_of_the_release", {}), wanted)
        found += [f"{name}: {problem}" for problem in problems]
    if not wanted["cells"]:
        found.append("the audit looked at nothing")
    return Verdict.of(found, len(packages), "packages")


def witnesses_keep_hidden_cells_open(bench: Bench) -> Verdict:
    """Certificates hold, checked as a third party would: each from its package alone."""
    packages = [name for name in _packages(bench) if name.split("/")[0] in ("public", "cpp")]
    each = {name: verify(_root(bench) / name) for name in packages}
    found = [f"{name}: {problem}" for name, said in each.items() for problem in said["problems"]]
    hidden = sum(said.get("hidden_cells", 0) for said in each.values())
    return Verdict("public" in each and not found, places(found, f"{hidden} hidden cells"))


def _each_answer_file(
    bench: Bench, problems: Callable[[Path, MicrodataRule], list[str]]
) -> Verdict:
    """Look at each file of answers; those with the same bytes beside the same files once.

    Files of a CPP and of the archive are the same (see `deposit.py`).
    """
    rule = load_policy(bench.home.config).microdata
    found, n = [], 0
    seen: dict[tuple[str, ...], list[str]] = {}
    for name, folder in _packages(bench).items():
        files = [] if name == SAFE_HAVEN else answer_files(folder)
        if bool(files) != (name.split("/")[0] in rule.purposes):
            found.append(f"{name}: has files of answers, or lacks them, against the policy")
        beside = tuple(_sha256(file) for file in files)
        for file in files:
            n += 1
            forms = (
                file.name,
                *(_sha256(file.with_suffix(end)) for end in (".tab", ".sav", ".dta")),
                *beside,
            )
            if forms not in seen:
                seen[forms] = problems(file, rule)
            found += [f"{name}/{file.name}: {problem}" for problem in seen[forms]]
    return Verdict(not found, places(found, f"{n} files"))


def microdata_is_k_anonymous(bench: Bench) -> Verdict:
    """At least k records share each combination of keys, counted in the written files."""
    return _each_answer_file(bench, lambda file, rule: k_problems(bench.con, file, rule))


def microdata_is_l_diverse(bench: Bench) -> Verdict:
    """In each class of keys every sensitive variable has l values, or none; no other tells it."""
    return _each_answer_file(
        bench,
        lambda file, rule: [
            *l_problems(bench.con, file, rule, bench.codebook),
            *told_problems(bench.con, file, rule, bench.codebook),
        ],
    )


def microdata_has_coarse_keys_only(bench: Bench) -> Verdict:
    """No column but coarse keys, coarse weight and answers; no code that tells the contractor."""
    return _each_answer_file(
        bench, lambda file, rule: key_problems(bench.con, file, rule, bench.codebook)
    )


def microdata_forms_agree(bench: Bench) -> Verdict:
    """The .tab, .sav and .dta hold what the Parquet file holds, with labels; a part is a part."""
    return _each_answer_file(
        bench,
        lambda file, rule: [
            *form_problems(bench.con, file),
            *part_problems(bench.con, file, rule, bench.codebook),
        ],
    )


def tables_tell_nothing_withheld(bench: Bench) -> Verdict:
    """Whoever holds files of answers finds by the tables nothing that the files withhold.

    Read from the written files: of the archive and of the CPPs, once where they are the same.
    """
    policy = load_policy(bench.home.config)
    if not policy.microdata.gives_way_to_tables:
        return Verdict(True, "not asked: policy.yaml, microdata, gives_way_to_tables: no")
    sets: dict[tuple[str, ...], list[Path]] = {}
    for purpose in sorted(policy.microdata.purposes):
        packages = [p for name, p in _packages(bench).items() if name.split("/")[0] == purpose]
        files = [file for p in packages for file in answer_files(p) if file.stem in PUPIL_SURVEYS]
        sets.setdefault(tuple(_sha256(file) for file in files), files)
    try:
        told = set().union(*(_told_beside(bench, policy, files) for files in sets.values()))
    except StorageError as problem:
        return Verdict(False, str(problem))
    found = [f"{one.engagement} {one.survey} {one.variable}" for one in sorted(told)]
    return Verdict(not found, places(found, f"{sum(map(len, sets.values()))} files"))


def _told_beside(bench: Bench, policy: Policy, files: Sequence[Path]) -> set[Told]:
    """What tables tell beside one set of files; each is looked at for the first time."""
    earlier = earlier_releases(bench.home.releases)
    beside = BesideTables(bench.con, bench.programme, bench.codebook, policy, earlier)
    return beside.told(_by_survey(files))


def _by_survey(files: Sequence[Path]) -> dict[str, str]:
    """Survey → a relation of all its files."""
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(file.stem, []).append(sql_literal(file))
    return {survey: f"read_parquet([{', '.join(own)}])" for survey, own in sorted(found.items())}


def no_row_tells_a_difference(bench: Bench) -> Verdict:
    """Beside releases before no row beside the estimates tells of 1-9 who changed."""
    earlier = earlier_releases(bench.home.releases)
    policy = load_policy(bench.home.config)
    try:
        found = find_row_differences(bench.con, _root(bench), earlier, policy)
    except StorageError as problem:
        return Verdict(False, str(problem))
    said = f"releases before {len(earlier)}, rows compared {found.compared_n}"
    return Verdict(not found.places, places(found.places, said))


NO_RELEASE = "do not publish; run: rcs materialise; if it stays, report a defect of release"
PYTHON_CHECKS = (
    PythonCheck(
        ASSET,
        "manifests_are_complete",
        "Each package that is due is there, with the files that its manifest lists, byte by byte",
        "interfaces.md, A release",
        NO_RELEASE,
        manifests_are_complete,
    ),
    PythonCheck(
        ASSET,
        "packages_open_and_explain_themselves",
        "Databases open read-only and are filled; columns and files of answers are described",
        "interfaces.md, A release",
        NO_RELEASE,
        packages_open_and_explain_themselves,
    ),
    PythonCheck(
        ASSET,
        "simulated_is_stated",
        "What is made from simulated deliveries says SIMULATED in every file and table",
        "design.md, The gate",
        NO_RELEASE,
        simulated_is_stated,
    ),
    PythonCheck(
        ASSET,
        "packages_hold_no_inside_columns",
        "No package has a column for an identifier, none but the safe haven's for exact counts",
        "policy.md, How protection is judged",
        NO_RELEASE,
        packages_hold_no_inside_columns,
    ),
    PythonCheck(
        ASSET,
        "packages_hold_the_protected_cells",
        "Estimates of each package are the protected cells of its audience, all and no others",
        "policy.md, Audiences",
        "run: rcs materialise (the candidate is older than the protected estimates)",
        packages_hold_the_protected_cells,
    ),
    PythonCheck(
        ASSET,
        "schools_hold_their_own_cells",
        "A school's files hold its protected rows and no other school's, beside public ones",
        "policy.md, Audiences",
        NO_RELEASE,
        schools_hold_their_own_cells,
    ),
    PythonCheck(
        ASSET,
        "certificates_state_a_clean_audit",
        "Every certificate gives the figures of the audit: no cell is unsafe",
        "policy.md, How protection is judged",
        NO_RELEASE,
        certificates_state_a_clean_audit,
    ),
    PythonCheck(
        ASSET,
        "witnesses_keep_hidden_cells_open",
        "For each hidden cell of the public package and of a CPP's two made-up tables fit all "
        "that it shows, one with the cell low and one with it high",
        "policy.md, How protection is judged",
        NO_RELEASE,
        witnesses_keep_hidden_cells_open,
    ),
    PythonCheck(
        ASSET,
        "microdata_is_k_anonymous",
        "At least k records share each combination of keys in every anonymised file",
        "policy.md, Table A, microdata",
        NO_RELEASE,
        microdata_is_k_anonymous,
    ),
    PythonCheck(
        ASSET,
        "microdata_is_l_diverse",
        "In each class of keys every sensitive variable has at least two values, or is withheld; "
        "no other answer tells what is withheld",
        "policy.md, Table A, microdata",
        NO_RELEASE,
        microdata_is_l_diverse,
    ),
    PythonCheck(
        ASSET,
        "microdata_has_coarse_keys_only",
        "Anonymised files hold coarse keys, a coarse weight and answers, and nothing else",
        "policy.md, Table A, microdata",
        NO_RELEASE,
        microdata_has_coarse_keys_only,
    ),
    PythonCheck(
        ASSET,
        "microdata_forms_agree",
        "The forms of an anonymised file hold the same rows, with labels; extracts hold their part",
        "interfaces.md, A release",
        NO_RELEASE,
        microdata_forms_agree,
    ),
    PythonCheck(
        ASSET,
        "tables_tell_nothing_withheld",
        "Tables and files of answers together tell nothing of the answers that the files withhold",
        "policy.md, How protection is judged; Table A, microdata",
        "do not publish; run: rcs materialise; if it stays, hand out no files of answers "
        "(policy.yaml, microdata, purposes) and report a defect of disclosure",
        tables_tell_nothing_withheld,
    ),
    PythonCheck(
        ASSET,
        "no_row_tells_a_difference",
        "Beside any earlier release no row of participation, reach, recipients, findings, "
        "comparisons, changes or spend tells that 1 to 9 contributors changed, nor what was hidden",
        "policy.md, Change between releases; Table A, spend",
        "run: rcs materialise (a release came in between); if it stands, report a defect of "
        "disclosure",
        no_row_tells_a_difference,
    ),
)

release_checks = room_checks("release_checks", PYTHON_CHECKS)
