"""What the privacy-preserving mode costs and how it stands up to attacks.

    python benchmarks/encodings.py accuracy
    python benchmarks/encodings.py febrl
    python benchmarks/encodings.py attack
    python benchmarks/encodings.py run --home DIR      (a demo, with DIR-truth beside it)

`accuracy`, `febrl` (FEBRL 4 without its number): the same files linked by identifiers and by
encodings, judged against the truth. `attack`: who holds the encodings of a file and knows every
child in it by name and birth date (the worst case) tries to tell whose is which, without the key
and with it. Chance is one in as many as there are records. `run`: a whole run of one council, whose
files are encoded without the children who opted out, delivered and linked in a copy of the home,
beside the same council in the home as it is; pairs are those of the truth of either whose record
and pupil intake accepted. Every line is JSON. Seeds are used by
no setting.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from rcs_assets.intake.drop import current_deliveries, opened
from rcs_assets.linkage import LinkSettings, link
from rcs_assets.linkage.encodings import EncodingRules, encode, link_encodings, load_encoding_rules
from rcs_assets.programme.provenance import sha256_of
from rcs_assets.simulate.pairs import make_pairs
from rcs_assets.storage import Home, open_vault

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
FIRST_SEED = 700
KEY, ATTACKERS_KEY = b"council's key".ljust(32), b"attacker's key".ljust(32)
PROFILE_N = 60
IDENTIFIERS = ("sample_file", "education_ids", "social_work_ids")
MODES = ("identifiers", "encodings", "encodings, no bit turned over")


def main() -> None:
    """Run one benchmark and print its lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("accuracy", "febrl", "attack", "run"))
    parser.add_argument("--home", type=Path, help="for run: e.g. .rcs-small after make demo")
    parser.add_argument("--engagement", default="t1-clackmannanshire")
    parser.add_argument("--as-of", default="2020-06-30", help="for run: the day of the demo")
    parser.add_argument("--pupils", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    made = {
        "accuracy": lambda: accuracy(chosen.pupils, chosen.seeds),
        "febrl": febrl,
        "attack": lambda: attack(chosen.pupils, chosen.seeds),
        "run": lambda: whole_run(chosen.home, chosen.engagement, chosen.as_of),
    }
    for line in made[chosen.what]():
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def accuracy(pupils_n: int, seeds_n: int) -> Any:
    """Both modes on files of a council's shape."""
    totals = {mode: np.zeros(5) for mode in MODES}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds_n):
        files = make_pairs(
            pupils_n,
            seed,
            left_only_share=0.3,
            right_only_share=0.05,
            reference=REFERENCE if REFERENCE.is_dir() else None,
        )
        truth = set(zip(files.truth.left_id, files.truth.right_id, strict=True))
        for mode in MODES:
            totals[mode] += _linked(_table(files.left), _table(files.right), truth, mode)
    for mode, counts in totals.items():
        yield {"what": f"{seeds_n} files of {pupils_n:,} pupils", "mode": mode, **_told(counts)}


def febrl() -> Any:
    """Both modes on FEBRL 4 without the number."""
    left, right, truth = _febrl()
    for mode in MODES:
        yield {"what": "FEBRL 4", "mode": mode, **_told(_linked(left, right, truth, mode))}


def _linked(left: pa.Table, right: pa.Table, truth: set[Any], mode: str) -> Any:
    """Links, right ones, pairs, doubtful pairs, seconds."""
    started = time.monotonic()
    if mode == "identifiers":
        links = link(left, right, LinkSettings(training="fixed"))
    else:
        rules = load_encoding_rules()
        if "no bit" in mode:
            rules = replace(rules, flip_share=0.0)
        noise = b"noise".ljust(32)
        links = link_encodings(*(encode(side, KEY, rules, noise=noise) for side in (left, right)))
    rows = links.table.to_pylist()
    found = {(row["left_id"], row["right_id"]) for row in rows if row["band"] != "clerical"}
    seconds = time.monotonic() - started
    return np.array([len(found), len(found & truth), len(truth), len(rows) - len(found), seconds])


def _told(counts: Any) -> dict[str, Any]:
    links_n, right_n, pairs_n, doubtful_n, seconds = counts
    return {
        "links": int(links_n),
        "wrong": int(links_n - right_n),
        "precision": round(right_n / links_n, 5),
        "recall": round(right_n / pairs_n, 5),
        "f1": round(2 * right_n / (links_n + pairs_n), 5),
        "doubtful": int(doubtful_n),
        "seconds": round(seconds, 1),
    }


