"""Makes one whole set of deliveries with its truth.

Belongs here: the order of the steps and the files they write. Does not belong here: how
pupils, answers or defects come about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rcs_assets.codebook import PUPIL_SURVEYS, Codebook, load_codebook
from rcs_assets.errors import InputError
from rcs_assets.programme import (
    Engagement,
    Programme,
    load_programme,
    read_simulated_manifest,
    write_simulated_manifest,
)
from rcs_assets.programme.provenance import sha256_of
from rcs_assets.simulate.adapted import AdaptedFiles, answer_elsewhere, make_adapted
from rcs_assets.simulate.answers import Model, load_model
from rcs_assets.simulate.clusters import cluster_map
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.details import child_protection, education_details, looked_after
from rcs_assets.simulate.draws import Bools
from rcs_assets.simulate.education import (
    OPT_OUT_COLUMNS,
    draw_opt_outs,
    education_extract,
    sample_file,
)
from rcs_assets.simulate.forms import leave_to_form
from rcs_assets.simulate.hostile import KINDS, make_hostile
from rcs_assets.simulate.identifiers import NameBook
from rcs_assets.simulate.national import write_register
from rcs_assets.simulate.need import need_levels
from rcs_assets.simulate.pairs import linkable
from rcs_assets.simulate.parents import make_interviews
from rcs_assets.simulate.people import make_people
from rcs_assets.simulate.places import (
    Places,
    board_shares,
    cut_small,
    plain_council,
    read_places,
)
from rcs_assets.simulate.public import copy_public, write_fictitious
from rcs_assets.simulate.response import draw_response
from rcs_assets.simulate.schools import (
    decisions_file,
    earlier_names,
    plant_school_defects,
    published_schools,
)
from rcs_assets.simulate.services import budgets, service_map
from rcs_assets.simulate.social_work import SocialWork, social_work_extract
from rcs_assets.simulate.surveys import Submissions, make_submissions, sav_layout, supplier_frame
from rcs_assets.simulate.truth import (
    estimates_table,
    parameters,
    respondents_table,
    write_truth,
)
from rcs_assets.simulate.write import write_csv, write_sav, write_xlsx

SCALES = ("small", "full", "national")
DEFECTS = ("none", "typical", "hostile")
_FILE_ENDINGS = {
    "sample_file": "_sample-file.csv",
    "opt_outs": "_opt-outs.csv",
    "primary_survey": "_primary-survey.sav",
    "service_map": "_service-map.xlsx",
    "education_ids": "_education-identifiers.csv",
    "education_payload": "_education-payload.csv",
    "social_work_payload": "_social-work-payload.csv",
}
_ONE_OPT_OUT = "survey_uid,scope,received_on\nAA00000001,survey,2015-09-01\n"
CODE_SUFFIXES = {".py", ".csv", ".yaml"}
Progress = Callable[[str], None]


@dataclass(frozen=True)
class SimulationReport:
    """What was made.

    Attributes:
        files: every delivery.
        manifest: the signed list of them.
        truth_files: the answer book, which the platform never reads.
        engagements: partition keys that have deliveries.
        schools_n, pupils_n: schools and pupils on the roll in the surveyed stages.
        respondents_n: pupils who answered (before opt-outs are taken out).
    """

    files: tuple[Path, ...]
    manifest: Path
    truth_files: tuple[Path, ...]
    engagements: tuple[str, ...]
    schools_n: int
    pupils_n: int
    respondents_n: int


def code_version() -> str:
    """The sha256 over the simulator's code and data: other code may give other bytes."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(p for p in folder.rglob("*") if p.suffix in CODE_SUFFIXES):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Task:
    """What every step needs."""

    out: Path
    seed: int
    overlay: Path | None
    programme: Programme
    codebook: Codebook
    model: Model
    planted: Planted | None
    names: NameBook
    progress: Progress


