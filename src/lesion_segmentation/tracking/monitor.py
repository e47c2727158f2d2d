"""MLflow's system metrics, for those who ask for them as MLflow's users do."""

import importlib.util
import logging
from typing import Any

from lesion_segmentation.errors import InputError


def start_monitor(tracking_uri: str, run_id: str) -> Any | None:
    """A monitor that is running, where MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is true; its `finish` ends it.

    Raises:
        InputError: It is asked for, and what it measures with is not installed.
    """
    from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

    if not MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():
        return None
    if importlib.util.find_spec("psutil") is None:
        raise InputError(
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is set, but psutil, with which MLflow measures, is not installed. "
            "Install it (python -m pip install psutil), or unset the variable."
        )
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    monitor = SystemMetricsMonitor(run_id, tracking_uri=tracking_uri, resume_logging=True)
    monitor.start()
    return monitor
