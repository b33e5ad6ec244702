"""Files of an overlay that are wrong: loader and doctor name file, key and rule.

No file may end in an error of Python's, and none may be taken in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rcs_assets.cli import main
from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.errors import ConfigurationError
from rcs_assets.intake.faults import rule_words
from rcs_assets.intake.schools import load_school_rules
from rcs_assets.linkage.encodings import load_encoding_rules
from rcs_assets.linkage.fieldwork import load_response_rules
from rcs_assets.linkage.settings import (
    load_forms,
    load_link_rules,
    load_model_rules,
    load_quality_rules,
)
from rcs_assets.programme.tracking import load_tracking
from rcs_assets.release.approval import load_approvers
from rcs_assets.research import load_findings_rules
from rcs_assets.services import load_reach_rules
from rcs_assets.services.complex_asn import load_complex_asn
from rcs_assets.services.link_items import load_link_items
from rcs_assets.storage import Home
from rcs_assets.wellbeing.estimators import load_estimators
from rcs_assets.wellbeing.salsus import load_measures

LOADERS: dict[str, Callable[[Path], Any]] = {
    "approvers.yaml": load_approvers,
    "complex_asn.yaml": lambda config: load_complex_asn(load_codebook(), config),
    "datasets.yaml": load_codebook,
    "diminutives.yaml": load_forms,
    "encodings.yaml": load_encoding_rules,
    "estimators.yaml": load_estimators,
    "findings.yaml": lambda config: load_findings_rules(load_codebook(), config),
    "link_items.yaml": load_link_items,
    "linkage.yaml": load_link_rules,
    "model.yaml": load_model_rules,
    "policy.yaml": load_policy,
    "quality.yaml": load_quality_rules,
    "reach.yaml": load_reach_rules,
    "response.yaml": load_response_rules,
    "rules.yaml": rule_words,
    "salsus.yaml": load_measures,
    "schools.yaml": load_school_rules,
    "tracking.yaml": load_tracking,
}
# What is wrong in any file, whatever its keys are: content → part of the message.
ANYWHERE = {
    "some: {day: 2026-02-30}": "row 1, key some.day. Why: there is no such day",
    "some: 1\nother: 2\nsome: 3": "row 3, key some. Why: the key stands twice",
    "some: {list: [1, .inf]}": "key some.list.2. Why: a number is needed",
    "some: .nan": "key some. Why: a number is needed",
    "some: 1.0e+999": "key some. Why: a number is needed",
    "some: 99999999999999999999": "key some. Why: a number is needed",
    "some:\n\t- 1": "is not YAML. Where: file {file}, row 2",
    "some: [": "is not YAML",
    "some: caf\xe9": "is not UTF-8",
    "- some": "",
    "": "",
}
ROW = "{name: a, account: b, public_key: '" + "ab" * 32 + "', since: %s}"
# File, content, and part of the message.
WRONG = [
    ("policy.yaml", "output_classes:", "key output_classes."),
    ("policy.yaml", "output_classes: [{name: public, base: much}]", "key output_classes.1."),
    ("policy.yaml", "output_classes: [{name: public, n_step: 'nan'}]", "n_step is no number"),
    ("policy.yaml", "output_classes: [{name: public, mean_step: 'inf'}]", "mean_step is no number"),
    ("policy.yaml", "output_classes: [{name: public, base: 1.0e+300}]", ".1.base. Why: a number"),
    ("policy.yaml", "audiences: {public: {output_classes: {}}}", "key audiences.public."),
    ("policy.yaml", "clusters: {protected_as: []}", "key clusters.protected_as."),
    ("policy.yaml", "clusters: {least_schools: many}", "key clusters.least_schools."),
    ("policy.yaml", "statuses:", "key statuses."),
    ("policy.yaml", "nothing: {}", "no block nothing"),
    ("estimators.yaml", "confidence: '0,95'", "key confidence."),
    ("estimators.yaml", "confidence: 'nan'", "confidence is no number"),
    ("estimators.yaml", "schools_for_clusters: many", "key schools_for_clusters."),
    ("salsus.yaml", "measures: {a: {statistic: pct, score: 5, published: b}}", "key measures."),
    ("encodings.yaml", "bits: many", "key bits."),
    ("encodings.yaml", "auto_weight: 'nan'", "auto_weight is no number"),
    ("encodings.yaml", "fields: {surname: {pieces: letters, bits: many}}", "key fields."),
    ("linkage.yaml", "passes: []", "passes (numbers rise)"),
    ("linkage.yaml", "passes:", "key passes."),
    ("linkage.yaml", "thresholds: {auto: seven}", "key thresholds."),
    ("linkage.yaml", "nothing: 1", "Unknown keys: nothing"),
    ("model.yaml", "comparisons:", "key comparisons."),
    ("model.yaml", "comparisons: [{field: sex, levels: [{name: same, when: else, m: -1, u: 1}]}]",
     "sex: m and u are shares"),
    ("model.yaml", "comparisons: [{field: hair, levels: []}]", "comparisons and blocks are of"),
    ("model.yaml", "extra_field: [{name: same, when: else, m: 0.5, u: 'nan'}]", "key extra_field."),
    ("model.yaml", "years_alone:", "key years_alone."),
    ("diminutives.yaml", "forms: {ANNE: ANN}", "ANNE takes a list of names"),
    ("diminutives.yaml", "forms: {NO: [NORA]}", "put quotes around a bare NO"),
    ("quality.yaml", "weight_cells:", "key weight_cells."),
    ("response.yaml", "low_response_pct: few", "key low_response_pct."),
    ("response.yaml", "counts:", "key counts."),
    ("schools.yaml", "doubt_from: 'nan'", "doubt_from is no number"),
    ("schools.yaml", "spellings:", "key spellings."),
    ("tracking.yaml", "slot_months:", "key slot_months."),
    ("tracking.yaml", "active_max_n: 1.0e+300", "active_max_n. Why: a number is needed"),
    ("reach.yaml", "other_thresholds: ['nan']", "other_thresholds is no number"),
    ("reach.yaml", "needs: {a: {title: a}}", "key needs."),
    ("findings.yaml", "factors:", "key factors."),
    ("complex_asn.yaml", "conditions: [5]", "key conditions."),
    ("complex_asn.yaml", "confidence: much", "key confidence."),
    ("link_items.yaml", "a: {guideline: a, label: b, answer: '{'}", "entry a."),
    ("link_items.yaml", "a: nothing", "an entry is a mapping"),
    ("rules.yaml", "blank: {}", "entry blank. Why: An entry is not complete"),
    ("datasets.yaml", "sample_file:", "entry sample_file. Why: an entry is a mapping"),
    ("approvers.yaml", "approvers:", "not in its form"),
    ("approvers.yaml", "approvers: [5]", "not in its form"),
    ("approvers.yaml", f"approvers: [{ROW % '2026-01-01 10:00:00'}]", "not in its form"),
]  # fmt: skip
EVERY = [
    *WRONG,
    *((file, content, said) for content, said in ANYWHERE.items() for file in LOADERS),
]


@pytest.mark.parametrize(("file", "content", "said"), EVERY)
def test_a_wrong_file_is_refused_by_its_room(
    file: str, content: str, said: str, tmp_path: Path
) -> None:
    config = _config(tmp_path, file, content)
    with pytest.raises(ConfigurationError) as refused:
        LOADERS[file](config)
    assert said.format(file=f"config/{file}") in str(refused.value)
    assert f"config/{file}" in refused.value.where
    assert refused.value.fix


@pytest.mark.parametrize(("file", "content", "said"), WRONG)
def test_the_doctor_names_a_wrong_file_once(
    file: str, content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _config(tmp_path, file, content)
    failed = _failed(tmp_path, capsys)
    assert len(failed) == 1
    assert f"config/{file}" in failed[0]
    assert said in failed[0]


def test_the_doctor_names_every_wrong_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in LOADERS:
        _config(tmp_path, file, "some: {day: 2026-02-30}")
    failed = _failed(tmp_path, capsys)
    assert sorted(line.split(" is not valid")[0] for line in failed) == [
        f"FAIL  rules: config/{file}" for file in sorted(LOADERS)
    ]


def test_an_overlay_without_fault_has_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _config(tmp_path, "estimators.yaml", "schools_for_clusters: 20")
    assert _failed(tmp_path, capsys) == []


def _config(home: Path, file: str, content: str) -> Path:
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / file).write_bytes(content.encode("latin-1"))
    return home / "config"


def _failed(home: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the doctor says of the rules; its exit status says the same."""
    Home.open(home, profile="demo")
    status = main(["doctor", "--home", str(home)])
    lines = capsys.readouterr().out.splitlines()
    assert any("rules: " in line for line in lines)
    failed = [line for line in lines if line.startswith("FAIL  rules: ")]
    assert status == 1 or not failed
    return failed
