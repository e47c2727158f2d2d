"""Kedro's settings: configuration and hooks."""

from kedro.config import OmegaConfigLoader

from lesion_segmentation.hooks import InputHooks, SummaryHooks, TrackingHooks

HOOKS = (TrackingHooks(), SummaryHooks(), InputHooks())

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
    # Kedro's default would drop every key of `training` that an environment or --params does not name.
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
}
