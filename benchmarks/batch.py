"""What a batch of withdrawals costs: cells that were shown and are hidden in the next release.

Belongs here: withdrawing children of one CPP, one a school, from a copy of an installation, the
run of the platform after it, and counting by package, level and survey what it hides. Does not
belong here: the rows of the children in each zone (`withdrawal.py`), why a cell is hidden.

Run: python -m benchmarks.batch HOME [CHILDREN]. HOME is one that `rcs demo` made, with a release;
it is copied. CHILDREN (15) leave each survey of Falkirk. The table is Markdown, for
docs/explanation/withdrawals.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from benchmarks.withdrawal import DAY, ENGAGEMENT, plain
from rcs_assets.codebook import load_codebook
from rcs_assets.intake.drop import deliver
from rcs_assets.programme import load_programme
from rcs_assets.simulate import sign_files
from rcs_assets.storage import Home, open_vault, open_warehouse, sql_literal

# One child of each school, then a second one of each, and so on.
_DRAWN = """
with children as (
    select
        survey, uid, seed_code,
        row_number() over (partition by survey, seed_code order by uid) as of_school,
    from vault.survey_identifiers
    inner join vault.sample_identifiers using (engagement, uid)
    where engagement = $engagement and survey in ('primary', 'secondary')
)
select uid
from children
qualify row_number() over (partition by survey order by of_school, seed_code) <= $children
order by survey, of_school, seed_code
"""
_LOST = """
with cells as (
    select now.audience, now.geography_level, now.survey, now.status = 'c' as is_hidden
    from disclosure.estimates as now
    inner join {released} as then_
        on
            then_.audience = now.audience and then_.survey = now.survey
            and then_.indicator = now.indicator
            and then_.geography_level = now.geography_level
            and then_.geography_code = now.geography_code
            and then_.breakdown = now.breakdown and then_."group" = now."group"
            and then_.tranche is not distinct from now.tranche
            and then_.engagement is not distinct from now.engagement
    where then_.status in ('published', 'u') and now.survey in ('primary', 'secondary')
)
select audience, geography_level, survey, count(*) as shown_n, count_if(is_hidden) as lost_n
from cells
group by all
order by all
"""
AUDIENCES = ("public", f"cpp/{ENGAGEMENT}")


def drawn(home: Home, children_n: int) -> list[str]:
    """UIDs of children who answered: so many of each survey, of as many schools as there are."""
    with open_vault(home, read_only=True, purpose="drawing withdrawals") as con:
        found = con.execute(_DRAWN, {"engagement": ENGAGEMENT, "children": children_n}).fetchall()
    return [uid for (uid,) in found]


def withdraw(home: Home, folder: Path, uids: list[str]) -> None:
    """Deliver the list of opt-outs with these children on it."""
    file = folder / f"{ENGAGEMENT}_opt-outs.csv"
    rows = "".join(f"{uid},all,2017-09-01,parent,\n" for uid in uids)
    file.write_text(plain(home, "opt_outs") + rows, encoding="utf-8")
    sign_files([file], home.seed or 0)
    programme, codebook = load_programme(home.config), load_codebook(home.config)
    deliver(home, [file], programme, codebook, received_on=date.fromisoformat(DAY))


def lost(home: Home) -> list[tuple[str, str, str, int, int]]:
    """audience, level, survey, cells shown in the release, of them hidden now."""
    release = (home.releases / "current").resolve()
    files = {name: release / name / "parquet" / "estimates.parquet" for name in AUDIENCES}
    released = " union all by name ".join(
        f"select {sql_literal(name)} as audience, * from read_parquet({sql_literal(file)})"
        for name, file in files.items()
    )
    with open_warehouse(home, read_only=True) as con:
        return con.execute(_LOST.format(released=f"({released})")).fetchall()


def main() -> None:
    """Copy, withdraw, materialise, compare."""
    source, n = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 15
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        home = Home.open(Path(shutil.copytree(source, folder / "home", symlinks=True)))
        withdraw(home, folder, drawn(home, n))
        started = time.monotonic()
        rcs = Path(sys.executable).parent / "rcs"
        done = subprocess.run([rcs, "materialise", "--home", home.path], check=False)
        print(f"{time.monotonic() - started:.0f} s, exit {done.returncode}", file=sys.stderr)
        print("| cells | survey | shown before | hidden now |\n|---|---|---:|---:|")
        for audience, level, survey, shown_n, lost_n in lost(home):
            share = f"{lost_n:,} ({100 * lost_n / shown_n:.0f} %)"
            print(f"| {audience}: {level} | {survey} | {shown_n:,} | {share} |")


if __name__ == "__main__":
    main()