def attack(pupils_n: int, seeds_n: int) -> Any:
    """Share of records whose child is told, by attack and hardening."""
    rules = load_encoding_rules()
    for name, hardened in {
        "shipped": rules,
        "no bit turned over": replace(rules, flip_share=0.0),
        "10 % turned over": replace(rules, flip_share=0.1),
    }.items():
        shares = [
            _attacked(seed, pupils_n, hardened) for seed in range(FIRST_SEED, FIRST_SEED + seeds_n)
        ]
        yield {
            "what": f"{seeds_n} files of {pupils_n:,} pupils",
            "rules": name,
            "chance_pct": round(100 / pupils_n, 3),
            **{key: round(float(np.mean([s[key] for s in shares])), 3) for key in shares[0]},
        }


def _attacked(seed: int, pupils_n: int, rules: EncodingRules) -> dict[str, float]:
    """Per cent of records told; the attacker knows the rules and every record in clear.

    dictionary: he encodes all records under a key of his own and takes the most alike. frequency:
    he puts both in the order of how many bits are set, then of how alike others are. likeness:
    he compares, for each record, how alike its nearest others are. insider: he has the key.
    """
    reference = REFERENCE if REFERENCE.is_dir() else None
    table = _table(make_pairs(pupils_n, seed, reference=reference).left)
    seen = _bits(encode(table, KEY, rules, noise=b"noise".ljust(32)))
    clear = replace(rules, flip_share=0.0)
    known = _bits(encode(table, ATTACKERS_KEY, clear, noise=b"x" * 32))
    owned = _bits(encode(table, KEY, clear, noise=b"x" * 32))
    order = np.arange(len(seen))
    told = {
        "dictionary_pct": _dice(seen, known).argmax(axis=1) == order,
        "frequency_pct": _ranked(seen) == _ranked(known),
        "likeness_pct": _nearest_profile(seen, known) == order,
        "insider_pct": _dice(seen, owned).argmax(axis=1) == order,
    }
    return {name: 100 * float(np.mean(hits)) for name, hits in told.items()}


def _bits(encoded: pa.Table) -> Any:
    joined = bytes.fromhex("".join(encoded["clk"].to_pylist()))
    packed = np.frombuffer(joined, dtype=np.uint8).reshape(encoded.num_rows, -1)
    return np.unpackbits(packed, axis=1).astype(np.float32)


def _dice(one: Any, other: Any) -> Any:
    return 2 * one @ other.T / (one.sum(axis=1)[:, None] + other.sum(axis=1)[None, :])


def _ranked(bits: Any) -> Any:
    alike = _dice(bits, bits).mean(axis=1)
    return np.lexsort((alike, bits.sum(axis=1)))


def _nearest_profile(seen: Any, known: Any) -> Any:
    """For each record seen the known one whose likenesses to its own nearest are most alike."""
    profiles = []
    for bits in (seen, known):
        alike = _dice(bits, bits)
        np.fill_diagonal(alike, 0)
        nearest = -np.sort(-alike, axis=1)[:, :PROFILE_N]
        wide = np.column_stack([nearest, alike.mean(axis=1), alike.std(axis=1)])
        profiles.append((wide - wide.mean(axis=0)) / wide.std(axis=0))
    one, other = profiles
    return (2 * one @ other.T - (other**2).sum(axis=1)[None, :]).argmax(axis=1)


def whole_run(home: Path, engagement: str, as_of: str) -> Any:
    """One council with identifiers and with encodings, each through a whole run."""
    yield from _judged(home, home, engagement, "identifiers")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "home"
        shutil.copytree(home, copy, symlinks=True)
        files = _encode_council(copy, Path(scratch), engagement)
        _rcs("simulate", "--sign", *files)
        _rcs("deliver", "--home", copy, *files)
        _rcs("materialise", "--engagement", engagement, "--home", copy, "--as-of", as_of)
        yield from _judged(copy, home, engagement, "encodings")


def _encode_council(home: Path, scratch: Path, engagement: str) -> list[Path]:
    """The council's files, encoded by its command without the children who opted out."""
    plain, sent, key = scratch / "plain", scratch / "sent", scratch / "council.key"
    plain.mkdir()
    sent.mkdir()
    extracts = ("education", "social_work")
    held = _plain_files(home, engagement, plain)
    _rcs("encodings", "key", key)
    sample = held["sample_file"]
    _rcs("encodings", "make", sample, "--key", key, "--out", sent / sample.name)
    for extract in extracts:
        file = held[f"{extract}_ids"]
        _rcs(
            "encodings", "make", file, "--key", key, "--out", sent / file.name,
            "--opt-outs", held["opt_outs"], "--pupils", sample,
            "--payload", held[f"{extract}_payload"],
        )  # fmt: skip
    files = sorted(sent.iterdir())
    if "uid_decisions" in held:
        # What was decided on UIDs of the sample file, now of the encoded one.
        decisions = pd.read_csv(held["uid_decisions"], dtype=str, keep_default_na=False)
        decided = sent / held["uid_decisions"].name
        decisions.assign(sample_sha256=sha256_of(sent / sample.name)).to_csv(decided, index=False)
        files.append(decided)
    return files


