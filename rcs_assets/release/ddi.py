"""A deposit's description in DDI-Codebook 2.5, the form that social science archives take.

Belongs here: study, files and variables of one deposit as XML, from register, codebook and
the written files. Does not belong here: the files themselves (`deposit.py`), and a study
number: the archive gives it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rcs_assets.programme.model import Approval, Engagement
from rcs_assets.storage import rounded_count

NAMESPACE = "ddi:codebook:2_5"
FILE = "ddi_codebook.xml"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass(frozen=True)
class DescribedVariable:
    """One column: codes and labels of its values, missing ones apart; no codes: a number.

    `asked_of`: the stages of the file that were asked, where others were not. `is_ordered`: the
    codes stand in an order.
    """

    name: str
    label: str
    is_text: bool
    values: Mapping[str, str]
    missing: Mapping[str, str]
    is_weight: bool = False
    is_ordered: bool = False
    asked_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class DescribedFile:
    """A file of answers: how many records, and its columns in their order.

    `name` is that of a survey, or of a part of its file (`is_extract`).
    """

    name: str
    survey: str
    records_n: int
    universe: str
    variables: Sequence[DescribedVariable]

    @property
    def is_extract(self) -> bool:
        """Whether all that it holds is in the survey's file too."""
        return self.name != self.survey


@dataclass(frozen=True)
class Study:
    """What the description says of the study; `contractors`: key in the register → name."""

    engagement: Engagement
    approval: Approval
    tranche: str
    release: str
    as_of: str
    is_simulated: bool
    restriction: str
    conditions: str
    files: Sequence[DescribedFile]
    contractors: Mapping[str, str]


def codebook_xml(study: Study) -> bytes:
    """The description of a deposit, as the bytes of its file."""
    ET.register_namespace("", NAMESPACE)
    root = ET.Element(f"{{{NAMESPACE}}}codeBook", {"version": "2.5", _XML_LANG: "en-GB"})
    _document(root, study)
    _study(root, study)
    for number, file in enumerate(study.files, 1):
        _file(root, file, number)
    data = _add(root, "dataDscr")
    for number, file in enumerate(study.files, 1):
        for variable in file.variables:
            _variable(data, variable, file, number)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _surveys(study: Study) -> list[DescribedFile]:
    """The files of surveys, without their parts."""
    return [file for file in study.files if not file.is_extract]


def _add(parent: ET.Element, tag: str, text: str = "", /, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, f"{{{NAMESPACE}}}{tag}", attributes)
    if text:
        element.text = text
    return element


def _title(study: Study) -> str:
    mark = "SIMULATED. " if study.is_simulated else ""
    name = study.engagement.cpp.name
    return f"{mark}Realigning Children's Services: wellbeing surveys, {name}, {study.tranche}"


def _document(root: ET.Element, study: Study) -> None:
    citation = _add(_add(root, "docDscr"), "citation")
    _add(_add(citation, "titlStmt"), "titl", f"Codebook. {_title(study)}")
    _add(_add(citation, "prodStmt"), "prodDate", study.as_of, date=study.as_of)
    _add(_add(citation, "verStmt"), "version", study.release)


def _study(root: ET.Element, study: Study) -> None:
    described = _add(root, "stdyDscr")
    citation = _add(described, "citation")
    _add(_add(citation, "titlStmt"), "titl", _title(study))
    _add(_add(citation, "rspStmt"), "AuthEnty", study.approval.controller)
    _add(_add(citation, "prodStmt"), "producer", study.approval.processors)
    _add(_add(citation, "verStmt"), "version", study.release)
    info = _add(described, "stdyInfo")
    subject = _add(info, "subject")
    for word in ("children", "wellbeing", "schools", "Scotland"):
        _add(subject, "keyword", word)
    _add(
        info,
        "abstract",
        "Anonymised answers of pupils to the school surveys of Realigning Children's Services. "
        + ("Pupils and answers are simulated." if study.is_simulated else ""),
    )
    _summary(info, study)
    _method(described, study)
    _access(described, study)


