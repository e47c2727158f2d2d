"""Kedro's configuration loader with a data root per environment and readable errors."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError

OWN_DATA = ("base", "local")
"""Environments that write to `data`: a plain `kedro run` uses the user's conf/local over conf/base."""


class ProjectConfigLoader(OmegaConfigLoader):
    """OmegaConfigLoader that always defines `${runtime_params:data_root}` and explains configuration errors.

    The data root is data, or data/<env>, so that `--env demo` cannot overwrite the files of a plain `kedro run`.
    """

    def __init__(
        self, conf_source: str, env: str | None = None, runtime_params: dict[str, Any] | None = None, **options: Any
    ) -> None:
        default = "data" if env is None or env in OWN_DATA else f"data/{env}"
        given = {"data_root": default, **(runtime_params or {})}
        if given["data_root"] in (None, ""):
            raise InputError("data_root is empty. Give the folder of the outputs, or omit it.")
        given["data_root"] = str(expand_home(given["data_root"]))
        super().__init__(conf_source, env, given, **options)

    def __getitem__(self, key: str) -> Any:
        """Raise an InputError for invalid YAML, a key that occurs twice, or an interpolation without a target."""
        try:
            config = super().__getitem__(key)
            return self._ignore_base_options(config) if key == "parameters" else config
        except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
            found = " ".join(str(error).split()).replace('in "<file>", ', "")
            broken = [str(path) for path in sorted(Path(self.conf_source).rglob("*.yml")) if _is_broken(path)]
            where = f" in {', '.join(broken)}" if broken else ""
            raise InputError(f"The configuration of {key} cannot be read{where}: {found}") from error

    def _ignore_base_options(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Set SegNet options of conf/base to None if another architecture is trained.

        Options that the environment or the command line sets stay, so that building the network refuses them.
        """
        from lesion_segmentation.training.settings import SEGNET_OPTIONS, SEGNETS

        training = parameters.get("training")
        if not isinstance(training, dict) or training.get("architecture") in SEGNETS:
            return parameters
        given = {*self._load_environment("training"), *(self.runtime_params.get("training") or {})}
        ignored = {name: None for name in SEGNET_OPTIONS if name in training and name not in given}
        return {**parameters, "training": {**training, **ignored}}

    def _load_environment(self, group: str) -> dict[str, Any]:
        """Return the parameters of this group that the environment sets over conf/base."""
        env = self.env or self.default_run_env
        if env == self.base_env:
            return {}
        try:
            loader = OmegaConfigLoader(self.conf_source, env, self.runtime_params, base_env=env, default_run_env=env)
            return dict(loader["parameters"].get(group) or {})
        except MissingConfigException:
            return {}


def _is_broken(path: Path) -> bool:
    try:
        OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError):
        return True
    return False
