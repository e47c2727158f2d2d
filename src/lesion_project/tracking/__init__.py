"""Tracking with MLflow: the store, one run per `kedro run`, its contents, and the logged model."""

from lesion_project.tracking.description import Description, describe_run, flatten, merge, nest
from lesion_project.tracking.hooks import TrackingHooks
from lesion_project.tracking.run import TrackedRun, begin_run
from lesion_project.tracking.store import probe, resolve_experiment, resolve_uri

__all__ = [
    "Description",
    "TrackedRun",
    "TrackingHooks",
    "begin_run",
    "describe_run",
    "flatten",
    "merge",
    "nest",
    "probe",
    "resolve_experiment",
    "resolve_uri",
]
