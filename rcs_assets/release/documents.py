"""The documents of a deposit: DDI codebook, access, licence, notices, Five Safes.

Belongs here: `documentation/` of an archive package, written from the register, the policy
and what this run did. Does not belong here: the data files (`deposit.py`), the XML itself
(`ddi.py`), the technical report (`technical.py`), decisions of the data owner: what is not known
is said not to be known.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.programme.model import Approval
from rcs_assets.release.ddi import FILE, Study, codebook_xml
from rcs_assets.release.technical import SIMULATED_MARK
from rcs_assets.release.terms import load_terms

FOLDER = "documentation"
ACCESS = "access.csv"
FIVE_SAFES = "FIVE_SAFES.md"
TECHNICAL_REPORT = "TECHNICAL_REPORT.md"
TEXTS = ("LICENCE.md", "PRIVACY_NOTICE.md", "ETHICS.md", FIVE_SAFES, TECHNICAL_REPORT)


def write_documents(
    package: Path,
    study: Study,
    rule: MicrodataRule,
    told: Mapping[str, Mapping[str, int | str]],
    paths: Sequence[str],
    report: str,
) -> None:
    """Write `documentation/` of one archive package.

    Args:
        package: its folder; the data files lie there already.
        study: what is described.
        rule: what microdata keep to.
        told: survey → what anonymising did, counts of 1 to 9 children as `<10`.
        paths: files of the package, whether or not they are written yet.
        report: the technical report, with its mark (`technical.py`).
    """
    target = package / FOLDER
    target.mkdir(parents=True)
    (target / FILE).write_bytes(codebook_xml(study))
    mark = f"{SIMULATED_MARK}\n\n" if study.is_simulated else ""
    texts = {
        "LICENCE.md": _licence(),
        "PRIVACY_NOTICE.md": _privacy(study.approval),
        "ETHICS.md": _ethics(study.approval),
        FIVE_SAFES: _five_safes(study, rule, told),
    }
    for name, text in texts.items():
        title, _, rest = text.partition("\n\n")
        (target / name).write_text(f"{title}\n\n{mark}{rest}", encoding="utf-8")
    (target / TECHNICAL_REPORT).write_text(report, encoding="utf-8")
    own = [f"{FOLDER}/{name}" for name in (FILE, ACCESS, TECHNICAL_REPORT, *texts)]
    _write_access(target / ACCESS, sorted({*paths, *own}), study.is_simulated)


def _write_access(file: Path, paths: Sequence[str], is_simulated: bool) -> None:
    terms = load_terms()
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", "access_level", "reason", "data_source"])
        for path in paths:
            writer.writerow(
                [path, *terms.level(path), "SIMULATED" if is_simulated else "delivered"]
            )


def _licence() -> str:
    terms = load_terms()
    rows = "\n".join(f"- **{level}**: {text}" for level, text in terms.licence.items())
    return f"# Licence\n\nEach file has an access level (`{ACCESS}`).\n\n{rows}\n"


def _privacy(approval: Approval) -> str:
    return (
        "# Privacy\n\n"
        f"- Controller: {approval.controller}\n- Processors: {approval.processors}\n"
        f"- Lawful basis: {approval.lawful_basis}\n"
        f"- Notice given to pupils and parents: {approval.notice_version}\n"
        f"- Data protection impact assessment: {approval.dpia_reference}\n"
        f"- Data sharing agreement: {approval.sharing_agreement}\n\n"
        "Pupils and parents could opt out; opt-outs and withdrawals received before the "
        "release's day are not in the files. The files hold no name, birth date, postcode, "
        "number of a person, school or class.\n"
    )


def _ethics(approval: Approval) -> str:
    return (
        "# Ethics\n\n"
        f"- Ethical review: {approval.ethics}\n- Panel for data access: {approval.panel}\n\n"
        "Answers are by children. Screening scores are no diagnosis; a group is never named "
        "where it could point to a child.\n"
    )


def _five_safes(
    study: Study, rule: MicrodataRule, told: Mapping[str, Mapping[str, int | str]]
) -> str:
    """The record of the project by the Five Safes framework: what holds, and who decides the rest.

    Source: policy.md, Protection by design (a record for each project); Desai, Ritchie and
    Welpton (2016) for the five questions.
    """
    approval, terms = study.approval, load_terms()
    rows = "\n".join(
        f"| {f.survey} | {told[f.survey]['records']} | {told[f.survey]['left_out']} "
        f"| {told[f.survey]['special_uniques_before']} | {told[f.survey]['special_uniques']} |"
        for f in study.files
        if not f.is_extract
    )
    placeholder = (
        "The references are placeholders for demonstrations: no project may rest on them.\n\n"
        if approval.is_placeholder
        else ""
    )
    return f"""# Five Safes

Record of the project {study.engagement.cpp.name}, {study.tranche}, for release {study.release}
({study.as_of}). {placeholder}
## Safe project: is this use allowed?

- Controller: {approval.controller}
- Lawful basis: {approval.lawful_basis}
- Impact assessment: {approval.dpia_reference}, to be reviewed by {_day(approval.dpia_review_on)}
- Data sharing agreement: {approval.sharing_agreement}
- Ethical review: {approval.ethics}
- Panel for data access: {approval.panel}
- Approval holds from {_day(approval.valid_from)} to {_day(approval.expires_on)}

## Safe people: who may use it?

{terms.licence["safeguarded"]} Who is let in, and what training that takes, is decided by the
archive and the controller; this software knows of no person.

## Safe settings: where?

Tables and documents are open; files of answers are safeguarded (`{ACCESS}`). Linked records stay
in the safe haven and are in no package that is handed out. Processors: {approval.processors};
contract to {_day(approval.contract_expires_on)}, ISO 27001 to {_day(approval.iso27001_expires_on)}.
Data are kept to {_day(approval.retention_until)}.

## Safe data: can somebody be recognised?

At least {rule.k} records share each combination of the keys; each sensitive variable has at least
{rule.l} values in it, or is withheld, as it is in as many other classes of about the same size; of
whole stages where the tables would tell it.
Special uniques are pupils who are alone on some set of up to {rule.special_uniques_most} keys,
before anonymising and in the file.

| survey | records | left out | special uniques before | in the file |
|---|---|---|---|---|
{rows}

## Safe outputs: what may be published from it?

Figures that keep to the rules of the published tables (`certificate.json`: thresholds and steps).
The tables of this release were attacked as one system with all other packages, and the gate
publishes none of which a hidden figure can be worked out.
"""


def _day(day: date | None) -> str:
    return day.isoformat() if day else "no day given"