def _summary(info: ET.Element, study: Study) -> None:
    waves = [w for f in _surveys(study) if (w := study.engagement.wave(f.survey))]
    summary = _add(info, "sumDscr")
    if waves:
        start = min(wave.fieldwork_start for wave in waves).isoformat()
        end = max(wave.fieldwork_end for wave in waves).isoformat()
        _add(summary, "collDate", start, date=start, event="start")
        _add(summary, "collDate", end, date=end, event="end")
    _add(summary, "nation", "Scotland", abbr="GB-SCT")
    _add(summary, "geogCover", study.engagement.cpp.council_name)
    _add(summary, "geogUnit", "The area as a whole")
    _add(summary, "anlyUnit", "Pupil")
    for file in _surveys(study):
        _add(summary, "universe", file.universe)
    _add(summary, "dataKind", "Anonymised survey answers")


def _method(described: ET.Element, study: Study) -> None:
    collected = _add(_add(described, "method"), "dataColl")
    waves = [(f.survey, w) for f in _surveys(study) if (w := study.engagement.wave(f.survey))]
    # The schema wants each kind together, in this order.
    for contractor in dict.fromkeys(wave.contractor for _, wave in waves):
        _add(collected, "dataCollector", study.contractors.get(contractor, contractor))
    for survey, wave in waves:
        _add(collected, "sampProc", f"{survey}: {wave.design}")
    for survey, wave in waves:
        _add(collected, "collMode", f"{survey}: {wave.mode.replace('_', ' ')}")
    _add(
        collected,
        "weight",
        "Pupils on the roll that a record stands for, mean of area, stage and sex, rounded",
    )


def _access(described: ET.Element, study: Study) -> None:
    use = _add(_add(described, "dataAccs"), "useStmt")
    _add(use, "restrctn", study.restriction)
    _add(use, "conditions", study.conditions)


def _file(root: ET.Element, file: DescribedFile, number: int) -> None:
    text = _add(_add(root, "fileDscr", ID=f"F{number}"), "fileTxt")
    _add(text, "fileName", f"microdata/{file.name}.tab")
    part = f" (a part of microdata/{file.survey}.tab)" if file.is_extract else ""
    content = (
        f"Anonymised answers to the {file.survey} survey, one record a pupil{part}. The number of "
        "cases is to the nearest 10 here, since this document is open (1 to 9: <10); the file has "
        "the exact one"
    )
    _add(text, "fileCont", content)
    size = _add(text, "dimensns")
    _add(size, "caseQnty", str(rounded_count(file.records_n)))
    _add(size, "varQnty", str(len(file.variables)))
    _add(text, "fileType", "Tab-delimited text; the same as .sav, .dta and Parquet")


def _nature(variable: DescribedVariable) -> str:
    """The level of measurement, in DDI's words."""
    if variable.is_weight:
        return "ratio"
    return "ordinal" if variable.is_ordered else "nominal"


def _variable(
    data: ET.Element, variable: DescribedVariable, file: DescribedFile, number: int
) -> None:
    attributes = {"ID": f"F{number}_{variable.name}", "name": variable.name, "files": f"F{number}"}
    if variable.is_weight:
        attributes["wgt"] = "wgt"
    kind = "contin" if variable.is_weight else "discrete"
    element = _add(data, "var", **attributes, intrvl=kind, nature=_nature(variable))
    _add(element, "labl", variable.label)
    asked = f"; asked of {', '.join(variable.asked_of)} only" if variable.asked_of else ""
    _add(element, "universe", f"{file.universe}{asked}")
    for codes, missing in ((variable.values, "N"), (variable.missing, "Y")):
        for code, label in codes.items():
            category = _add(element, "catgry", missing=missing)
            _add(category, "catValu", code)
            _add(category, "labl", label)
    _add(element, "varFormat", type="character" if variable.is_text else "numeric")
