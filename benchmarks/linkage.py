"""How well and how fast the engine links, beside stock Splink in the same run.

Belongs here: the figures of linkage on FEBRL 4 and on simulated pupils with twins, each with
the command that repeats it. Does not belong here: whether the room does what it says (tests/).

    python benchmarks/linkage.py febrl                     (needs ../shared/reference)
    python benchmarks/linkage.py pupils --pupils 400000
    python benchmarks/linkage.py clerical --pupils 400000    (or 100000: a quarter of the time)
    python benchmarks/linkage.py estimates --seeds 100  (or --shape "social work": that one alone)
    python benchmarks/linkage.py programme --home DIR      (a home whose deliveries were taken in)

`link` is called as anybody would call it, with its default settings; FEBRL's social security
number is handed over as an extra field. The rules were set on FEBRL 1 to 3 and on simulated
pupils of seeds below 1000; the seeds here start at 5000. One value, `remainder.auto_evidence`,
was set with FEBRL 4 in view. The ratio to stock Splink depends on its `max_pairs`. Each linkage
runs in a process of its own, whose peak resident memory is reported; its input is read from
Parquet inside the process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
FIRST_SEED = 5_000
CLERK_ERROR = 0.02
CLERICAL_SHARE = 0.01
STOCK_THRESHOLD = 0.5


def main() -> None:
    """Run the benchmark that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("febrl", "pupils", "clerical", "estimates", "programme"))
    parser.add_argument("--pupils", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--shape", choices=tuple(SHAPES), help="for estimates: one of the two")
    parser.add_argument("--home", type=Path, help="for programme: e.g. .rcs after make demo")
    chosen = parser.parse_args()
    reports = {
        "febrl": lambda: febrl(),
        "pupils": lambda: pupils(chosen.pupils, chosen.seed),
        "clerical": lambda: clerical(chosen.pupils, chosen.seed),
        "estimates": lambda: estimates(chosen.seeds, chosen.seed, chosen.shape),
        "programme": lambda: programme(chosen.home),
    }
    for line in reports[chosen.what]():
        sys.stdout.write(json.dumps(line) + "\n")


def febrl() -> list[dict[str, Any]]:
    """FEBRL 4 without and with the social security number."""
    folder = REFERENCE / "linkage"
    lines = []
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as con:
        place = Path(scratch)
        con.execute(
            f"copy (select l as left_id, r as right_id, true as is_linkable from "
            f"read_csv('{folder / 'febrl4_true_links.csv'}')) to '{place / 'truth.parquet'}'"
        )
        for name, extra in (("without soc_sec_id", ()), ("with soc_sec_id", ("soc_sec_id",))):
            for side, file in (("left", "febrl4a.csv"), ("right", "febrl4b.csv")):
                con.execute(f"""
                    copy (
                        select
                            rec_id as record_id, given_name as first_forename, surname,
                            date_of_birth, postcode,
                            concat_ws(' ', street_number, address_1) as address,
                            suburb as town {"".join(f", {field}" for field in extra)}
                        from read_csv('{folder / file}', all_varchar = true)
                    ) to '{place / f"{side}.parquet"}'
                """)
            lines.append({"what": f"FEBRL 4 {name}", **_run(run_engine, place, extra)})
    return lines


def pupils(pupils_n: int, seed: int) -> list[dict[str, Any]]:
    """Two files of the same pupils, 3 % of them twins, no number: the engine and stock Splink."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        _write_pairs(place, pupils_n, seed)
        stock = _run(run_stock, place)
        engine = _run(run_engine, place)
        return [
            {"what": f"stock Splink, {pupils_n:,} pupils", **stock},
            {
                "what": f"engine, {pupils_n:,} pupils",
                **engine,
                "seconds_of_stock": round(engine["seconds"] / stock["seconds"], 3),
            },
        ]


def clerical(pupils_n: int, seed: int) -> list[dict[str, Any]]:
    """The engine, then the clerical process on at most 1 % of the records, and its ceiling."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        _write_pairs(place, pupils_n, seed)
        return [
            {"what": f"{name}, {pupils_n:,} pupils", **_run(run_clerical, place, error)}
            for name, error in (("all wrong in 2 %", CLERK_ERROR), ("nobody wrong", 0.0))
        ]


# A council's social work file: some 9 in 100 pupils, a number on 66 %, 5 % unknown.
SHAPES: dict[str, dict[str, Any]] = {
    "equal files": {"pupils_n": 5_000, "left_only_share": 0.1, "right_only_share": 0.1},
    "social work": {
        "pupils_n": 1_000,
        "left_only_share": 10.0,
        "right_only_share": 0.05,
        "scn_share": 0.66,
    },
}


def estimates(seeds_n: int, first_seed: int, shape: str | None = None) -> list[dict[str, Any]]:
    """How often the engine's own intervals of precision and recall hold the truth."""
    lines = []
    for name in [shape] if shape else SHAPES:
        drawn = [_estimate(first_seed + k, SHAPES[name]) for k in range(seeds_n)]
        lines.append(
            {
                "what": f"{name}, {seeds_n} seeds",
                **{key: round(sum(row[key] for row in drawn) / seeds_n, 6) for key in drawn[0]},
            }
        )
    return lines


def _estimate(seed: int, sizes: dict[str, Any]) -> dict[str, float]:
    import pyarrow as pa

    from rcs_assets.linkage import LinkSettings, link
    from rcs_assets.simulate.pairs import make_pairs

    files = make_pairs(seed=seed, **sizes)
    left, right = (
        pa.Table.from_pandas(frame.dropna(axis=1, how="all"), preserve_index=False)
        for frame in (files.left, files.right)
    )
    links = link(left, right, LinkSettings(training="fixed"))
    score = _score(links.table, files.truth)
    quality = links.quality
    found: dict[str, float] = {}
    for what, truth in (("precision", score["precision"]), ("recall", score["recall"])):
        estimate, low, high = (getattr(quality, what + end) for end in ("", "_low", "_high"))
        found |= {
            f"true_{what}": truth,
            f"estimated_{what}": estimate,
            f"{what}_covered": float(low - 1e-6 <= truth <= high + 1e-6),
            f"{what}_near": float(abs(estimate - truth) <= max(0.002, (high - low) / 2)),
        }
    return found


def programme(home: Path) -> list[dict[str, Any]]:
    """Linkage of a whole programme; then of one council that changed, beside a full run anew.

    A council's social work records lose every tenth row. What stands in vault and warehouse
    after relinking that council alone must be what stands there after linking everything, with
    one thread and with the rows of the vault in another order.
    """
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        one, other = Path(scratch) / "one", Path(scratch) / "other"
        for place in (one, other):
            _copy_zones(home, place)
        lines.append({"what": "full programme", **_run(run_linkage, one, None, 2, False)})
        council = _run(largest_council, one)
        for place in (one, other):
            _run(change_council, place, council)
        changed = _run(run_linkage, one, council, 2, False)
        again = _run(run_linkage, other, None, 1, True)
        lines.append({"what": f"one changed council, {council}", **changed})
        lines.append({"what": "full programme anew, one thread, other order of rows", **again})
        lines.append({"what": "identical", "is": changed["state"] == again["state"]})
    return lines


def _copy_zones(home: Path, target: Path) -> None:
    """The zones and keys alone."""
    target.mkdir()
    for name in ("home.json", "keys.json", "vault.duckdb", "warehouse.duckdb"):
        if (home / name).exists():
            shutil.copy2(home / name, target / name)
    shutil.copytree(home / "keys", target / "keys")
    for name in ("config", "logs", "tmp", "receipts", "drop"):
        (target / name).mkdir()


def largest_council(place: Path) -> str:
    """The engagement with most pupils."""
    from rcs_assets.storage import Home, open_vault

    with open_vault(Home.open(place), read_only=True, purpose="benchmark") as con:
        return str(
            con.execute(
                "select engagement from sample_identifiers group by all order by count(*) desc, 1"
            ).fetchall()[0][0]
        )


def change_council(place: Path, council: str) -> dict[str, Any]:
    """Every tenth social work record of the council goes, as with a new delivery."""
    from rcs_assets.storage import Home, open_vault

    with open_vault(Home.open(place), purpose="benchmark") as con:
        con.execute(
            "delete from social_work_identifiers where engagement = ? and record_id in "
            "(select record_id from social_work_identifiers where engagement = ? "
            "qualify row_number() over (order by record_id) % 10 = 0)",
            [council, council],
        )
    return {}


def run_linkage(
    place: Path, council: str | None, threads: int, is_shuffled: bool
) -> dict[str, Any]:
    """What the asset does, from opening the vault to the written tables."""
    from rcs_assets.linkage import LinkSettings, link_engagements, link_keys, write_linkage
    from rcs_assets.linkage.engagements import accepted_records
    from rcs_assets.storage import Home, open_vault, open_warehouse

    home = Home.open(place)
    if is_shuffled:
        _shuffle(home)
    started, busy = time.monotonic(), time.process_time()
    with open_warehouse(home, read_only=True) as warehouse:
        accepted = accepted_records(warehouse)
        keys = warehouse.execute("select distinct engagement from intake.sample order by 1")
        chosen = [council] if council else [row[0] for row in keys.fetchall()]
    with open_vault(home, purpose="benchmark") as vault:
        settings = LinkSettings(training="fixed", threads=threads)
        rows = link_engagements(vault, link_keys(home), chosen, settings, accepted)
    with open_warehouse(home) as warehouse:
        write_linkage(warehouse, rows, chosen)
    return {"records": _records(home, chosen), **_cost(started, busy), "state": _state(home)}


def _shuffle(home: Any) -> None:
    """The rows of the vault's identifiers in another order."""
    from rcs_assets.storage import open_vault

    with open_vault(home, purpose="benchmark") as con:
        for table in ("sample", "survey", "education", "social_work"):
            name = f"{table}_identifiers"
            con.execute(f"create or replace temp table copied as from {name}")
            con.execute(f"delete from {name}")
            con.execute(f"insert into {name} from copied order by md5(record_id)")


def _records(home: Any, chosen: list[str]) -> int:
    from rcs_assets.storage import open_warehouse

    with open_warehouse(home, read_only=True) as con:
        return int(
            con.execute(
                "select sum(records_n) from linkage.link_rates "
                "where list_contains(?::varchar[], engagement)",
                [chosen],
            ).fetchall()[0][0]
        )


def _state(home: Any) -> str:
    """One hash of all that linkage wrote, whatever the order of rows."""
    from rcs_assets.storage import open_vault, open_warehouse

    digest = hashlib.sha256()
    with open_vault(home, read_only=True, purpose="benchmark") as con:
        for table in ("index_numbers", "read_through"):
            digest.update(repr(con.execute(f"from {table} order by all").fetchall()).encode())
    with open_warehouse(home, read_only=True) as con:
        for table in ("project_ids", "link_rates"):
            rows = con.execute(f"from linkage.{table} order by all").fetchall()
            digest.update(repr(rows).encode())
    return digest.hexdigest()


def _write_pairs(place: Path, pupils_n: int, seed: int) -> None:
    from rcs_assets.simulate.pairs import make_pairs

    files = make_pairs(pupils_n, seed, reference=REFERENCE if REFERENCE.is_dir() else None)
    for name, frame in (("left", files.left), ("right", files.right), ("truth", files.truth)):
        frame.dropna(axis=1, how="all").to_parquet(place / f"{name}.parquet", index=False)


def _run(work: Callable[..., Any], *arguments: Any) -> Any:
    """In a fresh process, so that its peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(work, arguments)


def run_engine(place: Path, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """Link with the default settings, and judge the links."""
    import pyarrow.parquet as pq

    from rcs_assets.linkage import LinkSettings, link

    left, right = (pq.read_table(place / f"{side}.parquet") for side in ("left", "right"))
    started, busy = time.monotonic(), time.process_time()
    links = link(left, right, LinkSettings(extra_fields=extra))
    cost = _cost(started, busy)
    truth = pq.read_table(place / "truth.parquet")
    score = _score(links.table, truth)
    estimated = {"estimated_precision": links.quality.precision}
    return {**score, **estimated, "estimated_recall": links.quality.recall, **cost}


def run_stock(place: Path) -> dict[str, Any]:
    """Splink as its documentation shows it, then the best partner of each that is mutual."""
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    logging.getLogger("splink").setLevel(logging.ERROR)
    started, busy = time.monotonic(), time.process_time()
    con = duckdb.connect()
    con.execute("set enable_progress_bar = false")
    api = DuckDBAPI(connection=con)
    frames = []
    for side in ("left", "right"):
        con.execute(
            f"create table {side}_file as select record_id, first_forename, surname, sex, "
            f"date_of_birth, postcode from '{place / f'{side}.parquet'}'"
        )
        frames.append(api.register(f"{side}_file", dataset_display_name=side))
    settings = SettingsCreator(
        link_type="link_only",
        unique_id_column_name="record_id",
        comparisons=[
            cl.NameComparison("first_forename").configure(term_frequency_adjustments=True),
            cl.NameComparison("surname").configure(term_frequency_adjustments=True),
            cl.DateOfBirthComparison("date_of_birth", input_is_string=True),
            cl.PostcodeComparison("postcode"),
            cl.ExactMatch("sex"),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("first_forename", "surname"),
            block_on("surname", "date_of_birth"),
            block_on("first_forename", "date_of_birth"),
            block_on("postcode", "date_of_birth"),
            block_on("postcode", "surname"),
        ],
    )
    linker = Linker(frames, settings)
    linker.training.estimate_probability_two_random_records_match(
        [block_on("first_forename", "surname", "date_of_birth")], recall=0.7
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=1e7, seed=1)
    for block in (block_on("first_forename", "surname"), block_on("surname", "postcode")):
        linker.training.estimate_parameters_using_expectation_maximisation(block)
    linker.training.estimate_parameters_using_expectation_maximisation(
        block_on("date_of_birth", "postcode")
    )
    predicted = linker.inference.predict(threshold_match_probability=STOCK_THRESHOLD).physical_name
    table = con.execute(f"""
        select record_id_l as left_id, record_id_r as right_id, 'auto' as band
        from {predicted}
        qualify
            row_number() over (partition by record_id_l order by match_weight desc) = 1
            and row_number() over (partition by record_id_r order by match_weight desc) = 1
    """).to_arrow_table()
    cost = _cost(started, busy)
    import pyarrow.parquet as pq

    return {**_score(table, pq.read_table(place / "truth.parquet")), **cost}


def _cost(started: float, busy: float) -> dict[str, Any]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "seconds": round(time.monotonic() - started, 2),
        "processor_seconds": round(time.process_time() - busy, 2),
        "peak_mb": round(peak / 1e6),
    }


def _score(table: Any, truth: Any) -> dict[str, Any]:
    """Links that count against the truth; `recall_linkable`: of the linkable pairs alone."""
    con = duckdb.connect()
    con.register("links", table)
    con.register("truth", truth)
    links_n, right_n, linkable_right_n, pairs_n, linkable_n = con.execute("""
        select
            count(*), count(truth.left_id), count(*) filter (where truth.is_linkable),
            (select count(*) from truth), (select count(*) from truth where is_linkable)
        from (from links where band <> 'clerical')
        left join truth using (left_id, right_id)
    """).fetchall()[0]
    return {
        "links": links_n,
        "wrong": links_n - right_n,
        "missed": pairs_n - right_n,
        "precision": round(right_n / links_n, 6),
        "recall": round(right_n / pairs_n, 6),
        "recall_linkable": round(linkable_right_n / linkable_n, 6),
        "f1": round(2 * right_n / (links_n + pairs_n), 6),
    }


def run_clerical(place: Path, error: float) -> dict[str, Any]:
    """Link, let people decide what waits, link again with what they said, until nothing waits.

    As `rcs clerical` does it: two clerks decide each pair without knowing of each other, a third
    person where they differ; each of the three is wrong with chance `error`, independently. At most
    1 % of the records of both files go to them, a pair takes up two, nearest to even odds first. A
    pair decided apart lets the next candidates come up: they wait in the next round.
    """
    import pyarrow.parquet as pq

    from rcs_assets.linkage import LinkSettings, link

    left, right, truth = (
        pq.read_table(place / f"{name}.parquet") for name in ("left", "right", "truth")
    )
    started, busy = time.monotonic(), time.process_time()
    links = link(left, right)
    found: dict[str, Any] = {"before": _score(links.table, truth), "rounds": 0}
    most = int(CLERICAL_SHARE * (left.num_rows + right.num_rows) / 2)
    with duckdb.connect() as con:
        con.register("truth", truth)
        con.execute(
            "create table decided (left_id varchar, right_id varchar, is_same boolean, "
            "is_differing boolean, is_wrong boolean)"
        )
        while _decide_round(con, links.table, most, error):
            found["rounds"] += 1
            said = con.execute("select left_id, right_id, is_same from decided order by all")
            links = link(left, right, LinkSettings(decided=said.to_arrow_table()))
        pairs_n, differing_n, wrong_n = con.execute(
            "select count(*), count_if(is_differing), count_if(is_wrong) from decided"
        ).fetchall()[0]
    return {
        **_score(links.table, truth),
        **found,
        "decided": pairs_n,
        "most": most,
        "adjudicated": differing_n,
        "decided_wrongly": wrong_n,
        **_cost(started, busy),
    }


def _decide_round(con: duckdb.DuckDBPyConnection, table: Any, most: int, error: float) -> int:
    """Add the decisions on the pairs that wait, as far as the share allows; how many they are."""
    con.register("links", table)
    errs = ", ".join(
        f"hash(queue.left_id, queue.right_id, '{who}') % 1000000 < {error} * 1000000 as {who}"
        for who in ("first_errs", "second_errs", "third_errs")
    )
    known_n = len(con.execute("from decided").fetchall())
    con.execute(f"""
        insert into decided
        with queue as (
            select left_id, right_id
            from links
            anti join decided using (left_id, right_id)
            where band = 'clerical'
            order by abs(weight), left_id, right_id
            limit {max(most - known_n, 0)}
        ),
        said as (
            select queue.*, truth.left_id is not null as is_one, {errs}
            from queue
            left join truth using (left_id, right_id)
        )
        select
            left_id,
            right_id,
            is_one <> if(first_errs = second_errs, first_errs, third_errs),
            first_errs <> second_errs,
            if(first_errs = second_errs, first_errs, third_errs)
        from said
    """)
    con.unregister("links")
    return len(con.execute("from decided").fetchall()) - known_n


if __name__ == "__main__":
    main()