def simulate(
    out: Path,
    *,
    truth: Path,
    scale: str = "full",
    seed: int = 2026,
    defects: str = "typical",
    reference: Path | None = None,
    overlay: Path | None = None,
    progress: Progress | None = None,
) -> SimulationReport:
    """Write deliveries as the suppliers would send them, and the truth elsewhere.

    The same arguments give the same bytes in every file.

    Args:
        out: folder of the deliveries; those of an earlier simulation are replaced.
        truth: folder of the answer book, outside `out`.
        scale: `small` (two engagements, about 3,000 pupils), `full` (every engagement of
            the register at real size) or `national` (32 councils: a generated register is
            written to the overlay, and must be the home's when the files are delivered).
        seed: of all draws, 0 or more.
        defects: `none`, `typical` (defects.py) or `hostile`: clean files, and beside them
            `hostile/<kind>/` with one damaged file a kind (hostile.py).
        reference: folder of real public files (schools/, geography/, names/), handed on
            unchanged; None: fictitious schools and zones in the same layouts.
        overlay: folder of the adopter's register and codebook (`$RCS_HOME/config`); at
            national scale the register is written there, or to `out`/config. Where it declares
            the adapted mode of special schools, its files are made too (adapted.py).
        progress: called with a short sentence before each step.

    Raises:
        InputError: an argument is not allowed, or a reference file is missing.
        ConfigurationError: the register names a council that cannot be made up.
    """
    _check(out, truth, scale, seed, defects)
    if scale == "national":
        overlay = overlay or out / "config"
        write_register(overlay)
    programme, codebook = load_programme(overlay), load_codebook(overlay)
    task = _Task(
        out=out,
        seed=seed,
        overlay=overlay,
        programme=programme,
        codebook=codebook,
        model=load_model(),
        planted=Planted() if defects == "typical" else None,
        names=NameBook(reference),
        progress=progress or (lambda _: None),
    )
    _clear(out)
    truth.mkdir(parents=True, exist_ok=True)
    task.progress("schools, rolls and zones")
    public = copy_public(reference, out) if reference else write_fictitious(out, programme, seed)
    places = read_places(out, programme, seed)
    places = cut_small(places) if scale == "small" else places
    task.progress(f"{places.pupils_n:,} pupils in {len(places.schools)} schools")
    people = make_people(places, programme, seed, reference)
    opt_outs = _opt_outs(task, people)
    answered = _answering(people, places, opt_outs, seed)
    surveys = {survey: _submissions(task, people, answered, survey) for survey in PUPIL_SURVEYS}
    people["need"] = need_levels(people, surveys, task.model, seed)
    files, links, cases = _deliveries(task, people, places, opt_outs, surveys)
    task.progress("the truth")
    truth_files = _truth(task, truth, people, opt_outs, surveys, links, cases, scale)
    manifest = write_simulated_manifest(
        out, [*public, *files], seed, public=public if reference else []
    )
    if defects == "hostile":
        task.progress("hostile files")
        truth_files.append(_hostile(task, truth))
    return SimulationReport(
        files=(*public, *files),
        manifest=manifest,
        truth_files=tuple(truth_files),
        engagements=tuple(sorted(set(places.schools["engagement"]))),
        schools_n=len(places.schools),
        pupils_n=len(people),
        respondents_n=int(answered.sum()),
    )


def _hostile(task: _Task, truth: Path) -> Path:
    """One damaged file a kind, of the first engagement; each signed in its own folder.

    Returns:
        The list of what intake has to do with each.
    """
    names = {kind.dataset: f"*{_FILE_ENDINGS[kind.dataset]}" for kind in KINDS.values()}
    opt_outs = (
        task.out / f"{min(task.out.glob(names['sample_file'])).name.split('_')[0]}_opt-outs.csv"
    )
    if not opt_outs.exists():
        opt_outs.write_text(_ONE_OPT_OUT, encoding="utf-8")
    sources = {dataset: min(task.out.glob(pattern)) for dataset, pattern in names.items()}
    made = make_hostile(sources, task.out / "hostile")
    for file in made.values():
        write_simulated_manifest(file.parent, [file], task.seed)
    opt_outs.unlink()
    chosen = [kind for kind in KINDS.values() if kind.kind in made]
    rows = [(k.kind, k.dataset, made[k.kind].name, k.expected, k.rule) for k in chosen]
    table = pd.DataFrame(rows, columns=["kind", "dataset", "file", "expected", "rule"])
    return write_csv(truth / "hostile.csv", table)


