import json
import os
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest

import rcs_assets.release.publish as publishing
import rcs_assets.release.verify as verifying
from rcs_assets.cli import main
from rcs_assets.commands.terminal import DONE, REFUSED
from rcs_assets.errors import InputError, StorageError
from rcs_assets.release.files import file_list, write_checksums, write_json
from rcs_assets.release.gate import CheckRecord, CheckStatus
from rcs_assets.release.packages import (
    current_version,
    list_releases,
    show_release,
    version_order,
    versions,
)
from rcs_assets.release.publish import publish_candidate
from rcs_assets.release.seal import candidate_hash, is_as_made, note_seal
from rcs_assets.release.verify import verify_release
from rcs_assets.release.withdraw import withdraw_release

CHECKS = (CheckRecord("intake/receipts", "receipts_add_up", CheckStatus.PASSED, 5, 5, "0", "0"),)


def test_a_published_release_is_whole_and_current(released):
    assert current_version(released) == "2020.06.30"
    assert (released.releases / "current").is_symlink()
    verification = verify_release(released)
    assert verification.is_whole and verification.files_n > 40
    top = {p.name for p in (released.releases / "current").iterdir()}
    assert top == {
        "public", "cpp", "school", "archive", "safe_haven", "manifest.json", "SHA256SUMS",
        "evidence.html", "audit.jsonl",
    }  # fmt: skip
    assert not (released.releases / ".candidate").exists()


def test_sha256sum_agrees(released):
    done = subprocess.run(
        ["sha256sum", "-c", "--quiet", "SHA256SUMS"],
        cwd=released.releases / "current",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_list_and_show(released):
    (entry,) = list_releases(released)
    assert (entry.version, entry.is_current, entry.is_simulated) == ("2020.06.30", True, True)
    shown = show_release(released, "current")
    assert [p.name for p in shown.packages] == [
        "public", "cpp/t1-clackmannanshire", "cpp/t2-falkirk", "school/5500001",
        "archive/t1-clackmannanshire", "archive/t2-falkirk", "safe_haven",
    ]  # fmt: skip
    assert shown.packages[0].tables["estimates"] == 15 and shown.packages[0].bytes_n > 10_000


def test_the_same_content_makes_no_new_version(released, build):
    again = publish_candidate(released, build(released).content_hash, CHECKS)
    assert not again.is_new and versions(released) == ["2020.06.30"]


def test_other_content_on_the_same_day_is_numbered(pending, build, change_content):
    released, content_hash = pending
    publish_candidate(released, content_hash, CHECKS)
    change_content(released, 2)
    third = publish_candidate(released, build(released).content_hash, CHECKS)
    assert third.version == "2020.06.30.2" and current_version(released) == third.version
    assert versions(released) == ["2020.06.30", "2020.06.30.1", "2020.06.30.2"]
    assert all(verify_release(released, v).is_whole for v in versions(released))
    rows = show_release(released).packages[0].tables["releases"]
    assert rows == 3


def test_versions_are_ordered_by_number():
    names = ["2020.06.30.10", "2020.06.30.9", "2020.06.30", "2019.12.31.11"]
    assert sorted(names, key=version_order)[0] == "2019.12.31.11"
    assert sorted(names, key=version_order)[-1] == "2020.06.30.10"


class Killed(BaseException):
    """Stands for a signal 9."""


@pytest.mark.parametrize(
    "moment",
    [
        "evidence_page",
        "write_json",
        "write_checksums",
        "sync_tree",
        "_move",
        "_save_sealed",
        "_make_current",
    ],
)
def test_a_kill_leaves_the_last_release_and_the_next_call_completes(pending, monkeypatch, moment):
    released, content_hash = pending

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(publishing, moment, die)
        with pytest.raises(Killed):
            publish_candidate(released, content_hash, CHECKS)
    assert current_version(released) == "2020.06.30" and verify_release(released).is_whole
    publish_candidate(released, content_hash, CHECKS)
    assert current_version(released) == "2020.06.30.1" and verify_release(released).is_whole


def test_a_kill_after_the_move_and_then_other_content(pending, build, change_content, monkeypatch):
    released, content_hash = pending
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_make_current", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            publish_candidate(released, content_hash, CHECKS)
    change_content(released, 2)
    newest = publish_candidate(released, build(released).content_hash, CHECKS)
    assert newest.version == "2020.06.30.2" and verify_release(released).is_whole
    assert verify_release(released, "2020.06.30.1").is_whole


def test_a_candidate_that_the_gate_did_not_see_is_not_published(home, build):
    build(home)
    with pytest.raises(StorageError, match="is not there"):
        publish_candidate(home, "another hash", CHECKS)
    assert current_version(home) is None and versions(home) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "public" / "rcs.duckdb").write_bytes(b"x"), "is not as published"),
        (lambda f: (f / "evidence.html").unlink(), "evidence.html is missing"),
        (lambda f: (f / "public" / "extra.txt").write_text("x"), "was not published"),
        (lambda f: (f / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
        (lambda f: (f / "manifest.json").write_text("{"), "cannot be read"),
    ],
)
def test_verify_finds_damage(released, damage, words):
    damage(released.releases / "2020.06.30")
    verification = verify_release(released)
    assert not verification.is_whole and any(words in p for p in verification.problems)


