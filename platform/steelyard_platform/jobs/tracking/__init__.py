"""Runs: trainings that were done elsewhere and report here, as the faces call them. `steelyard_contracts.tracking`.

    starting      start_run, resume_run
    finding       find_run, runs_of
    reporting     write_points, write_lines, write_sample: each answers whether the run is to end
    changing      update_run, save_version, finish_run, end_unheard_runs

A run is a job of kind `run`, in the state `running` from its start to its end. Who may write to its project reports to
it, with a token of their own: there is no lease, and silence loses nothing. `jobs.services.cancel_job` asks it to end.
"""

from steelyard_platform.jobs.tracking.changing import end_unheard_runs, finish_run, save_version, update_run
from steelyard_platform.jobs.tracking.finding import find_run, runs_of
from steelyard_platform.jobs.tracking.reporting import write_lines, write_points, write_sample
from steelyard_platform.jobs.tracking.starting import resume_run, start_run

__all__ = [
    "end_unheard_runs",
    "find_run",
    "finish_run",
    "resume_run",
    "runs_of",
    "save_version",
    "start_run",
    "update_run",
    "write_lines",
    "write_points",
    "write_sample",
]
