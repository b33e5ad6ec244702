"""A production home: nothing is published without two signatures over exactly these bytes."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from rcs_assets.release.approval import new_key
from tests.conftest import DEMO_DAY, CommandResult, ReleasedHome, run_rcs
from tests.drop import plain_copies

APPROVERS = ("anna", "bert")


def prepare(home: Path, folder: Path) -> dict[str, Path]:
    """Approvals and assessments that are no placeholders, and two approvers with keys."""
    config = home / "config"
    config.mkdir(parents=True)
    for name in ("privacy.csv", "readiness.csv"):
        text = (resources.files("rcs_assets.programme") / "data" / name).read_text("utf-8")
        written = text.replace("placeholder for demonstrations", "written for a test")
        (config / name).write_text(written)
    keys = {name: folder / f"{name}.pem" for name in (*APPROVERS, "carl")}
    rows = "".join(
        f"  - {{name: {name}, account: {name}.x, public_key: '{new_key(file)}', "
        "since: 2020-01-01}\n"
        for name, file in keys.items()
    )
    (config / "approvers.yaml").write_text(f"approvers:\n{rows}")
    return keys


@pytest.mark.slow
def test_two_people_approve_and_a_release_is_published(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    home = tmp_path / "production"

    def rcs(*arguments: str | Path) -> CommandResult:
        return run_rcs(*arguments, "--home", home, "--as-of", DEMO_DAY, RCS_OPERATOR="carl")

    keys = prepare(home, tmp_path)
    files = plain_copies(released_home.copy(tmp_path / "source"))
    keyless = rcs("deliver", *files)
    assert keyless.status == 1 and "no keys yet" in keyless.stderr, keyless.output
    assert not (home / "drop" / "register.jsonl").exists()
    assert rcs("keys", "new").status == 0
    delivered = rcs("deliver", *files)
    assert delivered.status == 0, delivered.output
    refused = rcs("materialise", "--publish")
    assert refused.status == 1 and "needs 2 signatures" in refused.stderr, refused.output
    assert not (home / "releases" / "current").exists()
    told = json.loads(rcs("release", "show", "candidate", "--json").stdout)
    assert (told["state"], told["author"]) == ("checked", "carl")

    by_author = rcs("release", "approve", "--key", keys["carl"])
    assert by_author.status == 1 and "author may not approve" in by_author.stderr
    for name in APPROVERS:
        signed = rcs("release", "approve", "--key", keys[name])
        assert signed.status == 0, signed.output
    page = home / "releases" / ".candidate" / "public" / "parquet" / "reach.parquet"
    content = page.read_bytes()
    page.write_bytes(content + b"x")
    tampered = rcs("release", "publish")
    assert tampered.status == 1 and "were changed after" in tampered.stderr, tampered.output
    page.write_bytes(content)
    published = rcs("release", "publish")
    assert published.status == 0, published.output
    verified = json.loads(rcs("release", "verify", "--json").stdout)
    assert verified["is_whole"] and verified["approvers"] == list(APPROVERS)
    assert verified["state"] == "published"

    taken = rcs("release", "withdraw", "current", "--reason", "a test", "--by", "anna")
    assert taken.status == 0 and "none" in taken.stdout, taken.output
    again = rcs("release", "publish")
    assert again.status == 1 and "was withdrawn" in again.stderr, again.output
