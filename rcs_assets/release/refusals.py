"""Records in the audit log that the gate refused.

Belongs here: one entry, as far as the log can take it. Does not belong here: the reasons
in full, which the run tells its operator and which may name deliveries.
"""

from __future__ import annotations

from datetime import date

from rcs_assets.errors import StorageError
from rcs_assets.release.audit_log import Entry, Event, read_log, record, save_log
from rcs_assets.release.gate import Decision
from rcs_assets.storage import Home


def record_refusal(home: Home, candidate: str, decision: Decision, day: date) -> None:
    """Record that this candidate was refused; once for the same candidate and reasons.

    A log that was changed, a clock that was set back or a full disk is itself the reason: then
    nothing is recorded.
    """
    told = {
        "state": decision.state.value,
        "unproven": str(len(decision.unproven)),
        "unsigned": str(len(decision.unsigned)),
    }
    try:
        log = read_log(home)
        same = [e for e in log.entries[-1:] if e.event == Event.REFUSED]
        if not same or (same[0].candidate, dict(same[0].details)) != (candidate, told):
            save_log(home, record(log, Entry(Event.REFUSED, str(day), "", candidate, told)))
    except (StorageError, OSError):
        return
