"""Names in an overlay folder: what a room reads is taken, what none reads is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest

from data_quality import thresholds
from rcs_assets import doctor
from rcs_assets.build import build_defs
from rcs_assets.cli import main
from rcs_assets.errors import ConfigurationError
from rcs_assets.linkage.model import FITTED_FILE
from rcs_assets.overlays import FILES, refuse_unread
from rcs_assets.programme.datafile import DataFolder
from rcs_assets.storage import Home


def write(home: Path, *names: str) -> Path:
    config = home / "config"
    for name in names:
        (config / name).parent.mkdir(parents=True, exist_ok=True)
        (config / name).write_text("")
    return config


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("privcay.csv", "privcay.csv (nearest that is read: privacy.csv)"),
        ("policy.yml", "policy.yml (nearest that is read: policy.yaml)"),
        ("THRESHOLDS.CSV", "THRESHOLDS.CSV (nearest that is read: thresholds.csv)"),
        ("waves.cvs", "waves.cvs (nearest that is read: waves.csv)"),
        ("waves (copy).csv", "waves (copy).csv (nearest that is read: waves.csv)"),
        ("zzz.bin", "zzz.bin"),
        ("summary/t2-falkirk.md", "summary (nearest that is read: summaries)"),
        ("waves.csv/a.csv", "waves.csv"),
        ("summaries/t2-falkrik.md", "t2-falkrik.md (nearest that is read: t2-falkirk.md)"),
    ],
)
def test_a_name_that_nothing_reads_is_refused_with_the_nearest(
    name: str, said: str, tmp_path: Path
) -> None:
    config = write(tmp_path, "match_model.json", name)
    with pytest.raises(ConfigurationError) as refused:
        refuse_unread(config)
    assert refused.value.where == f"folder {config}: {said}"
    assert "correct the name" in refused.value.fix


def test_a_file_of_the_platform_that_takes_no_overlay_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tables\.yaml"):
        refuse_unread(write(tmp_path, "tables.yaml"))


def test_every_such_name_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        refuse_unread(write(tmp_path, "privcay.csv", "wave.csv"))
    assert "privcay.csv (" in refused.value.where and "wave.csv (" in refused.value.where


def test_what_is_read_and_what_is_nobody_s_mistake_is_taken(
    tmp_path: Path, repo_root: Path
) -> None:
    kept = ("codebooks/2026-spring/platform/variables.csv", "summaries/t2-falkirk.md")
    aside = ("README.md", "notes.txt", ".gitignore", "waves.csv~", "~$waves.csv")
    config = write(tmp_path, FITTED_FILE, *kept, *aside)
    shipped = {file.name: file for file in repo_root.glob("rcs_assets/*/data/*")}
    shipped |= {file.name: file for file in repo_root.glob("data_quality/*.csv")}
    for name in FILES - {FITTED_FILE}:
        shutil.copyfile(shipped[name], config / name)
    refuse_unread(config)
    refuse_unread(tmp_path / "none")


def test_the_names_are_those_that_the_rooms_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    sources = DataFolder.sources

    def noted(folder: DataFolder, file: str) -> tuple[tuple[str, Path], ...]:
        asked.add(file)
        return sources(folder, file)

    monkeypatch.setattr(DataFolder, "sources", noted)
    for load in doctor._LOADERS:
        load(write(tmp_path))
    # Read otherwise: by the expectations, and a model that an adopter fitted.
    others = {FITTED_FILE, thresholds.THRESHOLDS, thresholds.BENCHMARKS}
    assert asked | others == FILES


def test_the_doctor_and_a_command_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Home.open(tmp_path, profile="demo")
    write(tmp_path, "privcay.csv")
    assert main(["doctor", "--home", str(tmp_path)]) == 1
    found = capsys.readouterr().out.splitlines()
    assert sum("nearest that is read: privacy.csv" in line for line in found) == 1
    for command in (["materialise"], ["release", "publish"], ["deliver", __file__]):
        assert main([*command, "--home", str(tmp_path)]) == 1
        assert "nearest that is read: privacy.csv" in capsys.readouterr().err


def test_a_run_of_the_ui_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Home.open(tmp_path, profile="demo")
    write(tmp_path, "privcay.csv")
    monkeypatch.setenv("RCS_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            build_defs()
            .resolve_job_def("reference")
            .execute_in_process(instance=instance, raise_on_error=False)
        )
        said = [str(record.event_specific_data) for record in result.all_events]
    assert not result.success
    assert any("nearest that is read: privacy.csv" in text for text in said)
