"""Files of answers beside the tables of the same release: what both tell of what a file withholds.

Belongs here: laying the files of a release, made or still to be made, beside its tables, for every
coalition that holds both. Does not belong here: the attack (`disclosure.withheld`), counting in a
file (`classes.py`), and what is withheld then (`disclosure.anonymise`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from rcs_assets.codebook import Codebook
from rcs_assets.disclosure.anonymise import Changed, Told, of_engagements
from rcs_assets.disclosure.answers import Answer, Unsafe
from rcs_assets.disclosure.attack import Attacker, attackers_of
from rcs_assets.disclosure.cells import drop_cells
from rcs_assets.disclosure.estimates_audit import read_answers, read_release
from rcs_assets.disclosure.grid import Ints, Shown
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.sources import register_sources
from rcs_assets.disclosure.withheld import Classes, Holder
from rcs_assets.programme import Programme
from rcs_assets.release.classes import Behind, read_classes
from rcs_assets.side_by_side import WORKERS
from rcs_assets.storage import sql_list
from rcs_assets.storage.code import programs_version

# Survey, coalition and indicator.
_Question = tuple[str, str, str]
_OF_INDICATORS = (
    "create or replace temp view {view} as from {relation} where indicator in ({names})"
)


@dataclass(frozen=True)
class _Look:
    """What a holder counted of an indicator and found; targets that were not safe, by position."""

    counts: bytes
    findings: tuple[Unsafe, ...]
    open_at: Ints


class BesideTables:
    """The tables of a release as whoever holds files of answers looks at them.

    The files may change from one look to the next in one way: they withhold more. What is safe
    from who had those before is safe then.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        programme: Programme,
        codebook: Codebook,
        policy: Policy,
        earlier: Sequence[Path],
    ) -> None:
        """Nothing is read yet.

        Args:
            con: a connection to the warehouse; temporary tables and views are made.
            programme: names of areas.
            codebook: what the answers mean.
            policy: Table A, and the rule of files.
            earlier: folders of all releases before.
        """
        self._con, self._programme, self._codebook = con, programme, codebook
        self._areas = programme.engagements
        self._policy, self._earlier = policy, earlier
        self._files: dict[str, tuple[dict[str, Classes], Behind]] = {}
        self._looks: dict[_Question, _Look] = {}
        self._read: set[str] = set()
        self._shown: dict[str, Shown] = {}
        self._attackers: dict[str, list[Attacker]] = {}
        # What protection was told of the same tables.
        self._known: Mapping[str, Answer] = read_answers(con, programs_version()).known

    def told(self, file_of: Mapping[str, str], changed: Changed | None = None) -> set[Told]:
        """Of which variables tables and files tell what is withheld.

        Args:
            file_of: survey → relation that holds the files of all engagements.
            changed: whose files withhold more than when they were last looked at; all files are
                looked at for the first time without.

        Raises:
            StorageError: a release before cannot be read.
        """
        surveys = dict.fromkeys(file_of) if changed is None else changed
        for survey, engagements in surveys.items():
            self._read_files(survey, file_of[survey], engagements)
        read = {survey: self._files[survey] for survey in surveys}
        read = {survey: one for survey, one in read.items() if any(one[1].gone.values())}
        self._read_tables(name for _, behind in read.values() for name in self._judged(behind))
        jobs = [
            (survey, attacker, files, behind)
            for survey, (files, behind) in read.items()
            for attacker in self._attackers.get(survey, ())
        ]
        # Threads: almost all of the time is the solver's, which lets go of Python's lock.
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            return set().union(*pool.map(lambda job: self._told(*job), jobs))

    def _read_files(self, survey: str, relation: str, engagements: Collection[str] | None) -> None:
        """The classes of files, where some are known already those of some engagements."""
        rule, own = self._policy.microdata, of_engagements(engagements)
        files, behind = read_classes(
            self._con, f"(from {relation} where {own})", survey, self._codebook, rule
        )
        if engagements is not None:
            others, before = self._files[survey]
            files, behind = others | files, Behind(behind.of, {**before.gone, **behind.gone})
        self._files[survey] = files, behind

    def _judged(self, behind: Behind) -> Iterator[str]:
        """Indicators of which answers are withheld, or can be in a file to come."""
        gone = set().union(*behind.gone.values())
        for indicator, names in behind.of.items():
            if any(self._codebook.variables[name].is_sensitive or name in gone for name in names):
                yield indicator

    def _read_tables(self, indicators: Iterable[str]) -> None:
        """The tables of some indicators, and who attacks them; each is read once."""
        names = set(indicators)
        if names <= self._read:
            return
        self._read |= names
        self._looks = {}
        con, chosen = self._con, sql_list(sorted(self._read))
        rows = con.execute("select distinct engagement from disclosure.estimates").fetchall()
        engagements = sorted(str(name) for (name,) in rows if name is not None)
        sources = register_sources(con, self._programme, self._codebook, engagements)
        for view, relation in (
            ("beside_counts", sources.estimates),
            ("beside_shown", "disclosure.estimates"),
        ):
            con.execute(_OF_INDICATORS.format(view=view, relation=relation, names=chosen))
        counts = replace(sources, estimates="beside_counts")
        read = read_release(con, counts, self._policy, "beside_shown", self._earlier)
        drop_cells(con)
        self._shown = {one.grid.survey: one.shown for one in read}
        self._attackers = {
            one.grid.survey: attackers_of(one.grid, one.structure, one.rule) for one in read
        }

    def _told(
        self, survey: str, attacker: Attacker, files: Mapping[str, Classes], behind: Behind
    ) -> set[Told]:
        """By one coalition: the archive's user has every file, a CPP its own."""
        rule, found = self._policy.microdata, set()
        if ("archive" if attacker.is_public else "cpp") not in rule.purposes:
            return set()
        held = {
            name: file
            for name, file in files.items()
            if attacker.is_public or name == attacker.coalition
        }
        holder = Holder(attacker, held, rule)
        for row in range(len(attacker.grid.indicators)):
            indicator = str(attacker.grid.indicators[row])
            if not holder.withholds(row):
                continue
            findings = self._look(holder, survey, row).findings
            for engagement in self._concerned(attacker, findings, held, indicator):
                found |= {
                    Told(engagement, survey, variable)
                    for variable in behind.withheld(engagement, indicator)
                }
        return found

    def _look(self, holder: Holder, survey: str, row: int) -> _Look:
        """What a holder finds of an indicator, from what he found last on."""
        attacker, shown = holder.attacker, self._shown[survey]
        indicator = str(attacker.grid.indicators[row])
        counts = b"".join(file.counts(indicator) for _, file in sorted(holder.files.items()))
        question = survey, attacker.coalition, indicator
        before = self._looks.get(question)
        if before is None or before.counts != counts:
            at = before.open_at if before else attacker.told_by_files(shown, row, self._known)
            self._looks[question] = _Look(counts, *holder.attack(shown, row, at))
        return self._looks[question]

    def _concerned(
        self,
        attacker: Attacker,
        findings: Sequence[Unsafe],
        held: Mapping[str, Classes],
        indicator: str,
    ) -> set[str]:
        """The engagements whose files give way: where a finding is, then all of that tranche.

        Each that still counts some of what it withholds elsewhere.
        """
        tranche = {name: engagement.tranche for name, engagement in self._areas.items()}
        counting = {name for name, file in held.items() if file.counts_some(indicator)}
        found: set[str] = set()
        for finding in findings:
            area = str(attacker.grid.engagement[finding.place])
            beside = {name for name in counting if tranche[name] == tranche.get(area)}
            found |= {area} & counting or beside or counting
        return found
