"""The configuration as Kedro loads it, with a data root of its own for every environment."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError

OWN_DATA = ("base", "local")
"""Environments that stand for no environment: a plain `kedro run` and the user's own conf/local."""


def default_root(env: str | None) -> str:
    """Where a run's files stand unless `data_root` says otherwise: data, or data/<env>."""
    return "data" if env is None or env in OWN_DATA else f"data/{env}"


class ProjectConfigLoader(OmegaConfigLoader):
    """OmegaConfigLoader in which `${runtime_params:data_root}` is always there, and which says what it cannot read.

    So `--env demo` cannot write over what `kedro run` left, nor a user's own environment, without a line of theirs.
    """

    def __init__(
        self, conf_source: str, env: str | None = None, runtime_params: dict[str, Any] | None = None, **options: Any
    ) -> None:
        given = {"data_root": default_root(env), **(runtime_params or {})}
        given["data_root"] = str(expand_home(given["data_root"]))
        super().__init__(conf_source, env, given, **options)

    def __getitem__(self, key: str) -> Any:
        """As Kedro's, with a sentence instead of a trace where a file cannot be read.

        Raises:
            InputError: A key is there twice, in one file or in two, or a file is no YAML, or a reference leads nowhere.
        """
        try:
            return super().__getitem__(key)
        except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
            found = " ".join(str(error).split()).replace('in "<file>", ', "")
            broken = [str(path) for path in sorted(Path(self.conf_source).rglob("*.yml")) if _is_broken(path)]
            where = f" in {', '.join(broken)}" if broken else ""
            raise InputError(f"The configuration of {key} cannot be read{where}: {found}") from error


def _is_broken(path: Path) -> bool:
    try:
        OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError):
        return True
    return False
