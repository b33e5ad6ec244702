"""Looks at written packages from outside: what is wrong with these files?

Belongs here: plain functions that read the bytes of a package and name what should not be
so; k and l are counted again from the files. Does not belong here: building packages (of
that code nothing is used), and Dagster (`checks.py` wraps these functions).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb
import pyreadstat

from rcs_assets.codebook import Codebook
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.storage import sql_literal

# policy.md, Table A, row microdata: CPP, survey, stage, sex, SIMD, any support; no other field.
QUASI_IDENTIFIERS = ("engagement", "survey", "stage", "sex", "simd_group", "any_support")
ALLOWED_BESIDE_ANSWERS = (*QUASI_IDENTIFIERS, "weight", "data_source")
ROUTED_PAST = -6
# Looking at hundreds of files to guess their form takes longer than reading them.
_KNOWN_FORM = "auto_detect=false, header=true, quote='\"', escape='\"'"
SIMULATED = "SIMULATED"
_SAV_TITLE_AT = 109
STATA_NAME = 28


def answer_files(folder: Path) -> list[Path]:
    """The Parquet form of each survey in a package's `microdata/`."""
    return sorted((folder / "microdata").glob("*.parquet"))


def description_problems(con: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
    """Files of answers, and their dictionary, that a datapackage does not describe by column."""
    datapackage = folder / "datapackage.json"
    if not datapackage.is_file():
        return ["datapackage.json is not there"]
    listed = json.loads(datapackage.read_text(encoding="utf-8"))["resources"]
    said = {
        one["path"]: [field["name"] for field in one["schema"]["fields"] if field["description"]]
        for one in listed
    }
    forms = [
        (form, _columns(con, file))
        for file in answer_files(folder)
        for form in (file, file.with_suffix(".tab"))
        if form.is_file()
    ]
    dictionary = folder / "microdata" / "data_dictionary.csv"
    if dictionary.is_file():
        with dictionary.open(encoding="utf-8") as stream:
            forms.append((dictionary, stream.readline().rstrip("\n").split(",")))
    paths = {form.relative_to(folder).as_posix(): columns for form, columns in forms}
    return [f"{path} is not described" for path, held in paths.items() if said.get(path) != held]


def k_problems(con: duckdb.DuckDBPyConnection, file: Path, rule: MicrodataRule) -> list[str]:
    """Combinations of keys that fewer than k records share; their number is not told."""
    smallest = con.execute(
        f"""
        select coalesce(min(n), 0) from (
            select count(*) as n from read_parquet({sql_literal(file)})
            group by {", ".join(QUASI_IDENTIFIERS)}
        )
        """
    ).fetchall()[0][0]
    return [] if smallest >= rule.k else [f"a class of keys has fewer than {rule.k} records"]


def l_problems(
    con: duckdb.DuckDBPyConnection, file: Path, rule: MicrodataRule, codebook: Codebook
) -> list[str]:
    """Sensitive variables that have one value only in some class of the keys."""
    held = _columns(con, file)
    sensitive = [v.name for v in codebook.variables.values() if v.is_sensitive and v.name in held]
    if not sensitive:
        return []
    counts = ", ".join(
        f"map_values(histogram({n}) filter ({n} >= 0 or {n} = {ROUTED_PAST})) as {n}"
        for n in sensitive
    )
    # Where the policy asks for it, a value of one child alone counts as none.
    alone = "(list_min({0}) = 1)::integer" if rule.l_beside_own_record else "0"
    uniform = ", ".join(
        f"bool_or(len({n}) between 1 and {rule.l - 1} + {alone.format(n)}) as {n}"
        for n in sensitive
    )
    row = con.execute(
        f"""
        select {uniform} from (
            select {counts} from read_parquet({sql_literal(file)})
            group by {", ".join(QUASI_IDENTIFIERS)}
        )
        """
    ).fetchall()[0]
    pairs = zip(sensitive, row, strict=True)
    return [f"{name} has one value in a class of the keys" for name, is_bad in pairs if is_bad]


def told_problems(
    con: duckdb.DuckDBPyConnection, file: Path, rule: MicrodataRule, codebook: Codebook
) -> list[str]:
    """Variables that tell what another one withholds of the same pupil.

    Routed past says that the answer before was another; what else tells one is policy.
    """
    held = set(_columns(con, file))
    pairs = [(one, by) for one, others in rule.told_by.items() for by in others]
    pairs += [(v.routing.variable, v.name) for v in codebook.variables.values() if v.routing]
    pairs = sorted((one, by) for one, by in pairs if {one, by} <= held)
    if not pairs:
        return []
    silent = ", ".join(map(str, sorted({rule.withheld_code, *rule.merged_missing.values()})))
    flags = ", ".join(
        f"coalesce(bool_or({one} = {rule.withheld_code} and {by} not in ({silent})), false)"
        for one, by in pairs
    )
    row = con.execute(f"select {flags} from read_parquet({sql_literal(file)})").fetchall()[0]
    return [
        f"{by} tells what {one} withholds"
        for (one, by), tells in zip(pairs, row, strict=True)
        if tells
    ]


def key_problems(
    con: duckdb.DuckDBPyConnection, file: Path, rule: MicrodataRule, codebook: Codebook
) -> list[str]:
    """Columns, key values, missing codes and weights that the policy does not allow."""
    part = next((extract for extract in rule.extracts if extract.name == file.stem), None)
    survey = part.survey if part else file.stem
    asked = {
        variable.name
        for variable in codebook.variables_of(survey)
        if part is None or variable.theme in part.themes
    }
    columns = _columns(con, file)
    found = [f"column {name}" for name in columns if name not in {*asked, *ALLOWED_BESIDE_ANSWERS}]
    stages = {*part.stages} if part else {*rule.stage_bands, *rule.stage_bands.values()}
    allowed = {
        "stage": stages,
        "sex": {"F", "M"},
        "simd_group": set(rule.simd_groups.values()),
        "any_support": {"Y", "N"},
        "survey": {survey},
    }
    merged = ", ".join(str(code) for code in rule.merged_missing) or "null"
    answers = [f"{name} in ({merged})" for name in columns if name in asked]
    step = rule.weight_step
    rules = {f"a value of {name}": _outside(name, values) for name, values in allowed.items()}
    if part:
        # In a survey's file a stage may be withheld; who is in an extract shows one.
        rules["a value of stage"] += " or stage is null"
    rules["a missing code that tells the questionnaire"] = " or ".join(answers) or "false"
    rules["a weight that is not rounded"] = f"abs(round(weight / {step}) - weight / {step}) > 1e-6"
    flags = ", ".join(f"coalesce(bool_or({rule_sql}), false)" for rule_sql in rules.values())
    row = con.execute(f"select {flags} from read_parquet({sql_literal(file)})").fetchall()[0]
    found += [name for name, is_bad in zip(rules, row, strict=True) if is_bad]
    variables = [name for name in columns if name in asked]
    return found + _stage_problems(con, file, rule, variables) + _weight_problems(con, file)


def _stage_problems(
    con: duckdb.DuckDBPyConnection, file: Path, rule: MicrodataRule, variables: Sequence[str]
) -> list[str]:
    """Questions that were asked of some stages only of a class that shows no stage of its own."""
    not_asked = ", ".join(str(code) for code in sorted(set(rule.merged_missing.values())))
    bands = ", ".join(sql_literal(band) for band in sorted(set(rule.stage_bands.values())))
    if not variables or not not_asked:
        return []
    counts = ", ".join(f"count(*) filter ({n} in ({not_asked})) as {n}" for n in variables)
    # Forms of a questionnaire ask alike or not at all: who shares a form shares its classes.
    mixed = " or ".join(f"{n} between 1 and least({rule.k - 1}, n - 1)" for n in variables)
    is_told = con.execute(
        f"""
        select coalesce(bool_or({mixed}), false) from (
            select {counts}, count(*) as n from read_parquet({sql_literal(file)})
            where stage is null or stage in ({bands})
            group by {", ".join(QUASI_IDENTIFIERS)}
        )
        """
    ).fetchall()[0][0]
    return ["a question that tells a stage that is withheld"] if is_told else []


def part_problems(
    con: duckdb.DuckDBPyConnection, file: Path, rule: MicrodataRule, codebook: Codebook
) -> list[str]:
    """Whether an extract is, row for row, the part of the survey's file beside it that it is of.

    All of that file's columns of the extract's themes must be in it, with the keys and the weight.

    Told once a pair, with the survey's file; with the extract where there is no such file.

    Args:
        con: any connection.
        file: the Parquet form of a survey or of an extract.
        rule: which extracts there are, and their themes.
        codebook: the theme of each variable.
    """
    found = []
    for part in rule.extracts:
        survey, extract = (file.with_name(f"{name}.parquet") for name in (part.survey, part.name))
        if file == extract and not survey.exists():
            found.append(f"there is no {survey.name} that it could be a part of")
        if file != survey:
            continue
        stages = ", ".join(sql_literal(stage) for stage in part.stages)
        of_survey = f"read_parquet({sql_literal(survey)}) where stage in ({stages})"
        if extract.exists():
            held, own = _columns(con, survey), set(_columns(con, extract))
            wanted = {v.name for v in codebook.variables.values() if v.theme in part.themes}
            found += [
                f"{extract.name} lacks column {name} of the survey"
                for name in held
                if name not in own and (name in wanted or name in ALLOWED_BESIDE_ANSWERS)
            ]
            found += _differing(con, extract, of_survey, held)
        elif con.execute(f"select 1 from {of_survey} limit 1").fetchall():
            found.append(f"{extract.name} is missing")
    return found


def _differing(
    con: duckdb.DuckDBPyConnection, extract: Path, of_survey: str, held: Iterable[str]
) -> list[str]:
    columns = _columns(con, extract)
    beside = [name for name in columns if name not in set(held)]
    if beside:
        return [f"{extract.name} has column {name} beside those of the survey" for name in beside]
    names = ", ".join(f'"{name}"' for name in columns)
    part = f"select {names} from read_parquet({sql_literal(extract)})"
    whole = f"select {names} from {of_survey}"
    pairs = {"a row that is not of the survey": (part, whole), "not all of its rows": (whole, part)}
    return [
        f"{extract.name} has {what}"
        for what, (one, other) in pairs.items()
        if con.execute(f"select 1 from ({one} except all {other}) limit 1").fetchall()
    ]


def _outside(name: str, values: Iterable[str]) -> str:
    return f"{name} not in ({', '.join(sql_literal(value) for value in sorted(values))})"


def _weight_problems(con: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    finer = con.execute(
        f"select 1 from read_parquet({sql_literal(file)}) "
        "group by engagement, survey, stage, sex having count(distinct weight) > 1 limit 1"
    ).fetchall()
    return ["weights within a stage and sex"] if finer else []


def form_problems(con: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """Whether .tab, .sav and .dta hold the columns and the rows of the Parquet file."""
    described = con.execute(f"describe select * from read_parquet({sql_literal(file)})").fetchall()
    types = ", ".join(f"{sql_literal(row[0])}: {sql_literal(row[1])}" for row in described)
    tab = (
        f"read_csv({sql_literal(file.with_suffix('.tab'))}, delim='\t', {_KNOWN_FORM}, "
        f"columns={{{types}}})"
    )
    own = fingerprint(con, f"select * from read_parquet({sql_literal(file)})")
    found = []
    header = file.with_suffix(".tab").open(encoding="utf-8").readline().rstrip("\n").split("\t")
    columns = [row[0] for row in described]
    if header != columns or fingerprint(con, f"select * from {tab}") != own:
        found.append(f"{file.stem}.tab differs")
    _, meta = pyreadstat.read_sav(file.with_suffix(".sav"), metadataonly=True, user_missing=True)
    unlabelled = [name for name, label in meta.column_names_to_labels.items() if not label]
    if meta.column_names != columns or meta.number_rows != own[0] or unlabelled:
        found.append(f"{file.stem}.sav differs")
    _, meta = pyreadstat.read_dta(file.with_suffix(".dta"), metadataonly=True)
    unlabelled = [name for name, label in meta.column_names_to_labels.items() if not label]
    # Stata cuts long names; their beginnings and their order must be those of the file.
    named = list(zip(meta.column_names, columns, strict=False))
    is_same = len(meta.column_names) == len(columns) and all(
        theirs == ours or (len(ours) > STATA_NAME and theirs[:23] == ours[:23])
        for theirs, ours in named
    )
    if not is_same or meta.number_rows != own[0] or unlabelled:
        found.append(f"{file.stem}.dta differs")
    return found


def fingerprint(con: duckdb.DuckDBPyConnection, rows: str) -> tuple[int, int]:
    """Number of rows and sum of their hashes: equal for equal rows in any order."""
    n, total = con.execute(
        f"select count(*), coalesce(sum(hash(found)::hugeint), 0) from ({rows}) as found"
    ).fetchall()[0]
    return int(n), int(total)


def unmarked(folder: Path) -> list[str]:
    """Text files and .sav of a package with a row or a head that does not say SIMULATED."""
    microdata, documents = folder / "microdata", folder / "documentation"
    files = [
        *((path, _every_row_has(path, f",{SIMULATED}\n")) for path in _csv_files(folder)),
        *((path, _every_row_has(path, f"\n{SIMULATED}\t")) for path in microdata.glob("*.tab")),
        *((path, _sav_title(path).startswith(SIMULATED)) for path in microdata.glob("*.sav")),
        *(
            (path, SIMULATED.encode() in path.read_bytes()[:500])
            for path in microdata.glob("*.dta")
        ),
        *((path, SIMULATED in path.read_text("utf-8")) for path in microdata.glob("*.md")),
        *((path, SIMULATED in path.read_text("utf-8")) for path in microdata.glob("derive_*")),
        *((path, SIMULATED in path.read_text("utf-8")) for path in folder.glob("*_*.md")),
        *((path, SIMULATED in path.read_text("utf-8")) for path in folder.glob("*.cff")),
        *((path, SIMULATED in path.read_text("utf-8")) for path in sorted(documents.glob("*"))),
    ]
    return sorted(path.relative_to(folder).as_posix() for path, is_marked in files if not is_marked)


def _csv_files(folder: Path) -> list[Path]:
    """Those of a school beside its page, those of the public package in `csv/`."""
    return [*sorted(folder.glob("*.csv")), *sorted((folder / "csv").glob("*.csv"))]


def _every_row_has(path: Path, mark: str) -> bool:
    """Whether there are as many marks as rows below the header."""
    content = path.read_bytes()
    return content.count(mark.encode()) == content.count(b"\n") - 1


def _sav_title(path: Path) -> str:
    """The title of a .sav: 64 bytes of its header, after the time stamp."""
    with path.open("rb") as stream:
        stream.seek(_SAV_TITLE_AT)
        return stream.read(64).decode("utf-8", "replace")


_SEED = r"school/([^/]+)/[^/]+$"
_NUMBERS = {
    "n": "decimal(9, 0)",
    "estimate": "decimal(7, 1)",
    "ci_low": "decimal(7, 1)",
    "ci_high": "decimal(7, 1)",
}
_TEXTS = (
    "engagement",
    "survey",
    "geography_level",
    "geography_code",
    "breakdown",
    '"group"',
    "indicator",
    "statistic",
    "status",
    "note",
)
_NAMES = ", ".join([*_TEXTS, *_NUMBERS])
_CELL = ", ".join([*(f"coalesce({name}, '') as {name}" for name in _TEXTS), *_NUMBERS])


def school_problems(con: duckdb.DuckDBPyConnection, root: Path) -> list[str]:
    """Schools whose files hold another's rows, not all their own, or what is not public.

    Args:
        con: the warehouse.
        root: the candidate.
    """
    con.execute(
        f"create or replace temp table held as select {_seed_column()}, {_held_cell()} "
        f"from {_csv(root, 'table.csv')}"
    )
    own = con.execute(
        f"""
        with held_own as (
            select seed, count(*) as n, sum(hash({_NAMES})::hugeint) as rows_hash
            from held where geography_level = 'school' group by seed
        ),
        cells as (
            select geography_code as seed, {_CELL} from disclosure.estimates
            where audience like 'cpp/%' and geography_level = 'school'
        ),
        wanted as (
            select seed, count(*) as n, sum(hash({_NAMES})::hugeint) as rows_hash
            from cells group by seed
        )
        select seed from (from held_own except from wanted)
        union
        select seed from (from wanted except from held_own)
        """
    ).fetchall()
    beside = con.execute(
        f"""
        with own as (select distinct seed, engagement from held where geography_level = 'school'),
        beside as (
            select {_NAMES}, list(distinct seed) as seeds from held
            where geography_level <> 'school' group by all
        ),
        shown as (
            select {_CELL} from disclosure.estimates
            where audience = 'public' and geography_level = 'cpp'
        ),
        hidden as (select {_NAMES} from beside except select {_NAMES} from shown)
        select distinct unnest(seeds) from beside
        where hash({_NAMES}) in (select hash({_NAMES}) from hidden)
        union
        select distinct seed from held
        where (seed, engagement) not in (select (seed, engagement) from own)
        """
    ).fetchall()
    others = [
        row
        for name in ("comparisons.csv", "participation.csv")
        for row in con.execute(
            f"select distinct {_seed_column()} from {_csv(root, name)} where geography_code <> seed"
        ).fetchall()
    ]
    return sorted({f"school/{row[0]}" for row in [*own, *beside, *others]})


def _held_cell() -> str:
    """A row of `table.csv` with the types of the protected table."""
    texts = [f"coalesce({name}, '') as {name}" for name in _TEXTS]
    numbers = [f"nullif({name}, '')::{kind} as {name}" for name, kind in _NUMBERS.items()]
    return ", ".join([*texts, *numbers])


def _csv(root: Path, name: str) -> str:
    """The files of one name of all schools, as text; columns are those of the first one."""
    first = next(iter(sorted(root.glob(f"school/*/{name}"))))
    with first.open(encoding="utf-8") as stream:
        header = stream.readline().rstrip("\n").split(",")
    types = ", ".join(f"{sql_literal(column)}: 'VARCHAR'" for column in header)
    pattern = sql_literal(root / "school" / "*" / name)
    return f"read_csv({pattern}, filename=true, delim=',', {_KNOWN_FORM}, columns={{{types}}})"


def _seed_column() -> str:
    return f"regexp_extract(filename, '{_SEED}', 1) as seed"


def _columns(con: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    rows = con.execute(f"describe select * from read_parquet({sql_literal(file)})").fetchall()
    return [row[0] for row in rows]


def csv_columns(folder: Path) -> Iterable[tuple[str, str]]:
    """File and column of every CSV file and .tab of a package."""
    for path in [*_csv_files(folder), *sorted((folder / "microdata").glob("*.tab"))]:
        with path.open(encoding="utf-8") as stream:
            header = stream.readline().rstrip("\n")
        for column in header.split("\t" if path.suffix == ".tab" else ","):
            yield path.name, column.lower()


def audit_problems(said: Mapping[str, int], wanted: Mapping[str, int]) -> list[str]:
    """What a certificate says of the audit and should not."""
    found = [name for name in wanted if said.get(name) != wanted[name]]
    return found + (["unsafe cells"] if said.get("unsafe") != 0 else [])
