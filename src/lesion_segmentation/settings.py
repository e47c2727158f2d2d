"""Kedro's settings: configuration and hooks."""

from lesion_segmentation.configuration import ProjectConfigLoader
from lesion_segmentation.hooks import InputHooks, SummaryHooks
from lesion_segmentation.tracking import TrackingHooks

HOOKS = (TrackingHooks(), SummaryHooks(), InputHooks())

CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
    # Kedro's default would drop every key of `training` that an environment or --params does not name.
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
}
