"""A tiny delivered world: two schools, six pupils, every dataset of one engagement.

Belongs here: builders of delivered files and the desk that takes them in. Does not
belong here: assertions.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyreadstat
import pytest

from rcs_assets.codebook import Codebook, Questionnaire, load_codebook
from rcs_assets.intake.desk import Desk, open_desk
from rcs_assets.intake.drop import DeliveryOutcome, deliver
from rcs_assets.intake.receipts import Receipt
from rcs_assets.intake.take import (
    take,
    take_education,
    take_reference,
    take_social_work,
)
from rcs_assets.programme import Programme, load_programme, write_simulated_manifest
from rcs_assets.storage import Home, Settings, open_vault, open_warehouse

ENGAGEMENT = "t1-clackmannanshire"
COUNCIL = ("Clackmannanshire", "S12000005")
PRIMARY, SECONDARY = "5700001", "5700002"
AS_OF = date(2020, 6, 30)
REFERENCE = ("school_roll", "school_list", "simd", "datazones")
FILES = {
    "sample_file": "sample-file.csv",
    "opt_outs": "opt-outs.csv",
    "uid_decisions": "uid-decisions.csv",
    "primary_survey": "primary-survey.sav",
    "secondary_survey": "secondary-survey.sav",
    "parent_survey": "parent-survey.sav",
    "education_ids": "education-identifiers.csv",
    "education_payload": "education-payload.csv",
    "social_work_ids": "social-work-identifiers.csv",
    "social_work_payload": "social-work-payload.csv",
    "clusters": "clusters.csv",
    "budgets": "budgets.xlsx",
    "service_map": "service-map.xlsx",
}
# Values that may stand nowhere but in drop and vault.
CANARIES = (
    "Zyxwvut",
    "Qqbirth",
    "2009-02-28",
    "ZZ9 9ZZ",
    "123456785",
    "CA00000001",
    "sup-canary-1",
    "sw-canary-1",
    "Wvutsbefore",
)


def pupils() -> list[dict[str, str]]:
    """Six pupils: three in P6 of the primary, three in S2 of the secondary; the first a canary."""
    rows = []
    for number in range(1, 7):
        is_primary = number <= 3
        rows.append(
            {
                "survey_uid": f"CA{number:08d}",
                "scn": f"12345678{number}",
                "surname": f"Surname{number}",
                "first_forename": f"Forename{number}",
                "second_forename": "",
                "sex": "F" if number % 2 else "M",
                "date_of_birth": f"200{'5' if is_primary else '2'}-03-0{number}",
                "postcode": f"FK10 {number}AA",
                "seed_code": PRIMARY if is_primary else SECONDARY,
                "stage": "P6" if is_primary else "S2",
            }
        )
    rows[0].update(
        surname="Zyxwvut",
        first_forename="Qqbirth",
        date_of_birth="2009-02-28",
        postcode="ZZ9 9ZZ",
        scn="123456785",
    )
    return rows


def education_ids() -> list[dict[str, str]]:
    """The council's identifiers of the six pupils; the third without UID."""
    kept = (
        "scn",
        "surname",
        "first_forename",
        "second_forename",
        "sex",
        "date_of_birth",
        "postcode",
    )
    rows = []
    for number, pupil in enumerate(pupils(), start=1):
        uid = "" if number == 3 else pupil["survey_uid"]
        own = "sup-canary-1" if number == 1 else f"sup-{number}"
        rows.append({"record_id": own, "survey_uid": uid, **{name: pupil[name] for name in kept}})
    return rows


def education_payload() -> list[dict[str, str]]:
    """The payload of the same six."""
    return [
        {
            "record_id": own["record_id"],
            "seed_code": pupil["seed_code"],
            "stage": pupil["stage"],
            "sex": pupil["sex"],
            "datazone": "S01006506",
            "ethnic_background": "01",
            "level_of_english": "FIRST",
            "free_school_meal": "Y" if number == 1 else "N",
            "asn_types": "1;2" if number == 1 else "",
            "asn_needs": "",
            "looked_after": "N",
            "attendance_pct": "93.5",
            "exclusions_n": "0",
        }
        for number, (own, pupil) in enumerate(zip(education_ids(), pupils(), strict=True), start=1)
    ]