def _check(out: Path, truth: Path, scale: str, seed: int, defects: str) -> None:
    for name, value, allowed in (("scale", scale, SCALES), ("defects", defects, DEFECTS)):
        if value not in allowed:
            raise InputError(
                f"The simulator knows no {name} of this name",
                where=f"--{name} {value}",
                why=f"it can be {', '.join(allowed)}",
                fix="choose one of these",
            )
    if seed < 0:
        raise InputError("The seed is negative", where="--seed", fix="give 0 or more")
    if out.resolve() == truth.resolve() or out.resolve() in truth.resolve().parents:
        raise InputError(
            "The truth would lie among the deliveries",
            where="--truth",
            why="the platform must never read it",
            fix="give a folder outside --out",
        )


def _clear(out: Path) -> None:
    """Remove the deliveries of an earlier simulation: only files that its list names."""
    out.mkdir(parents=True, exist_ok=True)
    for name in read_simulated_manifest(out).values():
        (out / name).unlink(missing_ok=True)


def _opt_outs(task: _Task, people: pd.DataFrame) -> pd.DataFrame:
    drawn = draw_opt_outs(people, task.programme, task.seed)
    return drawn if task.planted is not None else drawn.iloc[:0]


def _answering(people: pd.DataFrame, places: Places, opt_outs: pd.DataFrame, seed: int) -> Bools:
    """Who answers: opt-outs do not, unless theirs came late."""
    answered = draw_response(people, places, seed)
    early = opt_outs["scope"].isin(["survey", "all"]) & ~opt_outs["is_late"].astype(bool)
    answered[opt_outs.loc[early, "person"].to_numpy(dtype=np.int64)] = False
    return answered


def _submissions(task: _Task, people: pd.DataFrame, answered: Bools, survey: str) -> Submissions:
    task.progress(f"answers of the {survey} survey")
    return make_submissions(
        people, answered, task.codebook, task.programme, survey, task.seed, task.model, task.planted
    )


def _deliveries(
    task: _Task,
    people: pd.DataFrame,
    places: Places,
    opt_outs: pd.DataFrame,
    surveys: dict[str, Submissions],
) -> tuple[list[Path], pd.DataFrame, pd.DataFrame]:
    """Write every engagement's files.

    Returns:
        The files; which education record is whose; which social work record is whose.
    """
    files: list[Path] = []
    links, cases = [], []
    shares = board_shares(task.out)
    for key in sorted(set(people["engagement"])):
        task.progress(f"deliveries of {key}")
        engagement = task.programme.engagements[key]
        own = people[people["engagement"] == key].reset_index(drop=True)
        adapted = make_adapted(
            engagement, task.overlay, task.codebook, own, task.seed, task.planted
        )
        for survey in PUPIL_SURVEYS:
            files += _survey_file(task, engagement, survey, surveys[survey].of(key), adapted)
        files += _adapted_files(task, key, adapted)
        files += _parent_file(task, engagement, places)
        files += _partnership_files(task, engagement, places, len(own), shares)
        made, link, care = _council_files(task, engagement, places, own, opt_outs)
        files += made
        links.append(link)
        cases.append(care.truth)
    return files, pd.concat(links, ignore_index=True), pd.concat(cases, ignore_index=True)


def _survey_file(
    task: _Task,
    engagement: Engagement,
    survey: str,
    submissions: Submissions,
    adapted: AdaptedFiles | None = None,
) -> list[Path]:
    if engagement.wave(survey) is None:
        return []
    questionnaire = task.codebook.questionnaire_for(engagement.tranche, survey)
    layout = sav_layout(questionnaire, task.codebook, f"{survey} survey {engagement.key}")
    frame = supplier_frame(submissions, questionnaire)
    if adapted and task.planted is not None:
        is_sound = (submissions.rows["kind"] == "answer").to_numpy()
        frame = answer_elsewhere(
            frame, is_sound, questionnaire, adapted, engagement.key, task.planted
        )
    return [write_sav(task.out / f"{engagement.key}_{survey}-survey.sav", frame, layout)]


def _adapted_files(task: _Task, key: str, made: AdaptedFiles | None) -> list[Path]:
    if made is None:
        return []
    return [
        write_csv(task.out / f"{key}_adapted-opt-ins.csv", made.opt_ins),
        write_csv(task.out / f"{key}_adapted-survey.csv", made.survey),
    ]


