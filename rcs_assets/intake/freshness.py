"""What each part of the warehouse should be computed from now, and which parts are not.

Belongs here: the fingerprint of a part, made of delivered files, code, codebook, programme,
approvals, clerks' decisions and generations of keys, and its comparison with the one that
stands in the warehouse. Does not belong here: where fingerprints are kept
(`storage.fingerprints`), who writes them (`rcs_assets.sessions`), what is run
(`rcs_assets.runs`), whether to publish (`release`).

A *part* is an engagement, `reference` (unpartitioned data that engagements read), `outputs`
(what sees all engagements, up to the candidate) or `tracking` (how far each CPP has come).
Content decides, never a file's time (design.md, Execution).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from rcs_assets.codebook import load_codebook
from rcs_assets.intake.adapted import FILE as ADAPTED_FILE
from rcs_assets.intake.drop import Delivery, current_deliveries
from rcs_assets.intake.schools import RULES_FILE, SPECIAL_FILE
from rcs_assets.programme import approval_problems, load_programme
from rcs_assets.programme.tracking import FILES as TRACKING_FILES
from rcs_assets.programme.tracking import load_tracking, readiness_problems
from rcs_assets.storage import Home, Settings, open_warehouse
from rcs_assets.storage.code import code_version
from rcs_assets.storage.decision_log import settled_marks
from rcs_assets.storage.fingerprints import REFERENCE, recorded_fingerprints
from rcs_assets.storage.keyring import VAULT, key_generations

OUTPUTS = "outputs"
# Rules of intake itself: an adopter's version of them changes what is taken in.
_OVERLAYS = (RULES_FILE, SPECIAL_FILE, ADAPTED_FILE)
TRACKING = "tracking"


def wanted_fingerprints(
    home: Home, left_out: Sequence[str] = (), as_of: date | None = None
) -> dict[str, str]:
    """Part → fingerprint of what it should be computed from, for all that was delivered.

    Args:
        home: the installation.
        left_out: engagements that the operator leaves out of the release.
        as_of: the day on which approvals must hold; the environment's if not given.
    """
    day = as_of or Settings.from_environment().as_of
    settings = [
        code_version(),
        load_programme(home.config).version,
        load_codebook(home.config).version,
        *(_file_hash(home.config / name) for name in _OVERLAYS if (home.config / name).is_file()),
        # A key that was rotated gives other ids; without a rotation nothing stands here. Of the
        # vault's nothing is computed.
        *(f"key {name} {n}" for name, n in key_generations(home).items() if name != VAULT),
    ]
    deliveries = current_deliveries(home).values()
    reference = _digest(*settings, *_hashes(d for d in deliveries if d.engagement is None))
    wanted = {REFERENCE: reference}
    decided = settled_marks(home)
    for key in sorted({d.engagement for d in deliveries if d.engagement}):
        own = _hashes(d for d in deliveries if d.engagement == key)
        # Leaving an engagement out changes what the checks of its tables ask.
        state = (
            *_approval_problems(home, key, day),
            *_readiness_problems(home, key, day),
            f"left out: {key in left_out}",
        )
        # Where clerks decided nothing, nothing stands here.
        wanted[key] = _digest(reference, *own, "|", *state, *decided.get(key, "").split())
    overlay = [_file_hash(file) for file in sorted(home.config.rglob("*")) if _is_read(file, home)]
    computed = sorted(wanted.values())
    wanted[TRACKING] = _digest(*settings, load_tracking(home.config).version)
    wanted[OUTPUTS] = _digest(*computed, *sorted(left_out), "|", *overlay)
    return wanted


def _is_read(file: Path, home: Home) -> bool:
    """Whether figures depend on an overlay file; on how far a CPP has come none does."""
    return file.is_file() and not (file.parent == home.config and file.name in TRACKING_FILES)


def stale_parts(home: Home, wanted: dict[str, str]) -> frozenset[str]:
    """The parts that are not computed from what is wanted; all of them without a warehouse."""
    known = _known_fingerprints(home)
    return frozenset(unit for unit, value in wanted.items() if known.get(unit) != value)


def stale_inputs(
    home: Home, left_out: Sequence[str] = (), as_of: date | None = None
) -> tuple[str, ...]:
    """Engagements, and `reference`, that a release of now must not be made of, in order.

    An engagement that is left out is no part of the release and does not count.
    """
    stale = stale_parts(home, wanted_fingerprints(home, left_out, as_of))
    return tuple(sorted(stale - {OUTPUTS, TRACKING, *left_out}))


def _approval_problems(home: Home, engagement: str, day: date) -> tuple[str, ...]:
    """An approval that expires, or is given, changes what may be computed."""
    return approval_problems(
        load_programme(home.config),
        engagement,
        home.permission_day(day),
        placeholders_allowed=home.profile == "demo",
    )


def _readiness_problems(home: Home, engagement: str, day: date) -> tuple[str, ...]:
    """What the check of readiness would say is asked anew when it changes."""
    return readiness_problems(
        load_programme(home.config),
        load_tracking(home.config),
        engagement,
        day,
        placeholders_allowed=home.profile == "demo",
    )


def _hashes(deliveries: Iterable[Delivery]) -> list[str]:
    return sorted(f"{d.dataset}:{d.sha256}:{d.is_simulated}:{bool(d.refused)}" for d in deliveries)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _file_hash(file: Path) -> str:
    return file.name + hashlib.sha256(file.read_bytes()).hexdigest()


def _known_fingerprints(home: Home) -> dict[str, str]:
    if not (home.warehouse.exists() and home.vault.exists()):
        return {}
    with open_warehouse(home, read_only=True) as con:
        return recorded_fingerprints(con)
