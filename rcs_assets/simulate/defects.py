"""The typical defects of deliveries, and the list of what was planted.

Belongs here: how often each defect is planted and the book of what was. Does not belong
here: writing the files. Shares are [DES], near what domain.md 1.11 and 3.5 report.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

OPT_OUT_SHARE = 0.02
# Opt-outs that arrive after the pupil has answered: intake must take the answers out.
LATE_OPT_OUT_SHARE = 0.15
# Of secondary pupils' opt-outs, those that the pupil asked for; invented.
OPT_OUT_BY_PUPIL_SHARE = 0.3
REFUSAL_SHARE = 0.02
DUPLICATE_SHARE = 0.004
NOT_ON_SAMPLE_N = 3
OUT_OF_CODEBOOK_N = 4
# Submissions of nobody: under a UID of the other survey's stages; without any answer.
OTHER_STAGE_N = 3
NO_ANSWERS_N = 2
# Forms of a questionnaire: answers to what a form leaves out, a form that another stage has, a
# code that no form has.
FORM_ANSWERED_N = 5
FORM_OF_OTHER_STAGE_N = 2
UNKNOWN_FORM_N = 2
# Parents' interviews with an answer to the form of another age.
OTHER_FORM_N = 3
# Schools of a sample file: rows of nobody, and pupils from which a school's UIDs can be told.
SPECIAL_SCHOOL_N = 4
NAME_OF_OTHER_SCHOOL_N = 2
UNKNOWN_NAME_N = 2
LEAST_MISPLACED_N = 20
ROUTING_VIOLATION_SHARE = 0.004
SAMPLE_SCN_MISSING_SHARE = 0.01
EDUCATION_SCN_MISSING_SHARE = 0.02
EDUCATION_COVERAGE = 0.98
EDUCATION_UID_MISSING_SHARE = 0.15
NAME_TYPO_SHARE = 0.02
POSTCODE_MISSING_SHARE = 0.01
MOVED_HOME_SHARE = 0.03
BIRTH_DATE_MISSING_SHARE = 0.003
STAGE_DISAGREEMENT_SHARE = 0.003
DATAZONE_MISSING_SHARE = 0.01
# Social work extract: shares of its pupils' records.
SECOND_RECORD_SHARE = 0.005
SIBLING_RECORD_SHARE = 0.025
FOREIGN_RECORD_SHARE = 0.025
UNKNOWN_STATUS_N = 2
# Details of the extracts (attendance, CfE levels, child protection, exclusions).
DETAIL_ROWS_N = 3
DETAIL_ROWS_WITH_A_DEFECT_N = 100
# Small files stay whole: one bad row of few would be more than intake lets pass.
CLUSTER_ROWS_WITH_A_DEFECT_N = 22
# A code that no questionnaire version has.
OUT_OF_CODEBOOK_CODE = 77


@dataclass
class Planted:
    """What was planted where: the answer book of tests that count receipts."""

    rows: list[tuple[str, str, str, int]] = field(default_factory=list)

    def add(self, engagement: str, dataset: str, kind: str, n: int) -> None:
        """Record `n` defects of a kind in one delivery."""
        self.rows.append((engagement, dataset, kind, int(n)))

    def table(self) -> pd.DataFrame:
        """engagement, dataset, kind, n; only what was planted."""
        frame = pd.DataFrame(self.rows, columns=["engagement", "dataset", "kind", "n"])
        planted = frame[frame["n"] > 0].sort_values(["engagement", "dataset", "kind"])
        return planted.reset_index(drop=True)