def _parent_file(task: _Task, engagement: Engagement, places: Places) -> list[Path]:
    wave = engagement.wave("parent")
    if wave is None:
        return []
    mix = places.simd[(places.schools["engagement"] == engagement.key).to_numpy()].sum(axis=0)
    interviews = make_interviews(wave, task.codebook, mix, task.seed, task.model, task.planted)
    return _survey_file(task, engagement, "parent", interviews)


def _partnership_files(
    task: _Task,
    engagement: Engagement,
    places: Places,
    pupils_n: int,
    shares: dict[str, float],
) -> list[Path]:
    """Clusters, service map and budgets: no data on a child."""
    key = engagement.key
    schools = places.schools[places.schools["engagement"] == key]
    clusters = cluster_map(engagement, schools, task.seed, task.planted)
    services = service_map(engagement, pupils_n, task.seed, task.planted)
    money = budgets(engagement, services, shares[engagement.cpp.council_code], task.seed)
    return [
        write_csv(task.out / f"{key}_clusters.csv", clusters),
        write_xlsx(
            task.out / f"{key}_service-map.xlsx", "services", services, f"service map {key}"
        ),
        write_xlsx(task.out / f"{key}_budgets.xlsx", "budgets", money, f"budgets {key}"),
    ]


def _council_files(
    task: _Task,
    engagement: Engagement,
    places: Places,
    own: pd.DataFrame,
    opt_outs: pd.DataFrame,
) -> tuple[list[Path], pd.DataFrame, SocialWork]:
    key = engagement.key
    sample = sample_file(own, task.seed, task.planted)
    delivered, decided = _school_defects(task, engagement, places, sample)
    ids, payload, link = education_extract(own, task.seed, task.planted)
    care = _social_work(task, engagement, own, link, payload)
    out = opt_outs.loc[opt_outs["engagement"] == key, OPT_OUT_COLUMNS]
    tables = {
        "sample-file": delivered,
        "education-identifiers": ids,
        "education-payload": payload,
        "social-work-identifiers": care.identifiers,
        "social-work-payload": care.payload,
    } | ({"opt-outs": out} if len(out) else {})
    tables |= _details(task, engagement, payload, care.payload)
    files = [write_csv(task.out / f"{key}_{name}.csv", table) for name, table in tables.items()]
    files += _decisions(task, engagement, decided)
    educated = _link(link, own, sample, ids, payload)
    educated["is_linkable"] = _linkable(educated[["record_id", "uid"]], sample, ids)
    uids = own.set_index("person_id")["uid"]
    cases = care.truth.assign(uid=care.truth["person_id"].map(uids))
    care.truth["is_linkable"] = _linkable(cases[["record_id", "uid"]], sample, care.identifiers)
    return files, educated, care


