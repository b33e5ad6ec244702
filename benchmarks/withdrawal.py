"""The rebuild after a withdrawal, shown: rows of an engagement's children by zone and table.

Belongs here: withdrawing a batch on a copy of an installation, rebuilding both zones from the
drop, taking the batch back, and counting after each. Does not belong here: the bound (the tests
hold it), and a release: estimates do not change what lies in the zones.

Run: python -m benchmarks.withdrawal HOME [CHILDREN]. HOME is one that `rcs demo` made; it is
copied. The table is Markdown, for docs/explanation/withdrawals.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyreadstat

from rcs_assets.intake import vault
from rcs_assets.intake.drop import current_deliveries, opened
from rcs_assets.intake.receipts import read_receipts
from rcs_assets.intake.retention import rows_left
from rcs_assets.intake.tombstones import read_tombstones
from rcs_assets.simulate import sign_files
from rcs_assets.storage import Home, open_vault

ENGAGEMENT = "t2-falkirk"
# Everything that holds a row a child; the release is not computed again.
CHILDREN_S = " or ".join(
    [f'group:"{room}"' for room in ("programme", "codebook", "intake", "linkage")]
    + [f'key:"wellbeing/{thing}"' for thing in ("item_answers", "scores", "indicator_values")]
    + [f'key:"wellbeing/{thing}"' for thing in ("parent_indicator_values", "weights")]
)
Rows = dict[str, int]


def rcs(home: Home, *words: str | Path) -> None:
    """A command of the platform; its words are shown where it fails."""
    command = [Path(sys.executable).with_name("rcs"), *words, "--home", home.path]
    done = subprocess.run(
        [*map(str, command), "--as-of", "2020-06-30"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def plain(home: Home, dataset: str) -> bytes:
    """A delivery as it came."""
    with opened(home, current_deliveries(home)[dataset, ENGAGEMENT]) as path:
        return path.read_bytes()


def answering(home: Home, opted_out: str, n: int) -> list[str]:
    """Secondary pupils who were sampled, answered and did not opt out; the first of them."""
    with opened(home, current_deliveries(home)["secondary_survey", ENGAGEMENT]) as path:
        frame, _ = pyreadstat.read_sav(path)
    sampled = plain(home, "sample_file").decode()
    texts = {str(value) for name in frame.columns for value in frame[name].dropna().unique()}
    uids = sorted(t for t in texts if len(t) == 10 and t in sampled and t not in opted_out)
    return uids[:n]


def deliver(home: Home, folder: Path, text: str) -> None:
    """A list of opt-outs, signed as simulated; then the run that honours it."""
    file = folder / f"{ENGAGEMENT}_opt-outs.csv"
    file.write_text(text, encoding="utf-8")
    sign_files([file], home.seed or 0)
    rcs(home, "deliver", file)
    run(home)
    refused = [r.reason for r in read_receipts(home) if r.dataset == "opt_outs" and r.reason]
    if refused:
        sys.exit(refused[0])


def run(home: Home) -> None:
    """What holds rows of children, for the one engagement."""
    rcs(home, "materialise", "--engagement", ENGAGEMENT, "--select", CHILDREN_S)


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
        before = plain(home, "opt_outs").decode()
        rows = [f"{uid},all,2017-09-01,parent," for uid in answering(home, before, n)]
        seen: dict[str, Rows] = {}
        for title, step in (
            ("before", lambda: None),
            ("withdrawn", lambda: deliver(home, folder, before + "\n".join(rows) + "\n")),
            ("rebuilt", lambda: rebuild(home)),
            (
                "taken back",
                lambda: deliver(home, folder, before + "2018-01-15\n".join(rows) + "2018-01-15\n"),
            ),
        ):
            started = time.monotonic()
            step()
            seen[title] = rows_left(home, ENGAGEMENT)
            print(
                f"{title}: {time.monotonic() - started:.0f} s, "
                f"{len([s for s in read_tombstones(home) if s.holds])} opt-outs hold, "
                f"{returned(home)} rows of such children",
                file=sys.stderr,
            )
    print(f"| table | {' | '.join(seen)} |\n|---|" + "---:|" * len(seen))
    for table in seen["before"]:
        counts = [seen[title].get(table, 0) for title in seen]
        if any(counts):
            print(f"| `{table}` | {' | '.join(f'{count:,}' for count in counts)} |")


def rebuild(home: Home) -> None:
    """Both databases are deleted and made again from the drop."""
    home.warehouse.unlink()
    home.vault.unlink()
    run(home)


if __name__ == "__main__":
    main()
