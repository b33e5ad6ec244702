"""Who may sign what: keys, signatures, revocation, tampering."""

from dataclasses import replace
from datetime import date

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rcs_assets.errors import ConfigurationError, GateRefusedError, InputError, StorageError
from rcs_assets.release.approval import (
    Approver,
    approve,
    is_genuine,
    load_approvers,
    new_key,
    proven,
    read_key,
    sign,
    store,
    stored,
)
from rcs_assets.release.gate import CandidateFacts, Decision
from rcs_assets.storage import Home

DAY = date(2020, 6, 30)
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode() * 8) for name in ("anna", "bert")}
APPROVERS = tuple(
    Approver(name, f"{name}.x", key.public_key().public_bytes_raw().hex(), date(2020, 1, 1))
    for name, key in KEYS.items()
)


def signed(
    name="anna", *, approvers=APPROVERS, candidate="bytes", author="carl", day=DAY, holds_on=DAY
):
    said = {"candidate": candidate, "release": "2020.06.30", "author": author, "day": day}
    return sign(KEYS[name], approvers, **said, holds_on=holds_on)


def asked(*signatures, approvers=APPROVERS, candidate="bytes", author="carl", today=DAY):
    found, problems = proven(signatures, approvers, candidate=candidate, author=author, today=today)
    return [approval.approver for approval in found], " ".join(problems)


def test_two_approvers_sign_the_same_candidate():
    assert asked(signed("anna"), signed("bert")) == (["anna", "bert"], "")


def test_a_signature_fits_no_other_candidate():
    names, problems = asked(signed(), candidate="edited")
    assert names == [] and "has been changed since" in problems


@pytest.mark.parametrize(
    "forged",
    [
        {"candidate": "edited"},
        {"day": "2020-06-29"},
        {"release": "2020.07.01"},
        {"signature": "00" * 64},
        {"signature": "no hex"},
    ],
)
def test_a_signature_that_was_edited_is_not_genuine(forged):
    signature = replace(signed(), **forged)
    assert is_genuine(signed()) and not is_genuine(signature)
    candidate = forged.get("candidate", "bytes")
    assert asked(signature, candidate=candidate)[0] == []


def test_a_key_put_in_the_place_of_another_does_not_count():
    other = replace(APPROVERS[0], public_key=APPROVERS[1].public_key)
    names, problems = asked(signed("bert"), approvers=(other,))
    assert names == [] and "not in the list" in problems


@pytest.mark.parametrize("author", ["anna", "anna.x"])
def test_the_author_may_not_approve(author):
    with pytest.raises(GateRefusedError, match="the author may not approve"):
        signed(author=author)
    # Signed while another was named as the author, and counted against the true one.
    names, problems = asked(signed(author="carl"), author=author)
    assert names == [] and "author may not" in problems


def test_a_revoked_key_counts_no_more_from_its_day_on():
    revoked = (replace(APPROVERS[0], revoked=date(2020, 7, 1), reason="laptop lost"), APPROVERS[1])
    assert asked(signed(), approvers=revoked)[0] == ["anna"]
    names, problems = asked(signed(), approvers=revoked, today=date(2020, 7, 1))
    assert names == [] and "revoked since 2020-07-01: laptop lost" in problems
    with pytest.raises(GateRefusedError, match="laptop lost"):
        signed(approvers=revoked, day=date(2020, 7, 2))


def test_a_revoked_key_signs_no_earlier_day_either():
    """`--as-of` names a day on which the key still held."""
    revoked = (replace(APPROVERS[0], revoked=date(2020, 7, 1), reason="laptop lost"),)
    assert signed(approvers=revoked).approver == "anna"
    with pytest.raises(GateRefusedError, match="laptop lost"):
        signed(approvers=revoked, holds_on=date(2020, 7, 2))


def test_a_key_signs_from_its_first_day_on():
    with pytest.raises(GateRefusedError, match="may sign from 2020-01-01"):
        signed(day=date(2019, 12, 31))


def test_a_stranger_may_not_sign():
    with pytest.raises(GateRefusedError, match="not in the list"):
        signed("bert", approvers=APPROVERS[:1])


