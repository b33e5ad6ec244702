"""Tables beside the estimates: two releases tell of no 1-9 contributors, and the gate finds who do.

Belongs here: each table protected beside a release before, and the gate's own comparison. Does not
belong here: the tables' own rules (`test_reach.py` and others), estimates
(`tests/disclosure/test_earlier_releases.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure import load_policy
from rcs_assets.disclosure.beside import BESIDE, COUNTS, counts_sql
from rcs_assets.disclosure.changes import protect_changes
from rcs_assets.disclosure.derived import protect_comparisons, protect_participation
from rcs_assets.disclosure.held import Holds, protect_beside
from rcs_assets.disclosure.models import protect_findings
from rcs_assets.disclosure.reach import protect_reach
from rcs_assets.disclosure.recipients import protect_recipients
from rcs_assets.disclosure.recount_services import Look, hidden_spend_is_not_recovered
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.disclosure.row_differences import find_row_differences
from rcs_assets.disclosure.spend import protect_spend
from rcs_assets.errors import StorageError

KEY, CPP, AUDIENCES = "t1-a", "cpp/t1-a", ("public", "cpp/t1-a")
POLICY, CODEBOOK = load_policy(), load_codebook()
OUTCOME = "secondary_positive_wellbeing"
INDICATOR = "secondary_hungry"
# Parts of 400 pupils in need: both supports, school only, social work only.
PARTS = {"none": (20, 60, 40), "some": (30, 70, 50), "high": (22, 60, 40)}


class Installation:
    """What protection reads, as tables of a warehouse in memory."""

    def __init__(self) -> None:
        self.con = duckdb.connect()
        register_rounding(self.con)
        self.con.execute(
            f"""
            create schema wellbeing; create schema services; create schema research;
            create schema disclosure;
            create table wellbeing.respondents as
            select '{KEY}' as engagement, 'secondary' as survey, level as geography_level,
                code as geography_code, n as respondents_n, roll as roll_n, 4 as schools_n
            from (values ('cpp', 'S1', 312, 400), ('school', '51', 76, 100),
                ('school', '52', 236, 300)) as t(level, code, n, roll);
            create table services.recipients as
            select '{KEY}' as engagement, 'secondary' as survey, * from (values
                (true, 400, 60, 42, 15, 87), (false, 150, 40, 33, 12, 61)
            ) as t(has_responded, pupils_n, asn_support_n, social_work_n, both_n, any_service_n);
            create table services.spend as
            select '{KEY}' as engagement, 'voluntary' as sector, tier, '0-4' as age_band,
                'grant' as funding_origin, 'safe' as domain, provider as provider_name,
                'third' as provider_type, false as is_confidential, gbp::double as gbp,
                children::double as children_n
            from (values ('universal', 'p1', 40000, 31), ('universal', 'p2', 32000, 32),
                ('universal', 'p3', 30000, 33), ('targeted', 'p1', 44000, 31),
                ('targeted', 'p2', 34000, 32), ('targeted', 'p3', 37000, 33),
                ('specialist', 'p1', 41000, 31), ('specialist', 'p2', 37000, 32),
                ('specialist', 'p3', 32000, 33)) as t(tier, provider, gbp, children);
            create table research.risks as
            select 'secondary' as survey, 'factor' as kind, 'peer' as domain, factor, level,
                '{OUTCOME}' as outcome, n, yes as with_outcome_n, n / 10.0 as share_pct,
                100.0 * yes / n as outcome_pct, 10.0 as ci_low, 60.0 as ci_high,
                null::double as design_effect, '' as reason
            from (values ('lonely', 'risk', 380, 100), ('lonely', 'protective', 600, 200),
                ('bullied', 'risk', 280, 80), ('bullied', 'protective', 700, 220)
            ) as t(factor, level, n, yes);
            create table research.models as
            select 'secondary' as survey, '{OUTCOME}' as outcome, 'term' as kind, factor,
                'risk' as level, odds as odds_ratio, 1.1 as ci_low, 1.9 as ci_high, 0.01 as p_value,
                0.01 as corrected_p, 5.0 as effect_points, 1.0 as effect_low, 9.0 as effect_high,
                null::double as value, 800 as n, 200 as least_cell_n, 60 as least_outcome_n,
                30 as df, '' as reason
            from (values ('lonely', 1.41), ('bullied', 1.52)) as t(factor, odds);
            create table wellbeing.comparisons as
            select '{KEY}' as engagement, 'secondary' as survey, 'cpp' as geography_level,
                'S1' as geography_code, '{INDICATOR}' as indicator, 'pct' as statistic,
                'tranche' as comparator, 'better' as verdict, 9 as rest_schools_n;
            create table wellbeing.changes as
            select '{KEY}' as engagement, 't0-a' as earlier_engagement, 'secondary' as survey,
                'S1' as geography_code, 'total' as breakdown, 'all' as "group",
                '{INDICATOR}' as indicator, 'pct' as statistic, 900 as earlier_n, 1000 as later_n,
                300 as earlier_numerator_n, 400 as later_numerator_n, 500 as shared_n,
                900 as changed_n, 0.35::double as correlation, 'worse' as verdict, '' as reason;
            create table wellbeing.estimates as
            select * from (values
                ('t1', '{KEY}', 'cpp', 'S1', 1000, 400), ('t1', null, 'tranche', 't1', 3000, 1500)
            ) as t(tranche, engagement, geography_level, geography_code, base_n, numerator_n)
            cross join (select 'secondary' as survey, 'total' as breakdown, 'all' as "group",
                '{INDICATOR}' as indicator);
            """
        )
        self._reach()
        self._estimates()

    def _reach(self) -> None:
        sql = " union all ".join(
            f"select '{group}' as \"group\", '{level}' as need_level, "
            f"{both} as b, {asn} as a, {social} as s"
            for level, (both, asn, social) in PARTS.items()
            for group in ("all", "F", "M")
        )
        self.con.execute(
            f"""
            create table reach_parts as select
                "group", need_level, b * size as b, a * size as a, s * size as s, 400 * size as n
            from (select *, if("group" = 'all', 2, 1) as size from ({sql}));
            create view services.reach as
            with served as (
                unpivot (
                    select "group", need_level, n, a + b as asn_support, s + b as social_work,
                        a + b + s as any_service, b as "both", n - a - b - s as "none",
                        a + b + 30 as any_asn
                    from reach_parts
                )
                on asn_support, social_work, any_service, "both", "none", any_asn
                into name service value served_n
            )
            select '{KEY}' as engagement, 'secondary' as survey, 'low' as need,
                if("group" = 'all', 'total', 'sex') as breakdown, "group", need_level, service,
                n as need_n, served_n, 100.0 * served_n / n as observed_pct, 0.95 as sensitivity,
                20 as unknown_n, 5.0 as unknown_pct, 1.0 as design_effect, true as has_headline
            from served
            """
        )

    def _estimates(self) -> None:
        self.con.execute(
            f"""
            create table disclosure.estimates as
            with shown as (
                select 120::decimal(9, 0) as n, 40::decimal(7, 1) as estimate,
                    35::decimal(7, 1) as ci_low, 46::decimal(7, 1) as ci_high,
                    'published' as status, 'pct' as statistic
            )
            select audience, 't1' as tranche, engagement, 'secondary' as survey,
                if(engagement is null, 'tranche', 'cpp') as geography_level,
                if(engagement is null, 't1', 'S1') as geography_code, 'A' as geography_name,
                breakdown, "group", indicator, shown.*
            from (values ('public', '{KEY}'), ('public', 't0-a'), ('public', null),
                ('{CPP}', '{KEY}')) as t(audience, engagement)
            cross join (values ('total', 'all'), ('sex', 'F'), ('sex', 'M'), ('asn', 'yes'))
                as b(breakdown, "group")
            cross join (values ('{INDICATOR}'), ('low')) as i(indicator)
            cross join shown
            """
        )

    def protect(self, name: str, earlier: tuple[Path, ...] = ()) -> Mapping[str, pa.Table]:
        """The table protected, with the one that is protected with it."""
        con = self.con

        def made(holds: Mapping[str, Holds]) -> Mapping[str, pa.Table]:
            own = holds.get(name, Holds())
            if name == "reach":
                return {name: protect_reach(con, POLICY, AUDIENCES, {"low": ["low"]}, own)}
            if name == "recipients":
                return {name: protect_recipients(con, POLICY, [KEY], own)}
            if name == "spend":
                return {name: protect_spend(con, POLICY, AUDIENCES, own)}
            if name == "changes":
                return {name: protect_changes(con, POLICY, CODEBOOK, own)}
            if name in ("risks", "models"):
                titles = {"lonely": "Lonely", "bullied": "Bullied"}
                return protect_findings(con, POLICY, CODEBOOK, titles, 0.05, holds)
            protect = {"participation": protect_participation, "comparisons": protect_comparisons}
            return {name: protect[name](con, POLICY, AUDIENCES, own)}

        names = ("risks", "models") if name in ("risks", "models") else (name,)
        return protect_beside(con, names, made, earlier, POLICY)

    def publish(
        self, folder: Path, made: Mapping[str, pa.Table], *, has_counts: bool = True
    ) -> Path:
        """Lay the packages down as a release does."""
        for name, rows in made.items():
            self.con.register("published_rows", rows)
            for package in AUDIENCES:
                own = f"where audience = '{package}'" if "audience" in rows.column_names else ""
                if name == "participation":
                    own += " and geography_level <> 'school'"
                self._copy(folder / package, name, f"from published_rows {own}")
            if name == "participation":
                self._schools(folder)
            self.con.unregister("published_rows")
        if has_counts:
            counts = counts_sql([BESIDE[name] for name in made])
            self._copy(folder / "safe_haven", COUNTS, counts)
        return folder

    def _copy(self, package: Path, name: str, sql: str) -> None:
        (package / "parquet").mkdir(parents=True, exist_ok=True)
        self.con.execute(f"copy ({sql}) to '{package}/parquet/{name}.parquet'")

    def _schools(self, folder: Path) -> None:
        for code in ("51", "52"):
            (folder / "school" / code).mkdir(parents=True, exist_ok=True)
            self.con.execute(
                "copy (select * exclude (audience) from published_rows "
                f"where geography_level = 'school' and geography_code = '{code}') "
                f"to '{folder}/school/{code}/participation.csv' (header true)"
            )


def hidden(made: Mapping[str, pa.Table], name: str) -> set[str]:
    """Names of hidden rows, as `beside.py` names them; each once, whatever the package."""
    con = duckdb.connect()
    con.register("made", made[name])
    line, row = BESIDE[name].keys
    rows = con.execute(f"select distinct {line}, {row} from made where status = 'c'").fetchall()
    return {" ".join(row) for row in rows}


def found(
    before: Path, folder: Path, installation: Installation, made: Mapping[str, pa.Table]
) -> set[str]:
    """What the gate finds in packages made of rows, beside a release."""
    candidate = installation.publish(folder, made)
    con = duckdb.connect()
    return {
        place.partition(" ")[2]
        for place in find_row_differences(con, candidate, [before], POLICY).places
    }


# Table → what changes in few contributors so that figures move, in many, and who must be held.
FEW_AND_MANY: dict[str, tuple[str, str, set[str]]] = {
    "participation": (
        "update wellbeing.respondents set respondents_n = respondents_n + 6 "
        "where geography_code in ('51', 'S1')",
        "update wellbeing.respondents set respondents_n = respondents_n + 12 "
        "where geography_code in ('51', 'S1')",
        {"t1-a|secondary school|51", "t1-a|secondary cpp|S1"},
    ),
    "reach": (
        "update reach_parts set b = b + 6, n = n + 6 "
        "where need_level = 'high' and \"group\" in ('all', 'F')",
        "update reach_parts set b = b + 12, n = n + 12 "
        "where need_level = 'high' and \"group\" in ('all', 'F')",
        {"t1-a|low high|both|total|all", "t1-a|low high|both|sex|F", "t1-a|low high|both|sex|M"},
    ),
    "recipients": (
        "update services.recipients set social_work_n = social_work_n + 8, "
        "any_service_n = any_service_n + 8 where has_responded",
        "update services.recipients set social_work_n = social_work_n + 12, "
        "any_service_n = any_service_n + 12 where has_responded",
        {"t1-a|secondary social_work", "t1-a|secondary asn_support"},
    ),
    "risks": (
        "update research.risks set n = n + 8, with_outcome_n = with_outcome_n + 8, "
        "outcome_pct = 100.0 * (with_outcome_n + 8) / (n + 8) "
        "where factor = 'lonely' and level = 'risk'",
        "update research.risks set n = n + 12, with_outcome_n = with_outcome_n + 12, "
        "outcome_pct = 100.0 * (with_outcome_n + 12) / (n + 12) "
        "where factor = 'lonely' and level = 'risk'",
        # The good side too: its share would tell.
        {
            f"secondary|{OUTCOME} factor|peer|lonely|risk",
            f"secondary|{OUTCOME} factor|peer|lonely|protective",
        },
    ),
    "models": (
        "update research.models set n = n + 1, odds_ratio = odds_ratio + 0.01 "
        "where factor = 'lonely'; update research.models set n = n + 1 where factor = 'bullied'",
        "update research.models set n = n + 10, odds_ratio = odds_ratio + 0.01",
        {f"secondary|{OUTCOME} term|lonely|risk"},
    ),
    "comparisons": (
        "update wellbeing.comparisons set verdict = 'similar'; "
        "update wellbeing.estimates set numerator_n = numerator_n + 1 where engagement is not null",
        "update wellbeing.comparisons set verdict = 'similar'; "
        "update wellbeing.estimates set numerator_n = numerator_n + 10",
        {f"t1-a|secondary|cpp|S1 {INDICATOR}|pct|tranche"},
    ),
    "changes": (
        "update wellbeing.changes set shared_n = shared_n + 3, correlation = 0.85",
        "update wellbeing.changes set shared_n = shared_n + 30, correlation = 0.85",
        {f"t1-a|secondary|{INDICATOR}|total|all pct"},
    ),
    "spend": (
        "update services.spend set gbp = gbp + 9000 where provider_name = 'p2' "
        "and tier = 'universal'",
        "update services.spend set gbp = gbp + 9000 where tier = 'universal'",
        {"t1-a voluntary|universal|all|grant|all", "t1-a all|all|all|all|all"},
    ),
}


@pytest.mark.parametrize("name", FEW_AND_MANY)
def test_rows_that_tell_of_few_are_held_and_found_if_they_are_not(
    name: str, tmp_path: Path
) -> None:
    few, _, wanted = FEW_AND_MANY[name]
    place = Installation()
    first = place.protect(name)
    assert not hidden(first, name) & wanted
    before = place.publish(tmp_path / "2026.01.01", first)
    place.con.execute(few)
    # As if there had been no release before: the leak that is planted.
    leaking = place.protect(name)
    told = found(before, tmp_path / "leaking", place, leaking)
    assert {t.partition(f" {name} ")[2] for t in told} & wanted
    kept = place.protect(name, (before,))
    assert wanted <= hidden(kept, name)
    assert found(before, tmp_path / "candidate", place, kept) == set()
    # All that the gate finds was what protection held, or hid for its sake.
    assert {t.partition(f" {name} ")[2] for t in told} <= hidden(kept, name)


@pytest.mark.parametrize("name", FEW_AND_MANY)
def test_rows_that_many_changed_or_nobody_are_shown(name: str, tmp_path: Path) -> None:
    _, many, _ = FEW_AND_MANY[name]
    place = Installation()
    first = place.protect(name)
    before = place.publish(tmp_path / "2026.01.01", first)
    again = place.protect(name, (before,))
    assert {n: rows.equals(first[n]) for n, rows in again.items()} == dict.fromkeys(again, True)
    place.con.execute(many)
    changed = place.protect(name, (before,))
    assert changed[name].equals(place.protect(name)[name])
    assert not changed[name].equals(first[name])
    assert found(before, tmp_path / "candidate", place, changed) == set()


def test_a_row_that_was_hidden_stays_so_while_its_line_changes(tmp_path: Path) -> None:
    """Another school's pupils changed; this one's are those of then, and tell what was hidden."""
    place, name = Installation(), "participation"
    made = place.protect(name)
    place.con.register("all_rows", made[name])
    closed = place.con.execute(
        "select * replace (if(geography_code = '52', null, respondents_n) as respondents_n, "
        "if(geography_code = '52', 'c', status) as status) from all_rows"
    ).to_arrow_table()
    before = place.publish(tmp_path / "2026.01.01", {name: closed})
    still = "t1-a|secondary school|52"
    assert not hidden(place.protect(name, (before,)), name)
    place.con.execute(
        "update wellbeing.respondents set roll_n = roll_n + 40 where geography_code in ('51', 'S1')"
    )
    opened = place.protect(name)
    told = found(before, tmp_path / "opened", place, opened)
    assert {t.partition(f" {name} ")[2] for t in told} == {still}
    assert hidden(place.protect(name, (before,)), name) == {still}
    # A release in between that told it: it is known.
    between = place.publish(tmp_path / "2026.02.01", made)
    place.con.execute(
        "update wellbeing.respondents set roll_n = roll_n + 40 where geography_code in ('51', 'S1')"
    )
    assert not hidden(place.protect(name, (before, between)), name)
    earlier = [before, between]
    candidate = place.publish(tmp_path / "candidate", place.protect(name, tuple(earlier)))
    assert not find_row_differences(duckdb.connect(), candidate, earlier, POLICY).places


@pytest.mark.parametrize(("more", "is_held"), [(0, False), (6, True), (14, True), (40, False)])
def test_of_a_release_without_counts_the_least_is_feared(
    more: int, is_held: bool, tmp_path: Path
) -> None:
    """Shown numbers prove ten only where they are twenty apart: each is rounded to ten at most."""
    place, name = Installation(), "participation"
    before = place.publish(tmp_path / "2026.01.01", place.protect(name), has_counts=False)
    place.con.execute(f"update wellbeing.respondents set respondents_n = respondents_n + {more}, "
                      f"roll_n = roll_n + {more}")  # fmt: skip
    leaking = found(before, tmp_path / "leaking", place, place.protect(name))
    assert bool(leaking) == is_held
    kept = place.protect(name, (before,))
    assert (len(hidden(kept, name)) == 3) == is_held
    assert found(before, tmp_path / "candidate", place, kept) == set()


def test_counts_that_a_release_lists_must_be_there(tmp_path: Path) -> None:
    place, name = Installation(), "participation"
    before = place.publish(tmp_path / "2026.01.01", place.protect(name))
    listed = {"resources": [{"path": f"parquet/{COUNTS}.parquet"}]}
    (before / "safe_haven" / "datapackage.json").write_text(json.dumps(listed))
    place.protect(name, (before,))
    (before / "safe_haven" / "parquet" / f"{COUNTS}.parquet").unlink()
    with pytest.raises(StorageError, match="2026"):
        place.protect(name, (before,))
    with pytest.raises(StorageError):
        find_row_differences(duckdb.connect(), before, [before], POLICY)


def test_a_row_without_counts_is_not_released(tmp_path: Path) -> None:
    place, name = Installation(), "participation"
    candidate = place.publish(tmp_path / "candidate", place.protect(name), has_counts=False)
    assert len(find_row_differences(duckdb.connect(), candidate, [], POLICY).places) == 4


def test_counts_behind_money_are_the_same_in_whatever_order_rows_come() -> None:
    """Else a warehouse that is built anew makes another release of the same deliveries."""
    place = Installation()
    place.con.execute(
        "insert into services.spend by name select * exclude (i) replace (gbp / i as gbp, "
        "children_n / i as children_n) from services.spend cross join range(3, 50) as t(i)"
    )
    counts = f"from ({counts_sql([BESIDE['spend']])}) order by all"
    first = place.con.execute(counts).fetchall()
    for seed in ("0.1", "0.2", "0.3"):
        place.con.execute(f"select setseed({seed})")
        place.con.execute(
            "create or replace table services.spend as from services.spend order by random()"
        )
        assert place.con.execute(counts).fetchall() == first


def test_beside_a_sum_that_is_held_hides_one_that_has_changed(tmp_path: Path) -> None:
    """The total moved by many: less the sums that nobody changed it would tell the one held."""
    place, name = Installation(), "spend"
    before = place.publish(tmp_path / "2026.01.01", place.protect(name))
    place.con.execute(FEW_AND_MANY[name][0])
    place.con.execute("update services.spend set gbp = gbp + 8000 where tier = 'targeted'")
    kept = place.protect(name, (before,))
    tiers = {row.split("|")[1] for row in hidden(kept, name)}
    assert "universal" in tiers and tiers & {"targeted", "all"} and "specialist" not in tiers
    assert found(before, tmp_path / "candidate", place, kept) == set()


def test_confidential_money_of_a_provider_is_its_own(tmp_path: Path) -> None:
    """Two providers changed; one of them in a confidential service too, and is still one."""
    place, name = Installation(), "spend"
    place.con.execute(
        """
        insert into services.spend by name
        select * replace ('Council' as provider_name, 'council' as provider_type, 60000 as gbp)
        from services.spend where provider_name = 'p1';
        insert into services.spend by name
        select * replace ('healthy' as domain) from services.spend where provider_name <> 'p1'
        """
    )
    first = place.protect(name)
    before = place.publish(tmp_path / "2026.01.01", first)
    place.con.execute(
        """
        update services.spend set gbp = gbp + 50000
        where provider_name = 'Council' and tier = 'universal' and domain = 'safe';
        update services.spend set gbp = gbp + 60000
        where provider_name = 'p1' and tier = 'universal';
        insert into services.spend by name
        select * replace (true as is_confidential, 'healthy' as domain, 60000 as gbp)
        from services.spend where provider_name = 'p1' and tier = 'universal'
        """
    )
    leaking = place.protect(name)
    shown = {row for row in _shown(leaking, name) if "universal" in row and row.endswith("|all")}
    assert shown
    told = {t.partition(f" {name} ")[2] for t in found(before, tmp_path / "leak", place, leaking)}
    assert shown <= told
    kept = place.protect(name, (before,))
    assert shown <= hidden(kept, name)
    assert found(before, tmp_path / "candidate", place, kept) == set()


def _shown(made: Mapping[str, pa.Table], name: str) -> set[str]:
    con = duckdb.connect()
    con.register("made", made[name])
    line, row = BESIDE[name].keys
    rows = con.execute(f"select {line}, {row} from made where status = 'published'").fetchall()
    return {" ".join(row) for row in rows}


def test_a_support_that_is_known_is_added_to_those_that_are_shown() -> None:
    """Few have both: with social work's known, education's beside any would tell them."""
    place = Installation()
    place.con.execute("update reach_parts set b = 9, a = 60, s = 9 + 20")

    def services(known: tuple[str, ...]) -> set[str]:
        rows = place.con.execute(
            f"select 'public' as audience, {BESIDE['reach'].naming} from services.reach "
            "where list_contains(?::varchar[], service) and breakdown = 'total'", [list(known)]
        ).to_arrow_table()  # fmt: skip
        made = protect_reach(place.con, POLICY, AUDIENCES, {"low": ["low"]}, Holds(known=rows))
        return {
            row["service"] for row in made.to_pylist()
            if row["breakdown"] == "total" and row["status"] in ("published", "u")
        }  # fmt: skip

    assert services(()) == {"asn_support", "any_service", "none", "any_asn"}
    assert services(("asn_support",)) == services(())
    assert services(("social_work",)) == {"social_work", "any_service", "none", "any_asn"}
    # With both known nothing of the two together is left to be said.
    assert services(("social_work", "asn_support")) == {"any_asn"}


def test_supports_that_are_known_apart_hide_either_where_few_have_both() -> None:
    """Education's and social work's recipients of then less those of either now are both's."""
    place = Installation()
    place.con.execute("update services.recipients set both_n = 9, "
                      "any_service_n = asn_support_n + social_work_n - 9")  # fmt: skip

    def shown(known: Sequence[str]) -> set[str]:
        line, row = BESIDE["recipients"].keys
        rows = place.con.execute(
            f"select distinct 'public' as audience, {line} as line_key, {row} as row_key from "
            f"(select '{KEY}' as engagement, 'secondary' as survey, unnest(?) as service)",
            [list(known)],
        ).to_arrow_table()
        made = protect_recipients(place.con, POLICY, [KEY], Holds(known=rows)).to_pylist()
        return {row["service"] for row in made if row["status"] == "published"}

    assert shown(["any_service"]) == {"any_service"}
    assert shown(["asn_support"]) == set()