def social_work_ids() -> list[dict[str, str]]:
    """Social work's identifiers of the first four pupils; the fourth without SCN."""
    kept = ("scn", "surname", "first_forename", "second_forename", "sex", "date_of_birth")
    rows = []
    for number, pupil in enumerate(pupils()[:4], start=1):
        own = "sw-canary-1" if number == 1 else f"sw-{number}"
        row = {"record_id": own, **{name: pupil[name] for name in kept}}
        row |= {"previous_surname": "Wvutsbefore" if number == 1 else "", "postcode": ""}
        rows.append(row | ({"scn": ""} if number == 4 else {}))
    return rows


def social_work_payload() -> list[dict[str, str]]:
    """The payload of the same four; the first is looked after."""
    return [
        {
            "record_id": own["record_id"],
            "looked_after_status": "currently_away" if number == 1 else "never",
            "placement": "kinship_carers" if number == 1 else "",
            "child_protection_12m": "N",
            "open_case": "Y" if number < 3 else "N",
            "childs_plan": "Y" if number == 1 else "N",
            "opened_on": "2014-05-06",
            "closed_on": "" if number < 3 else "2015-01-31",
        }
        for number, own in enumerate(social_work_ids(), start=1)
    ]


def clusters() -> list[dict[str, str]]:
    """Both schools in the one cluster."""
    row = {
        "cluster_code": f"C{SECONDARY}", "cluster_name": "B cluster", "is_sdc_cluster": "Y",
        "valid_from": "2015-08-01",
    }  # fmt: skip
    return [{"seed_code": code, **row} for code in (PRIMARY, SECONDARY)]


def budgets() -> list[dict[str, Any]]:
    """One budget of the CPP's own, one of the health board."""
    row = {"sector": "voluntary", "funding_origin": "council", "cost_year": "2015-16",
           "budget_gbp": 30000, "method": "direct", "share": 1, "about": "Voluntary"}  # fmt: skip
    board = {"sector": "health", "method": "population", "share": 0.25}
    return [{"budget_id": "b1", **row}, {"budget_id": "b2", **row, **board}]


def services() -> list[dict[str, Any]]:
    """Two services."""
    service = {
        "provider_name": "A provider", "provider_type": "third", "sector": "voluntary",
        "name": "A service", "age_min": 5, "age_max": 12, "children_served": 40,
        "cost_year": "2015-16", "annual_cost_gbp": 12500.5, "funding_origin": "council",
        "tier_universal_pct": 50, "tier_targeted_pct": 30, "tier_specialist_pct": 20,
        "domain": "healthy", "is_confidential": "Y",
    }  # fmt: skip
    return [{"service_id": "s1", **service}, {"service_id": "s2", **service}]


