"""What each command does, and its words for people.

Belongs here: calling the rooms and the launcher, and printing; one module a group of commands.
Does not belong here: any work on data: everything is a Dagster run, a read of a package, or an
append to the drop register followed by a run (design.md, Execution). Dagster is imported only
by the commands that need it, since that takes seconds.
"""
