"""Reads the codebook from its data files.

Belongs here: which files and columns make the codebook, and their assembly. Does not
belong here: the types (`model.py`) and the rules of each part (`questions.py`,
`measures.py`, `indicators.py`, `contracts.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from rcs_assets.codebook.contracts import FILE as DATASETS_FILE
from rcs_assets.codebook.contracts import read_datasets
from rcs_assets.codebook.forms import FILE as FORMS_FILE
from rcs_assets.codebook.forms import with_forms
from rcs_assets.codebook.indicators import (
    Measures,
    read_cutoff_sets,
    read_definition_sets,
    read_indicators,
    scores_of,
)
from rcs_assets.codebook.measures import read_conversions, read_instruments
from rcs_assets.codebook.model import Codebook
from rcs_assets.codebook.questions import (
    ORDERED_FILE,
    read_missing,
    read_questionnaires,
    read_value_sets,
    read_variables,
    read_version_changes,
)
from rcs_assets.programme.datafile import DataFolder, read_rows

# File → its columns; the first `KEY_SIZES[file]` of them (else one) identify a row.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    file: tuple(columns.split())
    for file, columns in {
        "missing_codes.csv": "code name label leaves_denominator leaves_hwb_denominator source",
        "value_sets.csv": "value_set code label",
        ORDERED_FILE: "value_set source",
        "variables.csv": "name label theme value_set surveys stages is_sensitive source",
        "routing.csv": "variable asked_if codes source",
        "questionnaires.csv": "name tranche survey contractor wave uid_name completed_on_name "
        "wave_name take_part_name take_part_yes naming coding source",
        FORMS_FILE: "questionnaire form supplier_name supplier_code title stages left_out source",
        "supplier_names.csv": "naming variable supplier_name",
        "version_changes.csv": "questionnaire variable change breaks_comparability note source",
        "codings.csv": "coding value_set supplier_code code",
        "supplier_labels.csv": "coding value_set supplier_code label",
        "instruments.csv": "name title surveys stages source",
        "scales.csv": "name instrument title method min_answered low high conversion "
        "zero_if source",
        "items.csv": "scale variable position is_reversed minimum maximum points",
        "composites.csv": "name instrument title scales source",
        "bands.csv": "score bands number label lower upper source",
        "conversions.csv": "conversion raw metric source",
        "cutoff_sets.csv": "name score operator cut source_tranches mean sd k dated source",
        "definition_sets.csv": "name title missing_rule denominator is_weighted dated source",
        "indicators.csv": "name title domain second_domain direction statistic survey stages "
        "rule variables positive_codes base_codes score lower upper cutoff_set definition "
        "denominator instrument is_sensitive source sentence is_core",
    }.items()
}
KEY_SIZES: Mapping[str, int] = {
    "value_sets.csv": 2,
    FORMS_FILE: 2,
    "supplier_names.csv": 2,
    "version_changes.csv": 3,
    "codings.csv": 3,
    "supplier_labels.csv": 4,
    "items.csv": 2,
    "bands.csv": 3,
    "conversions.csv": 2,
}
# The platform's own files, and every file that makes a codebook.
PLATFORM = Path(__file__).parent / "data"
FILES = (*COLUMNS, DATASETS_FILE)
# Files that a codebook which was kept before there were any (`frozen.py`) is without.
_LATER = (FORMS_FILE, ORDERED_FILE)


def load_codebook(overlay: Path | None = None, defaults: Path = PLATFORM) -> Codebook:
    """The codebook: defaults of the package, with an adopter's rows laid over them.

    Args:
        overlay: a folder with files of the same names (`$RCS_HOME/config`); a row of the
            same key replaces, another key adds. None or a missing file: defaults only.
        defaults: the platform's own files, or those of a version that was kept (`frozen.py`).

    Returns:
        The codebook, every reference in it resolved. The same files give the same object.

    Raises:
        ConfigurationError: names file, row, column, rule and fix.
    """
    folder = DataFolder("codebook", defaults, overlay).used_for(FILES)
    return _load(folder, folder.version(file for file in FILES if _is_part(folder, file)))


def _is_part(folder: DataFolder, file: str) -> bool:
    return file not in _LATER or folder.defaults == PLATFORM or (folder.defaults / file).is_file()


@lru_cache(maxsize=8)
def _load(folder: DataFolder, version: str) -> Codebook:
    rows = {
        file: read_rows(folder, file, columns, columns[: KEY_SIZES.get(file, 1)])
        if _is_part(folder, file)
        else ()
        for file, columns in COLUMNS.items()
    }
    missing = read_missing(rows)
    value_sets = read_value_sets(rows)
    variables = read_variables(rows, value_sets)
    changes = read_version_changes(rows, variables)
    conversions = read_conversions(rows)
    instruments = read_instruments(rows, variables, value_sets, conversions)
    scores = scores_of(instruments, conversions)
    cutoff_sets = read_cutoff_sets(rows, scores)
    versions = read_questionnaires(rows, variables, value_sets, missing, changes)
    return Codebook(
        version=version,
        missing=missing,
        value_sets=value_sets,
        variables=variables,
        questionnaires=with_forms(rows[FORMS_FILE], versions, variables),
        instruments=instruments,
        conversions=conversions,
        cutoff_sets=cutoff_sets,
        definition_sets=read_definition_sets(rows),
        indicators=read_indicators(rows, Measures(variables, value_sets, scores, cutoff_sets)),
        datasets=read_datasets(folder),
        version_changes=changes,
    )
