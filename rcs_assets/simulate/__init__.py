"""Makes deliveries as the suppliers would send them, with a truth to test against.

Belongs here: fictitious pupils, answers, administrative records, service maps and
reference files in the suppliers' formats; the defects planted in them; the truth that
the platform never reads. Does not belong here: anything that a room of the platform
uses (no room imports `simulate`), linkage's standardisation and wellbeing's scoring:
the truth is computed by code of its own, from `programme` and `codebook` alone.
"""

from rcs_assets.simulate.run import SimulationReport, code_version, simulate
from rcs_assets.simulate.write import sign_files

__all__ = ["SimulationReport", "code_version", "sign_files", "simulate"]
