"""MLflow's system metrics, enabled by MLflow's own environment variable."""

import importlib.util
import logging
from typing import Any

from lesion_segmentation.core.errors import InputError


def require_monitor() -> None:
    """Check that psutil is installed if system metrics are enabled.

    Raises:
        InputError: MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is true, but psutil is not installed.
    """
    if _is_enabled() and importlib.util.find_spec("psutil") is None:
        raise InputError(
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is set, but MLflow measures with psutil, which is not installed. "
            "Install it (python -m pip install psutil), or unset the variable."
        )


def start_monitor(tracking_uri: str, run_id: str) -> Any | None:
    """Start a monitor if system metrics are enabled. Its `finish` method ends it."""
    if not _is_enabled():
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    monitor = SystemMetricsMonitor(run_id, tracking_uri=tracking_uri, resume_logging=True)
    monitor.start()
    return monitor


def _is_enabled() -> bool:
    from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

    return bool(MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get())