def test_one_approver_counts_once(tmp_path):
    store(tmp_path, [signed("bert"), signed("anna"), signed("anna")])
    assert [signature.approver for signature in stored(tmp_path)] == ["anna", "bert"]
    assert {file.name for file in tmp_path.iterdir()} == {"approvals.json"}
    (tmp_path / "approvals.json").write_text("{}")
    with pytest.raises(StorageError, match="sign again"):
        stored(tmp_path)


def test_signatures_that_were_damaged_are_given_again(tmp_path):
    """What the refusal says to do is possible."""
    home = Home.open(tmp_path / "home")
    folder = home.releases / ".candidate"
    folder.mkdir(parents=True)
    (folder / "candidate.json").write_text('{"release": "2020.06.30"}')
    keys = {name: tmp_path / f"{name}.pem" for name in KEYS}
    rows = "".join(
        f"  - {{name: {name}, account: {name}.x, public_key: '{new_key(file)}', "
        "since: 2020-01-01}\n"
        for name, file in keys.items()
    )
    home.config.mkdir(exist_ok=True)
    (home.config / "approvers.yaml").write_text(f"approvers:\n{rows}")
    facts = CandidateFacts("abc", "abc", 9, {}, frozenset(), "1", candidate_hash="bytes")

    def give(name):
        approve(home, Decision((), ("needs 2 signatures",)), facts, read_key(keys[name]), DAY)
        return [signature.approver for signature in stored(folder)]

    assert give("anna") == ["anna"]
    (folder / "approvals.json").write_text('{"approvals": [')
    assert give("bert") == ["bert"] and give("anna") == ["anna", "bert"]
    assert {file.name for file in home.releases.iterdir()} == {".candidate", "audit.jsonl"}


def test_a_key_is_made_kept_and_read(tmp_path):
    file = tmp_path / "anna.pem"
    public = new_key(file, "open sesame")
    assert file.stat().st_mode & 0o777 == 0o600 and len(public) == 64
    key = read_key(file, "open sesame")
    assert key.public_key().public_bytes_raw().hex() == public
    with pytest.raises(InputError, match="passphrase"):
        read_key(file, "wrong")
    with pytest.raises(InputError, match="such a file already"):
        new_key(file)
    file.chmod(0o644)
    with pytest.raises(InputError, match="read by others"):
        read_key(file, "open sesame")
    with pytest.raises(InputError, match="no such key"):
        read_key(tmp_path / "none.pem")


ROW = "{name: anna, account: anna.x, public_key: '" + "ab" * 32 + "', since: 2020-01-01"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("[{name: anna}]", "an entry needs"),
        (f"[{ROW}, colour: red}}]", "an entry needs"),
        (f"[{ROW}}}, {ROW}}}]", "same name"),
        (f"[{ROW}}}, {ROW.replace('anna', 'Anna', 1).replace('ab', 'cd')}}}]", "same name"),
        (f"[{ROW}, revoked: 2020-02-02}}]", "without a reason"),
        ("[{name: a, account: b, public_key: 'abcd', since: 2020-01-01}]", "64 hexadecimal"),
        ("nothing", "an entry needs"),
        ("[{name: a, account: b, public_key: 'zz', since: 2020-01-01}]", "not in its form"),
    ],
)
def test_a_wrong_list_of_approvers_is_refused(tmp_path, rows, words):
    (tmp_path / "approvers.yaml").write_text(f"approvers: {rows}\n")
    with pytest.raises(ConfigurationError, match=words):
        load_approvers(tmp_path)


def test_the_platform_names_nobody_and_an_overlay_does(tmp_path):
    assert load_approvers(tmp_path) == ()
    (tmp_path / "approvers.yaml").write_text(
        f"approvers: [{ROW}, revoked: 2020-02-02, reason: left}}]\n"
    )
    (found,) = load_approvers(tmp_path)
    assert (found.name, found.revoked, found.reason) == ("anna", date(2020, 2, 2), "left")


@pytest.mark.parametrize("author", ["Anna", "anna ", "ANNA.X", "\uff41nna"])
def test_an_author_is_known_however_the_name_is_written(author: str) -> None:
    anna = Approver("anna", "anna.x", "ab" * 32, date(2020, 1, 1))
    assert anna.is_author(author) and not anna.is_author("anne")