def test_an_edit_that_mends_the_checksums_is_found(released):
    """Whoever edits a folder can write its checksums and manifest anew, not the audit log."""
    folder = released.releases / "2020.06.30"
    (folder / "public" / "report.html").write_text("another figure")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = file_list(folder, without=["manifest.json", "SHA256SUMS"])
    write_json(folder / "manifest.json", manifest)
    write_checksums(folder, file_list(folder, without=["SHA256SUMS"]))
    problems = " ".join(verify_release(released).problems)
    assert "not the ones that were checked and published" in problems
    assert "SHA256SUMS is not the one that was published" in problems


def test_a_full_disk_refuses_and_the_next_call_completes(pending, monkeypatch):
    released, content_hash = pending

    def to_a_full_disk(path, content):
        # The kernel answers each write: no space left on device.
        write_json(Path("/dev/full"), content)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "write_json", to_a_full_disk)
        with pytest.raises(StorageError, match="The disk is full"):
            publish_candidate(released, content_hash, CHECKS)
    assert current_version(released) == "2020.06.30" and verify_release(released).is_whole
    publish_candidate(released, content_hash, CHECKS)
    assert current_version(released) == "2020.06.30.1" and verify_release(released).is_whole


@pytest.mark.parametrize("strange", ["link", "folder link", "pipe"])
def test_a_candidate_with_something_that_is_no_file_is_not_published(
    pending, tmp_path, strange: str
):
    """What a link leads to can change after everybody signed."""
    released, content_hash = pending
    public = released.releases / ".candidate" / "public"
    note_seal(released, candidate_hash(public.parent))
    if strange == "link":
        page = shutil.move(public / "csv" / "estimates.csv", tmp_path / "page")
        (public / "csv" / "estimates.csv").symlink_to(page)
    elif strange == "folder link":
        shutil.move(public, tmp_path / "public")
        public.symlink_to(tmp_path / "public")
    else:
        os.mkfifo(public / "pipe")
    with pytest.raises(StorageError, match="no file of its own"):
        publish_candidate(released, content_hash, CHECKS)
    assert versions(released) == ["2020.06.30"] and not is_as_made(released)


def test_what_was_edited_or_is_gone_is_not_as_it_was_made(pending):
    released, content_hash = pending
    folder = released.releases / ".candidate"
    assert is_as_made(released)  # nothing was noted: no page was attached yet
    note_seal(released, candidate_hash(folder))
    assert is_as_made(released)
    file = folder / "public" / "csv" / "estimates.csv"
    before = file.read_bytes()
    file.write_bytes(before + b"x")
    assert not is_as_made(released)
    file.write_bytes(before)
    (folder / "candidate.json").rename(folder / "another.json")
    assert not is_as_made(released)
    (folder / "another.json").rename(folder / "candidate.json")
    kept = folder.rename(folder.with_name(".kept"))
    assert not is_as_made(released)
    kept.rename(folder)
    publish_candidate(released, content_hash, CHECKS)
    assert not folder.exists() and is_as_made(released)


def test_a_clock_that_was_set_back_publishes_nothing(pending):
    released, content_hash = pending
    with pytest.raises(StorageError, match="clock was set back"):
        publish_candidate(released, content_hash, CHECKS, day=date(2020, 6, 29))
    assert versions(released) == ["2020.06.30"] and verify_release(released).is_whole


