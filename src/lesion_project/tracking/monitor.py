"""MLflow's system metrics, for those who ask for them as MLflow's users do."""

import importlib.util
import logging
from typing import Any

from lesion_segmentation.core.errors import InputError


def require_monitor() -> None:
    """What MLflow measures with must be there where it is asked to.

    Raises:
        InputError: MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is true, and psutil is not installed.
    """
    if _asked_for() and importlib.util.find_spec("psutil") is None:
        raise InputError(
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is set, but psutil, with which MLflow measures, is not installed. "
            "Install it (python -m pip install psutil), or unset the variable."
        )


def start_monitor(tracking_uri: str, run_id: str) -> Any | None:
    """A monitor that is running, where it is asked for; its `finish` ends it."""
    if not _asked_for():
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    monitor = SystemMetricsMonitor(run_id, tracking_uri=tracking_uri, resume_logging=True)
    monitor.start()
    return monitor


def _asked_for() -> bool:
    from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

    return bool(MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get())