def write_csv(path: Path, rows: Sequence[Mapping[str, str]], header: Sequence[str] = ()) -> Path:
    """Rows as UTF-8 with a final line break."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, header or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_xlsx(path: Path, rows: Sequence[Mapping[str, Any]], sheet: str = "services") -> Path:
    """Rows as the only sheet of a workbook."""
    return write_sheet(path, [list(rows[0]), *(list(row.values()) for row in rows)], sheet)


def write_sheet(path: Path, lines: Sequence[Sequence[Any]], sheet: str = "services") -> Path:
    """Lines of cells, the header among them, as the only sheet of a workbook."""
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.title = sheet
    for line in lines:
        page.append(list(line))
    book.save(path)
    return path


def survey_frame(
    questionnaire: Questionnaire,
    uids: Sequence[str],
    forms: Sequence[str | None] = (),
    **changes: Sequence[float | None],
) -> pd.DataFrame:
    """One record a UID in the supplier's names and codes; `changes` by our variable names.

    `forms`: one a record where the version has any, the first for all if not given.

    Every question is answered with the first code that is a valid answer; a change gives
    one codebook code a record (None = skipped; an unknown code is passed on as it is).
    """
    count = len(uids)
    columns: dict[str, Any] = {
        questionnaire.uid_name: list(uids),
        questionnaire.completed_on_name: [date(2016, 2, 1)] * count,
        questionnaire.wave_name: [float(questionnaire.wave)] * count,
        questionnaire.take_part_name: [float(questionnaire.take_part_yes)] * count,
    }
    if questionnaire.forms:
        codes = {form.name: float(form.code) for form in questionnaire.forms}
        given = forms or [questionnaire.forms[0].name] * count
        columns[questionnaire.form_name] = [codes.get(name or "") for name in given]
    for variable in questionnaire.variables:
        supplier = {own: code for code, own in variable.codes.items()}
        usual = min(own for own in supplier if own >= 0)
        wanted = changes.get(variable.variable, [float(usual)] * count)
        columns[variable.supplier_name] = [
            None if code is None else float(supplier.get(int(code), int(code))) for code in wanted
        ]
    return pd.DataFrame(columns)


def write_sav(path: Path, frame: pd.DataFrame) -> Path:
    """A survey frame as SPSS file."""
    pyreadstat.write_sav(frame, str(path))
    return path


@dataclass(frozen=True)
class World:
    """A home in the demo profile, a folder of deliveries, and what takes them in."""

    home: Home
    programme: Programme
    codebook: Codebook
    settings: Settings
    folder: Path

    def desk(self) -> AbstractContextManager[Desk]:
        return open_desk(self.home, self.programme, self.codebook, self.settings)

    def path(self, dataset: str, engagement: str = ENGAGEMENT) -> Path:
        return self.folder / f"{engagement}_{FILES[dataset]}"

    def questionnaire(self, survey: str) -> Questionnaire:
        return self.codebook.questionnaire_for("t1", survey)

    def survey(self, survey: str, uids: Sequence[str], **changes: Any) -> Path:
        frame = survey_frame(self.questionnaire(survey), uids, **changes)
        return write_sav(self.path(f"{survey}_survey"), frame)

    def deliver(self, *paths: Path) -> list[DeliveryOutcome]:
        """Sign everything in the folder as simulated, then deliver some of it (all by default)."""
        files = [path for path in self.folder.iterdir() if path.name != "SIMULATED.json"]
        write_simulated_manifest(self.folder, files, 1)
        chosen = list(paths) or [self.folder]
        return deliver(
            self.home, chosen, self.programme, self.codebook, received_on=self.settings.as_of
        )

    def take(self, dataset: str) -> Receipt:
        with self.desk() as desk:
            receipt = take(desk, dataset, ENGAGEMENT)
        assert receipt is not None
        return receipt

    def take_reference(self) -> None:
        with self.desk() as desk:
            for name in REFERENCE:
                take_reference(desk, name)

    def take_education(self) -> tuple[Receipt, ...]:
        with self.desk() as desk:
            return take_education(desk, ENGAGEMENT)

    def take_social_work(self) -> tuple[Receipt, ...]:
        with self.desk() as desk:
            return take_social_work(desk, ENGAGEMENT)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """A query on the warehouse."""
        with open_warehouse(self.home, read_only=True) as con:
            return con.execute(query).fetchall()

    def vault_rows(self, query: str) -> list[tuple[Any, ...]]:
        """A query on the vault."""
        with open_vault(self.home, read_only=True) as con:
            return con.execute(query).fetchall()


@pytest.fixture(scope="session")
def codebook() -> Codebook:
    """The codebook without overlay."""
    return load_codebook()


@pytest.fixture(scope="session")
def programme() -> Programme:
    """The programme register without overlay."""
    return load_programme()


@pytest.fixture
def world(tmp_path: Path, programme: Programme, codebook: Codebook) -> World:
    """An empty installation and an empty folder of deliveries."""
    return make_world(tmp_path, programme, codebook)


def make_world(base: Path, programme: Programme, codebook: Codebook) -> World:
    folder = base / "deliveries"
    folder.mkdir(exist_ok=True)
    home = Home.open(base / "home", profile="demo", seed=1)
    settings = Settings(threads=1, memory_limit="500MB", as_of=AS_OF)
    return World(home, programme, codebook, settings, folder)


@pytest.fixture(scope="session")
def template(
    tmp_path_factory: pytest.TempPathFactory, programme: Programme, codebook: Codebook
) -> Path:
    """Every file of one engagement registered, reference data taken in; made once, then copied."""
    base = tmp_path_factory.mktemp("template")
    world = make_world(base, programme, codebook)
    write_reference(world)
    write_csv(world.path("sample_file"), pupils())
    write_csv(world.path("education_ids"), education_ids())
    write_csv(world.path("education_payload"), education_payload())
    write_csv(world.path("social_work_ids"), social_work_ids())
    write_csv(world.path("social_work_payload"), social_work_payload())
    write_csv(world.path("clusters"), clusters())
    write_xlsx(world.path("budgets"), budgets(), sheet="budgets")
    write_xlsx(world.path("service_map"), services())
    uids = [pupil["survey_uid"] for pupil in pupils()]
    world.survey("primary", uids[:3])
    world.survey("secondary", uids[3:])
    world.survey("parent", ["I1", "I2"])
    world.deliver()
    world.take_reference()
    return base


@pytest.fixture
def delivered(template: Path, tmp_path: Path, programme: Programme, codebook: Codebook) -> World:
    """A world with every file of one engagement registered; only reference data taken in."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return make_world(tmp_path, programme, codebook)