def test_reading_without_a_release_says_what_to_do(home):
    with pytest.raises(InputError, match="Nothing was published"):
        show_release(home)
    with pytest.raises(InputError, match=r"no release 2001\.01\.01"):
        verify_release(home, "2001.01.01")


def test_a_broken_current_is_named(released):
    link = released.releases / "current"
    link.unlink()
    link.symlink_to("2001.01.01")
    with pytest.raises(StorageError, match="cannot be found"):
        current_version(released)


@pytest.mark.parametrize(
    "place",
    [
        ".candidate/audit.jsonl",
        ".candidate/SHA256SUMS",
        ".candidate/manifest.json",
        "audit.jsonl",
        "current",
    ],
)
def test_a_folder_that_stands_in_the_way_is_named(pending, place):
    released, content_hash = pending
    folder = released.releases / place
    if folder.exists():
        folder.unlink()
    folder.mkdir()
    with pytest.raises(StorageError, match="stands where publishing writes") as told:
        publish_candidate(released, content_hash, CHECKS)
    assert told.value.where == str(folder) and "remove it" in told.value.fix
    assert versions(released) == ["2020.06.30"]


def test_a_planted_file_is_written_anew(pending):
    released, content_hash = pending
    for name in ("SHA256SUMS", "audit.jsonl"):
        (released.releases / ".candidate" / name).write_text("planted")
    publish_candidate(released, content_hash, CHECKS)
    assert verify_release(released).is_whole


def _rename(folder):
    folder.rename(folder.with_name("2020.06.30-old"))


def _link_elsewhere(folder):
    folder.rename(folder.with_name("aside"))
    folder.symlink_to("aside")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_rename, "there is nothing of that name"),
        (lambda folder: (folder / "manifest.json").unlink(), "holds no manifest.json"),
        (_link_elsewhere, "it is no release"),
    ],
)
def test_a_current_release_that_cannot_be_found_is_named(released, damage, why, capsys):
    folder = released.releases / "2020.06.30"
    damage(folder)
    for command in (["release", "list"], ["release", "show"], ["release", "verify"], ["report"]):
        assert main([*command, "--home", str(released.path)]) == REFUSED
        said = capsys.readouterr().err
        assert f"Where: {folder}." in said and why in said
        assert "name it back" in said and "publish" not in said


def test_what_was_not_published_here_is_marked_and_not_read(released, capsys, monkeypatch):
    copy, link = (released.releases / name for name in ("2020.12.01", "2020.12.02"))
    shutil.copytree(released.releases / "2020.06.30", copy)
    link.symlink_to("/etc")
    place = ["--home", str(released.path)]
    assert main(["release", "list", *place]) == DONE
    assert capsys.readouterr().out.splitlines() == [
        "2020.06.30 (current)",
        "2020.12.01 (not published by this installation)",
        "Move what was not published by this installation out of "
        f"{released.releases}: the audit takes it as told",
    ]
    assert main(["release", "list", "--json", *place]) == DONE
    listed = json.loads(capsys.readouterr().out)
    assert [(r["version"], r["is_recorded"]) for r in listed] == [
        ("2020.06.30", True),
        ("2020.12.01", False),
    ]

    def read(*_, **__):
        raise AssertionError("a folder was read")

    monkeypatch.setattr(verifying, "file_list", read)
    for options in ([], ["--certificate"]):
        assert main(["release", "verify", "2020.12.01", *options, *place]) == REFUSED
        assert "was not published by this installation" in capsys.readouterr().err
        assert main(["release", "verify", "2020.12.02", *options, *place]) == REFUSED
        assert "A link is no release" in capsys.readouterr().err


def test_a_certificate_of_a_release_that_is_not_there_is_refused_in_words(released, capsys):
    place = ["--home", str(released.path)]
    assert main(["release", "verify", "2019.01.01", "--certificate", *place]) == REFUSED
    assert "There is no release 2019.01.01" in capsys.readouterr().err
    withdraw_release(released, "2020.06.30", reason="a test", by="anna", day=date(2020, 7, 1))
    assert main(["release", "verify", "2020.06.30", "--certificate", *place]) == REFUSED
    assert "Release 2020.06.30 was withdrawn" in capsys.readouterr().err