def _school_defects(
    task: _Task, engagement: Engagement, places: Places, sample: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sample file as it is delivered, and what an operator decides about its UIDs."""
    if task.planted is None:
        return sample, sample.iloc[:0]
    schools = places.schools[places.schools["engagement"] == engagement.key]
    published = published_schools(task.out)
    own = published["council"].map(plain_council) == plain_council(engagement.cpp.council_name)
    planted = plant_school_defects(
        sample,
        schools.drop_duplicates("seed_code"),
        published[own],
        earlier_names(task.out),
        engagement.key,
        task.seed,
        task.planted,
    )
    return planted.sample, planted.decisions


def _decisions(task: _Task, engagement: Engagement, decided: pd.DataFrame) -> list[Path]:
    """What the simulated operator decided, about exactly this sample file."""
    if decided.empty:
        return []
    key = engagement.key
    first = min(wave.fieldwork_start for wave in engagement.waves)
    sha256 = sha256_of(task.out / f"{key}_sample-file.csv")
    frame = decisions_file(decided, sha256, first.isoformat())
    return [write_csv(task.out / f"{key}_uid-decisions.csv", frame)]


def _details(
    task: _Task, engagement: Engagement, education: pd.DataFrame, care: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The details that follow both extracts, by file ending; a file without rows is not sent."""
    first = min(wave.fieldwork_start for wave in engagement.waves)
    common = (engagement.key, first, task.seed, task.planted)
    tables = education_details(education, *common)
    tables["child-protection"] = child_protection(care, *common)
    tables["looked-after"] = looked_after(care, *common)
    return {name: table for name, table in tables.items() if len(table)}


def _linkable(pairs: pd.DataFrame, sample: pd.DataFrame, ids: pd.DataFrame) -> Bools:
    """Whether the records of each pair (record_id, uid), as delivered, share enough to be found."""
    pupils = sample.drop_duplicates("survey_uid").set_index("survey_uid")
    records = ids.drop_duplicates("record_id").set_index("record_id")
    known: Bools = (
        pairs["uid"].isin(pupils.index) & pairs["record_id"].isin(records.index)
    ).to_numpy()
    found = np.zeros(len(pairs), dtype=bool)
    found[known] = linkable(
        pupils.loc[pairs.loc[known, "uid"]], records.loc[pairs.loc[known, "record_id"]]
    )
    return found


def _social_work(
    task: _Task,
    engagement: Engagement,
    own: pd.DataFrame,
    link: pd.DataFrame,
    education: pd.DataFrame,
) -> SocialWork:
    flags = education.set_index("record_id")["looked_after"].eq("Y")
    looked_after = link["record_id"].map(flags)
    looked_after.index = pd.Index(link["person_id"])
    first = min(wave.fieldwork_start for wave in engagement.waves)
    return social_work_extract(own, looked_after, first, task.names, task.seed, task.planted)


def _link(
    link: pd.DataFrame,
    own: pd.DataFrame,
    sample: pd.DataFrame,
    ids: pd.DataFrame,
    payload: pd.DataFrame,
) -> pd.DataFrame:
    """Truth of each education record, and whether both sides carry the SCN, and a zone."""
    zones = payload.set_index("record_id")["datazone"].notna()
    scns = ids.set_index("record_id")["scn"].notna()
    sampled = sample.set_index("survey_uid")["scn"].notna()
    frame = own[["person_id", "engagement", "uid", "scn", "quintile"]].merge(
        link, on="person_id", how="left"
    )
    held = frame["record_id"].notna()
    frame["scn_on_both"] = (
        held & frame["record_id"].map(scns).eq(True) & frame["uid"].map(sampled).eq(True)
    )
    frame["has_zone"] = frame["scn_on_both"] & frame["record_id"].map(zones).eq(True)
    return frame


def _with_uid(cases: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """The UID of each child with a social work record; null for one who is no pupil."""
    uids = people.set_index("person_id")["uid"]
    return cases.assign(uid=cases["person_id"].map(uids).astype(object))


def _asked(task: _Task, sent: Submissions, survey: str) -> Submissions:
    """Submissions without answers that were planted where a form asked nothing."""
    forms = sent.rows["form"].to_numpy()
    answers = leave_to_form(sent.answers, sent.rows, forms, task.codebook, task.programme, survey)
    return replace(sent, answers=answers)


def _truth(
    task: _Task,
    folder: Path,
    people: pd.DataFrame,
    opt_outs: pd.DataFrame,
    surveys: dict[str, Submissions],
    links: pd.DataFrame,
    cases: pd.DataFrame,
    scale: str,
) -> list[Path]:
    linked = links.set_index("person_id")[["has_zone", "quintile"]]
    unlinkable = opt_outs.loc[opt_outs["scope"].isin(["linkage", "all"]), "person"].to_numpy(
        dtype=np.int64
    )
    linked.loc[people["person_id"].to_numpy()[unlinkable], "has_zone"] = False
    respondents, estimates = [], []
    for survey, sent in surveys.items():
        submissions = _asked(task, sent, survey)
        table, values = respondents_table(submissions, people, opt_outs, linked, survey, task.model)
        respondents.append(table)
        estimates.append(estimates_table(table, values, survey))
    planted = (task.planted or Planted()).table()
    tables = {
        "respondents.parquet": pd.concat(respondents, ignore_index=True),
        "links.parquet": links.drop(columns="quintile"),
        "social_work_links.parquet": _with_uid(cases, people),
        "estimates.csv": pd.concat(estimates, ignore_index=True),
        "planted.csv": planted,
    }
    level = "typical" if task.planted is not None else "none"
    return write_truth(
        folder, tables, parameters(task.model, task.codebook, task.seed, scale, level)
    )