def _plain_files(home: Path, engagement: str, folder: Path) -> dict[str, Path]:
    """Dataset → the delivery that holds; of identifiers each record once, as encodings need it."""
    opened_home = Home.open(home)
    found = {}
    for (dataset, of), line in current_deliveries(opened_home).items():
        if of != engagement or not line.file.endswith(".csv"):
            continue
        found[dataset] = folder / line.file
        with opened(opened_home, line) as path:
            # Social work may deliver in cp1252; the command of the council wants UTF-8.
            text = path.read_bytes()
        try:
            decoded = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            decoded = text.decode("cp1252")
        rows = pd.read_csv(io.StringIO(decoded), dtype=str, keep_default_na=False)
        if dataset in IDENTIFIERS:
            first = rows.columns[0]
            rows = rows[rows[first] != ""].drop_duplicates(first)
        rows.to_csv(found[dataset], index=False)
    return found


def _rcs(*words: Any) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("rcs"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def _judged(home: Path, told: Path, engagement: str, mode: str) -> Any:
    """Links of one council's extracts against the simulator's truth."""
    con = duckdb.connect()
    con.execute("set enable_progress_bar = false")
    con.execute(f"attach '{home / 'warehouse.duckdb'}' as w (read_only)")
    with open_vault(Home.open(home), read_only=True, purpose="benchmark") as vault:
        for table in ("sample", "education", "social_work"):
            rows = vault.execute(
                f"from {table}_identifiers where engagement = ?", [engagement]
            ).to_arrow_table()
            con.register(f"v_{table}", rows)
        con.register("v_opt_outs", vault.execute("from opt_outs").to_arrow_table())
    for dataset, truth in (("education", "links"), ("social_work", "social_work_links")):
        links_n, right_n, pairs_n, estimates = con.execute(f"""
            with pairs as (
                select distinct e.record_id, s.record_id as pupil
                from '{told}-truth/{truth}.parquet' as t
                inner join v_{dataset} as e
                    on e.supplier_id = t.record_id and e.engagement = t.engagement
                inner join w.intake.{dataset} as p on p.record_id = e.record_id
                inner join v_sample as s on s.uid = t.uid
                where not exists (
                    select 1 from v_opt_outs as o
                    where o.uid = t.uid and o.engagement = t.engagement
                        and o.scope in ('linkage', 'all')
                )
            ),
            found as (
                select p.record_id, q.record_id as pupil
                from w.linkage.project_ids as p
                inner join w.linkage.project_ids as q using (engagement, project_id)
                where
                    p.dataset = '{dataset}' and q.dataset = 'sample'
                    and p.engagement = '{engagement}'
            )
            select
                (select count(*) from found),
                (select count(*) from found semi join pairs using (record_id, pupil)),
                (select count(*) from pairs),
                (
                    select [estimated_precision, estimated_recall, recall_low, recall_high]
                    from w.linkage.link_rates
                    where dataset = '{dataset}' and engagement = '{engagement}'
                )
        """).fetchall()[0]
        yield {
            "what": f"{engagement}, {dataset}",
            "mode": mode,
            "links": links_n,
            "wrong": links_n - right_n,
            "pairs": pairs_n,
            "precision": round(right_n / links_n, 5),
            "recall": round(right_n / pairs_n, 5),
            "estimated_precision": estimates[0],
            "estimated_recall": estimates[1],
            "recall_low": estimates[2],
            "recall_high": estimates[3],
        }


def _table(frame: Any) -> pa.Table:
    return pa.Table.from_pandas(frame.dropna(axis=1, how="all"), preserve_index=False)


def _febrl() -> tuple[pa.Table, pa.Table, set[Any]]:
    folder = REFERENCE / "linkage"
    with duckdb.connect() as con:
        sides = [
            con.execute(
                "select rec_id as record_id, given_name as first_forename, surname, date_of_birth, "
                f"postcode from read_csv('{folder / file}', all_varchar = true)"
            ).to_arrow_table()
            for file in ("febrl4a.csv", "febrl4b.csv")
        ]
        truth = con.execute(
            f"select l, r from read_csv('{folder / 'febrl4_true_links.csv'}')"
        ).fetchall()
    return sides[0], sides[1], set(truth)


if __name__ == "__main__":
    main()
