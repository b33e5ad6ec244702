"""The adapted mode of special schools, from a declaration over simulated files to the tables."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from rcs_assets import cli
from rcs_assets.codebook import load_codebook
from rcs_assets.intake.desk import open_desk
from rcs_assets.intake.drop import deliver
from rcs_assets.intake.freshness import wanted_fingerprints
from rcs_assets.intake.receipts import Receipt
from rcs_assets.intake.take import take, take_reference
from rcs_assets.programme import load_programme
from rcs_assets.simulate import simulate
from rcs_assets.simulate.public import write_fictitious
from rcs_assets.storage import Home, Settings, open_vault, open_warehouse
from tests.unit.simulate.conftest import SEED

KEY = "t1-clackmannanshire"
ITEMS = ("happy_at_school", "general_health", "sdq_1", "sdq_8")
SETTINGS = Settings(threads=2, memory_limit="1GB", as_of=date(2020, 6, 30))
OWN = ("adapted_opt_ins", "adapted_survey")
SURVEYS = ("primary_survey", "secondary_survey")


def declare(config: Path, folder: Path) -> str:
    """Steps 1 and 2 of the how-to, for a special school of the council; its SEED code."""
    folder.mkdir()
    write_fictitious(folder, load_programme(), SEED)
    schools = pd.read_csv(folder / "schools_open_2024-10-31.csv", dtype=str)
    special = schools[
        (schools["special_department"] == "Yes") & (schools["la_name"] == "Clackmannanshire")
    ]
    seed_code = str(special["seed_code"].iloc[0])
    config.mkdir(parents=True, exist_ok=True)
    (config / "special_schools.csv").write_text(
        f"engagement,seed_code,agreed_on,source\n{KEY},{seed_code},2015-08-20,letter\n"
    )
    rows = [f"{KEY},adapted-2015,{item},as agreed with the school" for item in ITEMS]
    (config / "adapted_survey.csv").write_text(
        "\n".join(["engagement,questionnaire,item,source", *rows, ""])
    )
    return seed_code


class Taken:
    """An installation that takes in what the simulator made of a declared adapted mode."""

    def __init__(self, base: Path, defects: str) -> None:
        self.home = Home.open(base / "home", profile="demo", seed=SEED)
        self.seed_code = declare(self.home.config, base / "public")
        self.out, self.truth = base / "out", base / "truth"
        options = {
            "--scale": "small",
            "--seed": SEED,
            "--defects": defects,
            "--home": base / "home",
        }
        places = ["--out", str(self.out), "--truth", str(self.truth)]
        told = [str(word) for pair in options.items() for word in pair]
        assert cli.main(["simulate", *places, *told]) == 0
        self.programme = load_programme(self.home.config)
        self.codebook = load_codebook(self.home.config)

    def deliver(self, *files: Path) -> None:
        deliver(self.home, files, self.programme, self.codebook, received_on=SETTINGS.as_of)

    def take(self, *names: str) -> dict[str, Receipt]:
        with open_desk(self.home, self.programme, self.codebook, SETTINGS) as desk:
            for name, dataset in self.codebook.datasets.items():
                if dataset.level != "engagement" and "sample_file" in names:
                    take_reference(desk, name)
            found = {name: take(desk, name, KEY) for name in names}
        return {name: receipt for name, receipt in found.items() if receipt is not None}


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """With typical defects; nothing delivered yet."""
    return Taken(tmp_path_factory.mktemp("adapted"), "typical")


def test_planted_faults_of_the_adapted_mode_are_caught_and_late_opt_ins_leave_the_survey(
    taken: Taken,
) -> None:
    """The surveys come first, as if there were no such school; then the list and its answers."""
    own = sorted(taken.out.glob("*_adapted-*.csv"))
    assert len(own) == 2
    taken.deliver(*(path for path in taken.out.iterdir() if path not in own and path.is_file()))
    before = taken.take("opt_outs", "uid_decisions", "sample_file", *SURVEYS)
    assert all("pupil_of_the_adapted_mode" not in r.reasons for r in before.values())
    held = wanted_fingerprints(taken.home, as_of=SETTINGS.as_of)[KEY]
    opt_ins = pd.read_csv(taken.out / f"{KEY}_adapted-opt-ins.csv", dtype=str)
    listed = "', '".join(opt_ins["survey_uid"][:1])
    answers_of_listed = f"select count(*) from survey_identifiers where uid in ('{listed}')"
    with open_vault(taken.home, read_only=True) as con:
        assert con.execute(answers_of_listed).fetchall() == [(2,)]

    taken.deliver(*own)
    assert wanted_fingerprints(taken.home, as_of=SETTINGS.as_of)[KEY] != held
    receipts = taken.take(*OWN, *SURVEYS)
    planted = pd.read_csv(taken.truth / "planted.csv")
    planted = planted[planted["engagement"] == KEY]
    for name in OWN:
        kinds = planted[planted["dataset"] == name].set_index("kind")["n"]
        assert dict(receipts[name].reasons) == kinds.to_dict()
        assert len(kinds) >= 2
    for name in SURVEYS:
        kinds = planted[planted["dataset"] == name].set_index("kind")["n"]
        assert kinds["pupil_of_the_adapted_mode"] == 1
        assert receipts[name].reasons["pupil_of_the_adapted_mode"] == 1
        assert receipts[name].accepted_n == before[name].accepted_n - 1
    with open_vault(taken.home, read_only=True) as con:
        assert con.execute(answers_of_listed).fetchall() == [(0,)]


def test_clean_files_of_the_adapted_mode_are_taken_in_whole(tmp_path: Path) -> None:
    clean = Taken(tmp_path, "none")
    clean.deliver(*(path for path in clean.out.iterdir() if path.is_file()))
    receipts = clean.take("opt_outs", "uid_decisions", "sample_file", *OWN, *SURVEYS)
    answers = pd.read_csv(clean.out / f"{KEY}_adapted-survey.csv", dtype=str)
    opt_ins = pd.read_csv(clean.out / f"{KEY}_adapted-opt-ins.csv", dtype=str)
    assert set(opt_ins["seed_code"]) == {clean.seed_code}
    for name in OWN:
        assert (receipts[name].quarantined_n, receipts[name].withdrawn_n) == (0, 0)
    assert receipts["adapted_survey"].accepted_n == len(answers) > 4 * len(ITEMS)
    assert receipts["adapted_survey"].flags == {"pupils": answers["survey_uid"].nunique()}
    assert not set(opt_ins["survey_uid"]) & set(
        pd.read_csv(clean.out / f"{KEY}_sample-file.csv", dtype=str)["survey_uid"]
    )
    with open_warehouse(clean.home, read_only=True) as con:
        kept = con.execute(
            "select item, count(*) from intake.adapted_survey group by item order by item"
        ).fetchall()
    assert dict(kept) == answers.groupby("item").size().to_dict()


def test_without_a_declaration_there_are_no_such_files(tmp_path: Path) -> None:
    simulate(tmp_path / "out", truth=tmp_path / "truth", scale="small", seed=SEED)
    assert not list((tmp_path / "out").glob("*adapted*"))
