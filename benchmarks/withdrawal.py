"""The rebuild after a withdrawal, shown: rows of an engagement's children by zone and table.

Belongs here: withdrawing a batch on a copy of an installation, rebuilding vault and warehouse
from the drop, taking the batch back, and counting after each what intake holds. Does not belong
here: what is computed from it, linkage and scores: tests/acceptance/test_how_to.py compares all.

Run: python -m benchmarks.withdrawal HOME [CHILDREN]. HOME is one that `rcs demo` made; it is
copied. The table is Markdown, for docs/explanation/withdrawals.md.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import pyreadstat

from rcs_assets.codebook import load_codebook
from rcs_assets.intake import take, vault
from rcs_assets.intake.desk import open_desk
from rcs_assets.intake.drop import current_deliveries, opened
from rcs_assets.intake.drop import deliver as register
from rcs_assets.intake.retention import rows_left
from rcs_assets.intake.tombstones import read_tombstones
from rcs_assets.programme import load_programme
from rcs_assets.simulate import sign_files
from rcs_assets.storage import Home, Settings, open_vault

ENGAGEMENT = "t2-falkirk"
DAY = "2020-06-30"
REFERENCE = ("school_roll", "school_list", "simd", "datazones")
IN_ORDER = ("opt_outs", "sample_file", "primary_survey", "secondary_survey", "parent_survey")


def plain(home: Home, dataset: str) -> str:
    """A delivery as it came."""
    with opened(home, current_deliveries(home)[dataset, ENGAGEMENT]) as path:
        return path.read_text(encoding="utf-8")


def answering(home: Home, opted_out: str, n: int) -> list[str]:
    """Secondary pupils who were sampled, answered and did not opt out; the first of them."""
    with opened(home, current_deliveries(home)["secondary_survey", ENGAGEMENT]) as path:
        frame, _ = pyreadstat.read_sav(path)
    sampled = plain(home, "sample_file")
    texts = {str(value) for name in frame.columns for value in frame[name].dropna().unique()}
    uids = sorted(t for t in texts if len(t) == 10 and t in sampled and t not in opted_out)
    return uids[:n]


def take_in(home: Home) -> None:
    """Every delivery of the engagement that holds rows of children, in the order of a run."""
    settings = Settings.from_environment(as_of=DAY)
    programme, codebook = load_programme(home.config), load_codebook(home.config)
    with open_desk(home, programme, codebook, settings) as desk:
        for name in REFERENCE:
            take.take_reference(desk, name)
        receipts = [take.take(desk, name, ENGAGEMENT) for name in IN_ORDER]
        receipts += [*take.take_education(desk, ENGAGEMENT)]
        receipts += [*take.take_social_work(desk, ENGAGEMENT)]
    refused = [receipt.reason for receipt in receipts if receipt and receipt.reason]
    if refused:
        sys.exit(refused[0])


def deliver(home: Home, folder: Path, text: str) -> None:
    """A list of opt-outs, signed as simulated; then intake."""
    file = folder / f"{ENGAGEMENT}_opt-outs.csv"
    file.write_text(text, encoding="utf-8")
    sign_files([file], home.seed or 0)
    programme, codebook = load_programme(home.config), load_codebook(home.config)
    register(home, [file], programme, codebook, received_on=date.fromisoformat(DAY))
    take_in(home)


def rebuild(home: Home) -> None:
    """Both databases are deleted and made again from the drop."""
    home.warehouse.unlink()
    home.vault.unlink()
    take_in(home)


def returned(home: Home) -> int:
    """Rows of children whose opt-out holds, in tables that it closes."""
    with open_vault(home, read_only=True, purpose="counting withdrawals") as con:
        return vault.count_returned(con, home, ENGAGEMENT)


def main() -> None:
    """Count, withdraw, count, rebuild, count, take back, count."""
    source, n = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 14
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        home = Home.open(Path(shutil.copytree(source, folder / "home", symlinks=True)))
        before = plain(home, "opt_outs")
        rows = [f"{uid},all,2017-09-01,parent," for uid in answering(home, before, n)]
        back = "".join(f"{row}2018-01-15\n" for row in rows)
        seen: dict[str, dict[str, int]] = {}
        for title, step in (
            ("before", lambda: take_in(home)),
            ("withdrawn", lambda: deliver(home, folder, before + "\n".join(rows) + "\n")),
            ("rebuilt", lambda: rebuild(home)),
            ("taken back", lambda: deliver(home, folder, before + back)),
        ):
            started = time.monotonic()
            step()
            seen[title] = rows_left(home, ENGAGEMENT)
            held = [s for s in read_tombstones(home) if s.holds and s.engagement == ENGAGEMENT]
            print(
                f"{title}: {time.monotonic() - started:.0f} s, {len(held)} opt-outs hold, "
                f"{returned(home)} rows of such children",
                file=sys.stderr,
            )
    tables = [t for t in seen["before"] if t.startswith(("vault.", "warehouse.intake."))]
    print(f"| table | {' | '.join(seen)} |\n|---|" + "---:|" * len(seen))
    for table in tables:
        counts = [seen[title].get(table, 0) for title in seen]
        if any(counts):
            print(f"| `{table}` | {' | '.join(f'{count:,}' for count in counts)} |")


if __name__ == "__main__":
    main()
