"""Exchange files of domain.md 3.4: what goes between providers, indexer (NRS) and linker (eDRIS).

Belongs here: the files that the platform hands on in the place of any of them, in the published
layouts. Does not belong here: files that come in; those are deliveries (`intake/exchange.py`).

A file holds identifiers (for the indexer), or numbers, or payload under index numbers (for the
linker); none holds an identifier and payload, and no connection sees both. `linked` of the
layouts is no file: linked rows leave in the package `safe_haven` of a release only.

The layouts have no room for a mark. Files that are made from simulated deliveries carry it in their
name, and stand in a signed `SIMULATED.json` beside them, by which a demo knows its own again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv

from rcs_assets.codebook import Codebook, Sensitivity
from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.intake.drop import current_deliveries
from rcs_assets.intake.receipts import is_taken
from rcs_assets.linkage.encoded import encoded_engagements
from rcs_assets.linkage.standardise import letters, postcode_7, sex_code
from rcs_assets.programme import Programme, approval_problems
from rcs_assets.programme.provenance import write_simulated_manifest
from rcs_assets.storage import (
    Home,
    Settings,
    hmac_expression,
    open_vault,
    open_warehouse,
    write_lock,
)
from rcs_assets.storage.access_log import Access, record_access

# Column order of PHS CHILI, domain.md 3.4. A blank one has no source here.
CHILI = (
    "SERIAL", "CHI_NUMBER", "SURNAME", "PREVIOUS_SURNAME", "FIRST_FORENAME", "SECOND_FORENAME",
    "SEX", "DATE_OF_BIRTH", "DATE_OF_DEATH", "POSTCODE", "NHS_NUMBER", "ADDRESS1", "ADDRESS2",
    "ADDRESS3", "ADDRESS", "USER_DATA",
)  # fmt: skip
ADMIN_IDS = (
    "record_id", "survey_uid", "scn", "surname", "first_forename", "second_forename", "sex",
    "date_of_birth", "postcode",
)  # fmt: skip
_COUNCIL = {"edu": "education", "sw": "social_work"}
_SURVEYS = {"primary": "primary_survey", "secondary": "secondary_survey"}
OPT_OUTS = "opt_outs"
SIMULATED = "_SIMULATED"
# Who refused stands in no file. An answer is known by its UID. A social work record that has no
# SCN and is linked to nobody could be that of a child who opted out: where there is such a child,
# it stays here.
_BARRED = """
create or replace temp table barred as
select ids.record_id
from survey_identifiers as ids
inner join opt_outs using (engagement, uid)
where engagement = $engagement
union
select ids.record_id
from education_identifiers as ids
inner join opt_outs using (engagement, uid)
where engagement = $engagement
union
select ids.record_id
from social_work_identifiers as ids
left join index_numbers as numbers
    on
        numbers.engagement = ids.engagement
        and numbers.dataset = 'social_work'
        and numbers.record_id = ids.record_id
left join read_through as linked
    on
        linked.engagement = ids.engagement
        and linked.index_social_work = numbers.index_no
where
    ids.engagement = $engagement
    and ids.scn is null
    and linked.index_social_work is null
    and exists (select 1 from opt_outs where opt_outs.engagement = $engagement)
