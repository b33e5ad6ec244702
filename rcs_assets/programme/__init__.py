"""Who takes part, when, with whom and by what approval: the programme register, as data.

Belongs here: the register's types, its data files, their reading, the approval rule and
the mark of simulated deliveries. Does not belong here: what is measured (`codebook`) and
anything about one child.
"""

from rcs_assets.programme.approvals import approval_problems
from rcs_assets.programme.load import load_programme
from rcs_assets.programme.model import (
    Approval,
    Cpp,
    DatedCode,
    Engagement,
    Programme,
    Settlement,
    SurveyWave,
    Tranche,
)
from rcs_assets.programme.provenance import read_simulated_manifest, write_simulated_manifest
from rcs_assets.programme.tables import programme_tables

__all__ = [
    "Approval",
    "Cpp",
    "DatedCode",
    "Engagement",
    "Programme",
    "Settlement",
    "SurveyWave",
    "Tranche",
    "approval_problems",
    "load_programme",
    "programme_tables",
    "read_simulated_manifest",
    "write_simulated_manifest",
]