def write_reference(world: World) -> None:
    """The four reference files, with two schools and one data zone."""
    datasets = world.codebook.datasets
    by_column = {
        name: {field.name: field.column for field in datasets[name].fields} for name in REFERENCE
    }

    def write(name: str, file: str, rows: Sequence[Mapping[str, str]]) -> None:
        columns = by_column[name]
        filled = [{columns[f]: row.get(f, "") for f in columns} for row in rows]
        write_csv(world.folder / file, filled)

    roll = {"year": "2019", "council_name": COUNCIL[0], "female_n": "*", "s6_n": "#"}
    write(
        "school_roll",
        "school_level_summary_2019.csv",
        [
            {
                **roll,
                "seed_code": PRIMARY,
                "school_name": "A",
                "school_type": "Primary",
                "roll_n": "90",
            },
            {**roll, "seed_code": SECONDARY, "school_name": "B", "school_type": "Secondary"},
        ],
    )
    school = {
        "council_name": COUNCIL[0], "council_code": COUNCIL[1], "centre_type": "Local Authority",
        "postcode": "FK10 1AA", "has_special": "No",
    }  # fmt: skip
    write(
        "school_list",
        "schools_open_2024-10-31.csv",
        [
            {
                **school,
                "seed_code": PRIMARY,
                "school_name": "A",
                "has_primary": "Yes",
                "has_secondary": "No",
            },
            {
                **school,
                "seed_code": SECONDARY,
                "school_name": "B",
                "has_primary": "No",
                "has_secondary": "Yes",
            },
        ],
    )
    zone = {"datazone": "S01006506", "council_code": COUNCIL[1]}
    write(
        "simd", "simd2016_datazones.csv", [{**zone, "rank": "5272", "decile": "8", "quintile": "4"}]
    )
    write(
        "datazones",
        "datazone2011_lookup.csv",
        [{**zone, "health_board_code": "S08000019", "urban_rural_6": "3"}],
    )