"""
_NOT_BARRED = "record_id not in (select record_id from barred)"


@dataclass(frozen=True)
class ExchangeFile:
    """One kind of file: who hands it to whom, which zone it is made of."""

    kind: str
    sender: str
    receiver: str
    zone: str
    about: str


def _kinds() -> tuple[ExchangeFile, ...]:
    to_indexer = ("provider", "indexer", "vault")
    back = ("indexer", "provider", "vault")
    to_linker = ("provider", "linker", "warehouse")
    council = [
        file
        for name in _COUNCIL
        for file in (
            ExchangeFile(f"admin_ids_{name}", *to_indexer, "identifiers"),
            ExchangeFile(f"chili_{name}", *to_indexer, "the same in the layout of PHS CHILI"),
            ExchangeFile(f"index_return_{name}", *back, "index numbers"),
            ExchangeFile(f"payload_{name}", *to_linker, "attributes under index numbers"),
        )
    ]
    surveys = [
        ExchangeFile(f"payload_{name}", *to_linker, "answers under index numbers")
        for name in _SURVEYS
    ]
    return (
        ExchangeFile("survey_ids", *to_indexer, "UIDs of the answers"),
        ExchangeFile("index_return_survey", *back, "index numbers of the answers"),
        *council,
        *surveys,
        ExchangeFile("read_through", "indexer", "linker", "vault", "whose numbers are one child's"),
    )


KINDS: Mapping[str, ExchangeFile] = {file.kind: file for file in _kinds()}


def export_files(
    home: Home,
    programme: Programme,
    codebook: Codebook,
    settings: Settings,
    engagement: str,
    kinds: Sequence[str],
    folder: Path,
) -> tuple[Path, ...]:
    """Write exchange files of one engagement, mode 0600: all or none.

    Args:
        home: the installation; each file is an entry of its access log.
        programme: approvals; without a valid one nothing is handed on.
        codebook: which columns are payload.
        settings: limits, and the day on which the approval must hold.
        engagement: partition key.
        kinds: of `KINDS`.
        folder: outside the home.

    Returns:
        The files, `<engagement>_<kind>.csv`, or `<engagement>_<kind>_SIMULATED.csv`.

    Raises:
        ConfigurationError: no such kind, a folder inside the home, a file that is there already.
        InputError: no valid approval, or nothing to hand on: run linkage before.
    """
    _refuse(home, programme, settings, engagement, kinds, folder)
    # No run changes a zone, and no list of opt-outs comes, between the question and the answer.
    with write_lock(home, "writing exchange files"):
        _require_opt_outs(home, engagement)
        tables = _read(home, codebook, settings, engagement, kinds)
    return _write(home, engagement, {kind: tables[kind] for kind in kinds}, folder)


def _read(
    home: Home, codebook: Codebook, settings: Settings, engagement: str, kinds: Sequence[str]
) -> dict[str, pa.Table]:
    """Kind → rows; vault and warehouse one after the other."""
    tables: dict[str, pa.Table] = {}
    numbers: pa.Table | None = None
    with open_vault(home, read_only=True, settings=settings, purpose="exchange files") as vault:
        hmac_expression(vault, "project", home.key("project_id"))
        _require_linkage(vault, engagement)
        _refuse_encoded(vault, engagement, kinds)
        vault.execute(_BARRED, {"engagement": engagement})
        for kind in kinds:
            if KINDS[kind].zone == "vault":
                rows = vault.execute(_query(kind), {"engagement": engagement})
                tables[kind] = rows.to_arrow_table()
        if any(KINDS[kind].zone == "warehouse" for kind in kinds):
            # Record ids that intake minted and index numbers: no identifier leaves the vault.
            numbers = vault.execute(
                "select record_id, index_no from index_numbers "
                f"where engagement = ? and {_NOT_BARRED}",
                [engagement],
            ).to_arrow_table()
    if numbers is not None:
        with open_warehouse(home, read_only=True, settings=settings) as warehouse:
            warehouse.register("numbers", numbers)
            for kind in kinds:
                if KINDS[kind].zone == "warehouse":
                    query = _payload_query(kind, codebook)
                    tables[kind] = warehouse.execute(
                        query, {"engagement": engagement}
                    ).to_arrow_table()
    return tables


def _refuse(
    home: Home,
    programme: Programme,
    settings: Settings,
    engagement: str,
    kinds: Sequence[str],
    folder: Path,
) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ConfigurationError(
            f"There is no exchange file {', '.join(unknown)}",
            fix=f"choose from: {', '.join(KINDS)}",
        )
    if folder.resolve().is_relative_to(home.path):
        raise ConfigurationError(
            "Exchange files do not go into the home",
            where=str(folder),
            why="they are handed on; nothing of the installation lies beside them",
            fix="name a folder outside, on an encrypted disk",
        )
    there = [
        kind
        for kind in kinds
        for mark in ("", SIMULATED)
        if (folder / f"{engagement}_{kind}{mark}.csv").exists()
    ]
    if there:
        raise ConfigurationError(
            f"Files are there already: {', '.join(there)}",
            where=str(folder),
            fix="name an empty folder",
        )
    day = home.permission_day(settings.as_of)
    problems = approval_problems(
        programme, engagement, day, placeholders_allowed=home.profile == "demo"
    )
    if problems:
        raise InputError(
            "Nothing may be handed on",
            where=engagement,
            why=f"the approval does not hold on {day}: {'; '.join(problems)}",
            fix="renew the row of privacy.csv",
        )


def _require_opt_outs(home: Home, engagement: str) -> None:
    """Nothing is handed on while an opt-out waits (policy.md: before anything else).

    Raises:
        InputError: the newest list was rejected, or is not taken in yet.
    """
    delivery = current_deliveries(home).get((OPT_OUTS, engagement))
    if delivery is not None and not is_taken(home, delivery):
        raise InputError(
            "Opt-outs are not applied",
            where=f"{engagement}, file {delivery.file}",
            why="a child on it could be handed on",
            fix=f"run: rcs materialise --engagement {engagement}",
        )


def _require_linkage(vault: duckdb.DuckDBPyConnection, engagement: str) -> None:
    known = vault.execute("select 1 from duckdb_tables() where table_name = 'index_numbers'")
    if (
        not known.fetchall()
        or not vault.execute(
            "select 1 from index_numbers where engagement = ? limit 1", [engagement]
        ).fetchall()
    ):
        raise InputError(
            "There is nothing to hand on",
            where=engagement,
            why="its records have no index numbers yet",
            fix=f"run: rcs materialise --engagement {engagement}",
        )


def _refuse_encoded(
    vault: duckdb.DuckDBPyConnection, engagement: str, kinds: Sequence[str]
) -> None:
    """There are no identifiers to hand on where the council sent encodings."""
    wanted = [kind for kind in kinds if kind.startswith(("admin_ids", "chili"))]
    if wanted and encoded_engagements(vault, [engagement]):
        raise InputError(
            f"There are no identifiers for {', '.join(wanted)}",
            where=engagement,
            why="this council sent encodings in their place",
            fix="leave these files out, or ask the council to send identifiers to the indexer",
        )


def _query(kind: str) -> str:
    """One file of the vault; `$engagement` names the engagement."""
    own = f"where engagement = $engagement and {_NOT_BARRED}"
    if kind == "read_through":
        # A child who refused linkage is known by his answer alone, and stands in no file.
        barred = (
            "(select index_no from index_numbers where engagement = $engagement "
            f"and not {_NOT_BARRED})"
        )
        allowed = " and ".join(
            f"({number} is null or {number} not in {barred})"
            for number in ("index_survey", "index_education", "index_social_work")
        )
        return f"""
            select
                index_survey,
                index_education as index_edu,
                index_social_work as index_sw,
                hmac_project('exchange ' || engagement || ' ' || project_id) as project_id,
                match_method,
                weight_band as match_weight_band
            from read_through
            where engagement = $engagement and {allowed}
            order by project_id
        """
    if kind == "survey_ids":
        return f"select record_id, uid as survey_uid from survey_identifiers {own} order by all"
    if kind == "index_return_survey":
        return (
            "select record_id, index_no as index_survey from index_numbers "
            f"{own} and dataset in {tuple(_SURVEYS.values())} order by record_id"
        )
    layout, _, name = kind.rpartition("_")
    if layout == "index_return":
        return f"""
            select ids.supplier_id as record_id, numbers.index_no as index_{name}
            from {_COUNCIL[name]}_identifiers as ids
            inner join index_numbers as numbers using (engagement, record_id)
            {own} and numbers.dataset = '{_COUNCIL[name]}'
            order by ids.supplier_id
        """
    uid, previous = ("uid", "null") if name == "edu" else ("null", "previous_surname")
    table = f"{_COUNCIL[name]}_identifiers {own} order by supplier_id"
    if layout == "admin_ids":
        named = {"record_id": "supplier_id", "survey_uid": f"{uid}::varchar"}
        columns = ", ".join(f"{named.get(c, c)} as {c}" for c in ADMIN_IDS)
        return f"select {columns} from {table}"
    made = {
        "SERIAL": "row_number() over (order by supplier_id)",
        "SURNAME": letters("surname"),
        "PREVIOUS_SURNAME": letters(f"{previous}::varchar"),
        "FIRST_FORENAME": letters("first_forename"),
        "SECOND_FORENAME": letters("second_forename"),
        "SEX": sex_code("sex"),
        "DATE_OF_BIRTH": "strftime(date_of_birth, '%Y%m%d')",
        "POSTCODE": f"coalesce({postcode_7('postcode')}, 'NK')",
        "USER_DATA": "supplier_id",
    }
    columns = ", ".join(f"{made.get(c, 'null::varchar')} as {c}" for c in CHILI)
    return f"select {columns} from {table}"


def _payload_query(kind: str, codebook: Codebook) -> str:
    """Payload of one file of the warehouse under its index numbers, attributes only."""
    name = kind.removeprefix("payload_")
    if name in _SURVEYS:
        table, index = _SURVEYS[name], "index_survey"
        columns = ["completed_on", *(v.name for v in codebook.variables_of(name))]
        shown = ", ".join(f'"{column}"' for column in columns)
    else:
        table, index = _COUNCIL[name], f"index_{name}"
        fields = [
            field
            for field in codebook.datasets[f"{table}_payload"].fields
            if field.sensitivity is not Sensitivity.IDENTIFIER
        ]
        flags = {frozenset(("Y", "N"))}
        shown = ", ".join(
            f"if({f.name}, 'Y', 'N') as {f.name}" if frozenset(f.allowed) in flags else f.name
            for f in fields
        )
    return f"""
        select numbers.index_no as {index}, {shown}
        from intake.{table} as payload
        inner join numbers using (record_id)
        where engagement = $engagement
        order by numbers.index_no
    """


def _write(
    home: Home, engagement: str, tables: Mapping[str, pa.Table], folder: Path
) -> tuple[Path, ...]:
    """The files under names of their own, renamed when all are whole and recorded."""
    empty = [kind for kind, table in tables.items() if not table.num_rows]
    if empty:
        raise InputError(
            f"There is nothing to hand on as {', '.join(empty)}",
            where=engagement,
            fix="leave it out, or deliver what it is made of",
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = SIMULATED if _is_simulated(home, engagement) else ""
    files = {kind: folder / f"{engagement}_{kind}{mark}.csv" for kind in tables}
    parts = {kind: file.with_name(f".{file.name}.part") for kind, file in files.items()}
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    try:
        for kind, table in tables.items():
            parts[kind].touch(mode=0o600)
            pyarrow.csv.write_csv(table, parts[kind], options)
        for kind, file in files.items():
            record_access(home, Access.FILE_EXPORTED, file.name, f"for the {KINDS[kind].receiver}")
        for kind, file in files.items():
            parts[kind].replace(file)
        if mark:
            _mark(folder)
    except OSError:
        for file in files.values():
            file.unlink(missing_ok=True)
        raise
    finally:
        # What was identified and did not get its name does not stay.
        for part in parts.values():
            part.unlink(missing_ok=True)
    return tuple(files.values())


def _is_simulated(home: Home, engagement: str) -> bool:
    """Whether any delivery that the files are made from is the simulator's."""
    return any(
        delivery.is_simulated
        for (_, whose), delivery in current_deliveries(home).items()
        if whose == engagement
    )


def _mark(folder: Path) -> None:
    """List every simulated file of the folder, earlier ones too, under one signature."""
    write_simulated_manifest(folder, sorted(folder.glob(f"*{SIMULATED}.csv")), seed=0)


def kind_of(file: Path) -> ExchangeFile:
    """The kind of a file that `export_files` wrote."""
    return KINDS[file.stem.removesuffix(SIMULATED).partition("_")[2]]


def default_kinds(receiver: str) -> tuple[str, ...]:
    """The kinds that a receiver (indexer | provider | linker) gets."""
    return tuple(kind for kind, file in KINDS.items() if file.receiver == receiver)
