"""Kedro's settings: configuration and hooks."""

import warnings

from lesion_project.configuration import ProjectConfigLoader
from lesion_project.hooks.lazy import LazyHooks

# Of libraries among themselves: nobody who runs this project can do anything about them.
warnings.filterwarnings("ignore", message="register_new_resolver", category=UserWarning)
warnings.filterwarnings("ignore", module=r"monai\.", category=FutureWarning)

HOOKS = (LazyHooks(),)

CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
    # Kedro's default would drop every key of `training` that an environment or --params does not name.
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
}
