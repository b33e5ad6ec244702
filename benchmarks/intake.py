"""What taking deliveries in costs: time and peak memory, from the drop to payload and vault.

Belongs here: one wide survey file at growing size, and every delivery of the full programme.
Does not belong here: what follows intake (`spine.py`), whether results are right (tests/).

    python benchmarks/intake.py --rows 100000 400000 --programme

A survey file has 200 columns: the secondary questionnaire of tranche 1, cut to them by an overlay
that does not ask its last items (or filled up with made-up ones where it has fewer). Each size
runs in a process of its own on two threads; *deliver* copies and encrypts the file into the drop,
*take in* decrypts, reads, checks, splits and stores. *Processor* is what both
together used of the cores, which says more than the clock on a machine that does other work;
memory is the peak resident memory of that process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from rcs_assets.codebook import Codebook, Questionnaire, load_codebook
from rcs_assets.codebook.load import COLUMNS as FILE_COLUMNS
from rcs_assets.intake.desk import Desk, open_desk
from rcs_assets.intake.drop import deliver, engagements_in_scope
from rcs_assets.intake.receipts import Receipt, ReceiptStatus
from rcs_assets.intake.survey import survey_columns
from rcs_assets.intake.take import take, take_education, take_reference, take_social_work
from rcs_assets.programme import load_programme
from rcs_assets.simulate import sign_files, simulate
from rcs_assets.simulate.identifiers import make_uids
from rcs_assets.simulate.surveys import sav_layout
from rcs_assets.simulate.write import write_sav
from rcs_assets.storage import Home, Settings

COLUMNS = 200
ENGAGEMENT, TRANCHE, SURVEY = "t1-south-lanarkshire", "t1", "secondary"
DAY = date(2020, 6, 30)
SETTINGS = Settings(threads=2, memory_limit="2GB", as_of=DAY)
EACH = (
    "opt_outs",
    "uid_decisions",
    "sample_file",
    "primary_survey",
    "secondary_survey",
    "parent_survey",
)
AFTER = ("clusters", "service_map", "budgets")
SEED = 2026
PUPILS_A_SCHOOL = 1_000


def fit(config: Path) -> Codebook:
    """An overlay in which the file has the number of columns: items are added or not asked."""
    questionnaire = load_codebook().questionnaire_for(TRANCHE, SURVEY)
    over = len(survey_columns(questionnaire)) - COLUMNS
    names = [f"made_up_{k}" for k in range(-over)]
    left = [v.variable for v in questionnaire.variables[-over:]] if over > 0 else []
    items = [f"{n},Made-up item,school,yes_no,secondary,S1;S2;S3;S4,no,[DES]" for n in names]
    named = [f"{layout},{n},{n.upper()}" for layout in ("ipsos", "scotcen") for n in names]
    changes = [f"{questionnaire.name},{n},not_asked,no,benchmark,[DES]" for n in left]
    for file, lines in (
        ("variables.csv", items),
        ("supplier_names.csv", named),
        ("version_changes.csv", changes),
    ):
        (config / file).write_text("\n".join([",".join(FILE_COLUMNS[file]), *lines, ""]))
    return load_codebook(config)


def wide_file(folder: Path, codebook: Codebook, rows_n: int) -> Path:
    """A survey file of so many pupils with random answers, some missing."""
    rng = np.random.default_rng(SEED)
    questionnaire = codebook.questionnaire_for(TRANCHE, SURVEY)
    school = np.arange(rows_n) // PUPILS_A_SCHOOL
    schools = [f"{5_000_000 + k}" for k in range(int(school[-1]) + 1)]
    uids = make_uids(SEED, schools, school)
    path = folder / f"{ENGAGEMENT}_{SURVEY}-survey.sav"
    frame = pd.DataFrame(_columns(rng, questionnaire, uids))
    layout = sav_layout(questionnaire, codebook, "benchmark")
    write_sav(path, frame, layout)
    sign_files([path], SEED)
    return path


def _columns(
    rng: np.random.Generator, questionnaire: Questionnaire, uids: np.ndarray
) -> dict[str, object]:
    n = len(uids)
    columns: dict[str, object] = {
        questionnaire.uid_name: uids,
        questionnaire.completed_on_name: np.full(n, (16_700 + 141_428) * 86_400.0),
        questionnaire.wave_name: np.full(n, float(questionnaire.wave)),
        questionnaire.take_part_name: np.full(n, float(questionnaire.take_part_yes)),
    }
    if questionnaire.forms:
        codes = np.array([form.code for form in questionnaire.forms], dtype=float)
        columns[questionnaire.form_name] = rng.choice(codes, n)
    for asked in questionnaire.variables:
        columns[asked.supplier_name] = rng.choice(np.array(sorted(asked.codes), dtype=float), n)
    return columns


def survey(folder: Path, rows_n: int) -> dict[str, float]:
    """Deliver and take in one wide survey file that lies in `folder`; in this process."""
    home = Home.open(folder / "home", profile="demo", seed=SEED)
    codebook, programme = load_codebook(home.config), load_programme(home.config)
    started, cpu = time.monotonic(), time.process_time()
    deliver(home, [folder / "files"], programme, codebook, received_on=DAY)
    delivered = time.monotonic()
    with open_desk(home, programme, codebook, SETTINGS) as desk:
        receipt = take(desk, f"{SURVEY}_survey", ENGAGEMENT)
    _check([receipt])
    return {
        "rows": rows_n,
        "columns": COLUMNS,
        "deliver_s": delivered - started,
        "take_in_s": time.monotonic() - delivered,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": _peak_mb(),
    }


def programme(folder: Path) -> dict[str, float]:
    """Deliver and take in every delivery that lies in `folder`; in this process."""
    home = Home.open(folder / "home", profile="demo", seed=SEED)
    codebook, register = load_codebook(), load_programme()
    started, cpu = time.monotonic(), time.process_time()
    deliver(home, [folder / "files"], register, codebook, received_on=DAY)
    delivered = time.monotonic()
    with open_desk(home, register, codebook, SETTINGS) as desk:
        receipts = _take_all(desk, codebook)
    _check(receipts)
    return {
        "rows": sum(receipt.received_n for receipt in receipts if receipt),
        "files": len([receipt for receipt in receipts if receipt]),
        "deliver_s": delivered - started,
        "take_in_s": time.monotonic() - delivered,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": _peak_mb(),
    }


def _take_all(desk: Desk, codebook: Codebook) -> list[Receipt | None]:
    found: list[Receipt | None] = [
        take_reference(desk, name)
        for name, d in codebook.datasets.items()
        if d.level != "engagement"
    ]
    for key in engagements_in_scope(desk.home, desk.programme):
        found += [take(desk, name, key) for name in EACH]
        found += [*take_education(desk, key), *take_social_work(desk, key)]
        found += [take(desk, name, key) for name in AFTER]
    return found


def _check(receipts: list[Receipt | None]) -> None:
    """A benchmark of refusals would be fast."""
    refused = [r.reason for r in receipts if r and r.status != ReceiptStatus.ACCEPTED]
    if refused or not any(r and r.accepted_n for r in receipts):
        sys.exit(f"not taken in: {refused}")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _apart(what: str, folder: Path, rows_n: int) -> dict[str, float]:
    """The same in a process of its own, whose peak memory is that of intake alone."""
    command = [sys.executable, __file__, "--one", what, str(folder), str(rows_n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_survey(rows_n: int) -> dict[str, float]:
    """Make a wide file and measure it."""
    with tempfile.TemporaryDirectory(prefix="rcs-bench-") as base:
        folder = Path(base)
        (folder / "files").mkdir()
        home = Home.open(folder / "home", profile="demo", seed=SEED)
        codebook = fit(home.config)
        wide_file(folder / "files", codebook, rows_n)
        return _apart("survey", folder, rows_n)


def measure_programme(reference: Path | None, scale: str) -> dict[str, float]:
    """Simulate the programme and measure its deliveries."""
    with tempfile.TemporaryDirectory(prefix="rcs-bench-") as base:
        folder = Path(base)
        simulate(
            folder / "files", truth=folder / "truth", scale=scale, seed=SEED, reference=reference
        )
        return _apart("programme", folder, 0)


def show(title: str, found: dict[str, float]) -> None:
    """One line of the table."""
    print(
        f"| {title} | {found['rows']:,.0f} | {found['deliver_s']:.1f} | {found['take_in_s']:.1f} "
        f"| {found['cpu_s']:.1f} | {found['peak_mb']:,.0f} |",
        flush=True,
    )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="What taking deliveries in costs.")
    parser.add_argument("--rows", nargs="*", type=int, default=[100_000], help="of the wide file")
    parser.add_argument("--programme", action="store_true", help="every delivery of the programme")
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    parser.add_argument("--reference", type=Path, help="real public files to simulate on")
    parser.add_argument(
        "--one", nargs=3, metavar=("WHAT", "FOLDER", "ROWS"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.one:
        what, folder, rows_n = options.one
        found = (
            programme(Path(folder)) if what == "programme" else survey(Path(folder), int(rows_n))
        )
        print(json.dumps(found))
        return
    load = os.getloadavg()
    print(f"{os.cpu_count()} cores; load before: {load[0]:.1f} (1 min), {load[1]:.1f} (5 min)\n")
    print("| what | rows | deliver, s | take in, s | processor, s | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    for rows_n in options.rows:
        show(f"survey, .sav × {COLUMNS}", measure_survey(rows_n))
    if options.programme:
        found = measure_programme(options.reference, options.scale)
        show(f"{options.scale} programme, {found['files']:.0f} files", found)


if __name__ == "__main__":
    main()
