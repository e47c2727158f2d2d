"""The configuration as Kedro loads it, with a data root of its own for every environment."""

from typing import Any

from kedro.config import OmegaConfigLoader

OWN_DATA = ("base", "local")
"""Environments that stand for no environment: a plain `kedro run` and the user's own conf/local."""


def default_root(env: str | None) -> str:
    """Where a run's files stand unless `data_root` says otherwise: data, or data/<env>."""
    return "data" if env is None or env in OWN_DATA else f"data/{env}"


class ProjectConfigLoader(OmegaConfigLoader):
    """OmegaConfigLoader in which `${runtime_params:data_root}` is always there.

    So `--env demo` cannot write over what `kedro run` left, nor a user's own environment, without a line of theirs.
    """

    def __init__(
        self, conf_source: str, env: str | None = None, runtime_params: dict[str, Any] | None = None, **options: Any
    ) -> None:
        given = {"data_root": default_root(env), **(runtime_params or {})}
        super().__init__(conf_source, env, given, **options)
