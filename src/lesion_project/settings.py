"""Kedro settings: configuration loader and hooks."""

import warnings

from lesion_project.configuration import ProjectConfigLoader
from lesion_project.hooks import LazyHooks

# These warnings concern libraries only, and users of this project cannot fix them.
warnings.filterwarnings("ignore", message="register_new_resolver", category=UserWarning)
warnings.filterwarnings("ignore", module=r"monai\.", category=FutureWarning)

HOOKS = (LazyHooks(),)

CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
    # Kedro's default would drop all keys of `training` that the environment does not set.
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
}