# One provider is left in a tier: its sum is hidden, and another with it.
ONE_LEFT = "delete from services.spend where tier = 'universal' and provider_name <> 'p1'"


def recovered(place: Installation, made: Mapping[str, pa.Table], *earlier: Path) -> set[str]:
    """Sums of money that the gate's attack works out, beside releases before."""
    place.con.register("made_spend", made["spend"])
    place.con.execute("create or replace table disclosure.spend as from made_spend")
    look = Look(place.con, POLICY, {}, frozenset(), earlier)
    return set(hidden_spend_is_not_recovered(look).places)


def test_hidden_money_is_attacked_with_what_was_told_before(tmp_path: Path) -> None:
    place = Installation()
    before = place.publish(tmp_path / "2026.01.01", place.protect("spend"))
    place.con.execute(ONE_LEFT)
    leaking = place.protect("spend")
    assert hidden(leaking, "spend")
    assert recovered(place, leaking) == set()
    assert recovered(place, leaking, before)
    kept = place.protect("spend", (before,))
    assert recovered(place, kept, before) == set()
    # Sums of what the provider who is left knows anyway are not hidden for his sake.
    assert not hidden(kept, "spend") & {"t1-a voluntary|targeted|all|all|all"}
    assert found(before, tmp_path / "candidate", place, kept) == set()
