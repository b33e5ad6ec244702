"""From protected tables to packages that passed the gate.

Belongs here: building the candidate, the gate, publishing whole or not at all, reading and
verifying what was published. Does not belong here: deciding what may be shown
(`disclosure`) and documents made from a release (`reporting`).
"""
