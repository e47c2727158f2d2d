"""Commands of the project: Kedro's `run`, with user errors reported without a traceback, and the project's own ones."""

import copy
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import KedroCliError, _config_file_callback, _split_load_versions, _split_params
from kedro.io import DatasetError
from kedro.utils import find_kedro_project
from kedro.validation.exceptions import ParameterValidationError

from lesion_project.selection import check_environment, check_runner, check_selection
from lesion_segmentation.cli import (
    UserPath,
    audit_command,
    check_data_command,
    export_command,
    given_settings,
    plain_errors,
    predict_untracked,
    prediction_options,
    report_counts,
    serve_command,
    workers_options,
)
from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError, find_input_error, first_line
from lesion_segmentation.core.storage import find_location
from lesion_segmentation.core.workers import check_workers
from lesion_segmentation.released import WEIGHTS, read_figures


def _plain_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Report user errors without a traceback, including those that Kedro wraps in its own exceptions."""

    @functools.wraps(function)
    def unwrapping(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (KedroCliError, MissingConfigException, ParameterValidationError) as error:
            raise InputError(str(error)) from error
        except DatasetError as error:
            if (cause := find_input_error(error)) is None:
                raise
            raise cause from None

    return plain_errors(unwrapping)


def _explain_errors(read: Callable[..., Any], expected: str) -> Callable[..., Any]:
    """Make a function of Kedro's that reads an option report an unreadable value without a traceback."""

    def reading(context: click.Context, option: click.Parameter, value: Any) -> Any:
        try:
            return read(context, option, value)
        except click.UsageError:
            raise
        except Exception as error:  # YAML, OmegaConf and Kedro raise many types
            raise click.BadParameter(f"{value!r} cannot be read ({first_line(error)}). Expected {expected}.") from error

    return reading


_LIST = re.compile(r"""=\[([^][,'"]+(?:,[^][,'"]+)*)\](?=,|$)""")
"""A list in --params without quotes, empty items and lists in it. Kedro refuses those."""


def _split_values(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Split --params with patterns, which YAML would read as aliases, and lists, which Kedro would split.

    An example is data.ignore=*_superpixels.png,training.options.annotation_styles=[PH2,ISIC 2018].
    """
    if isinstance(value, str):
        value = re.sub(r"=(\*[^,]*)", r"='\1'", value)
        value = _LIST.sub(lambda found: "=- " + found[1].replace(",", "\n- "), value)
    return _split_params(context, option, value)


_read_params = _explain_errors(
    _split_values,
    "name=value,name=[value,value]. Put other values with commas into a file, such as conf/<env>/parameters.yml",
)


@click.group(name="lesion_segmentation")
def cli() -> None:
    """Commands of the lesion segmentation project."""


def _run(**options: Any) -> Any:
    """Run like Kedro, after checking that the environment, the runner and all selected names exist."""
    from kedro.framework.project import pipelines

    source = options.get("conf_source") or (find_kedro_project(Path.cwd()) or Path.cwd()) / "conf"
    check_environment(Path(source), options.get("env") or os.environ.get("KEDRO_ENV"))
    check_runner(options.get("runner") or "SequentialRunner", options.get("runner_params") or {})
    try:
        return _KEDRO_RUN(**check_selection(options, dict(pipelines)))
    except ValueError as error:
        if "contains no nodes" not in str(error):
            raise
        raise InputError("No node is selected by all of these options together. Omit one of them.") from error


run = copy.copy(kedro_run)
assert run.callback is not None
_KEDRO_RUN = run.callback
run.callback = _plain_errors(_run)
run.params = [copy.copy(option) for option in run.params]
_READERS = {
    "load_versions": _explain_errors(_split_load_versions, "dataset:version,dataset:version"),
    "params": _read_params,
    "runner_params": _explain_errors(_split_params, "name=value,name=value"),
    "config": _explain_errors(_config_file_callback, "a YAML file whose section `run` has options such as pipelines"),
}
for option in run.params:
    option.callback = _READERS.get(option.name or "", option.callback)
for command in (run, check_data_command, audit_command, export_command, serve_command):
    cli.add_command(command)


def _find_project() -> Path:
    project: Path | None = find_kedro_project(Path.cwd())
    if project is None:
        raise InputError("There is no Kedro project in this folder. Run the command in the folder of the project.")
    return project


_env_option = click.option("--env", "-e", envvar="KEDRO_ENV", help="Kedro environment, as in kedro run.")


def _experiment_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command of many runs, which receives the project's folder before the options that all of them have."""

    @functools.wraps(function)
    def checked(env: str | None, **options: Any) -> None:
        project = _find_project()
        check_environment(project / "conf", env)
        function(project, env, **options)

    params = click.option("--params", callback=_read_params, default="", help="Parameters to change, as in kedro run.")
    return _env_option(params(workers_options(_plain_errors(checked))))


@cli.command("import-ph2")
@click.argument("source", type=UserPath())
@click.option("--target", type=UserPath(), help="Folder to write to. By default data/01_raw/ph2 in the project.")
@_plain_errors
def import_ph2_command(source: Path, target: Path | None) -> None:
    """Check the copy of PH2 in SOURCE and write it to TARGET.

    SOURCE is a folder or a zip file in the official layout or in that of Kaggle.
    """
    from lesion_segmentation.data.sources.ph2 import import_ph2

    project = find_kedro_project(Path.cwd()) or Path.cwd()
    click.echo(import_ph2(source, target or project / "data" / "01_raw" / "ph2"))


@cli.command("fetch-weights")
@click.argument("names", nargs=-1)
@_plain_errors
def fetch_weights_command(names: tuple[str, ...]) -> None:
    """Download pretrained weights to data/01_raw/pretrained: the given NAMES, or all."""
    from lesion_segmentation.model.pretrained import PUBLISHED, fetch_pretrained

    project = find_kedro_project(Path.cwd()) or Path.cwd()
    for name in names or PUBLISHED:
        path = fetch_pretrained(name, project / "data" / "01_raw" / "pretrained")
        click.echo(f"{name}: {path} ({PUBLISHED[name].license}, from {PUBLISHED[name].package})")


@cli.command("predict")
@prediction_options
@click.option(
    "--weights",
    default=str(WEIGHTS),
    help="A weights file, the id of an MLflow run, or models:/name@alias. By default the released network.",
)
@_env_option
@click.option("--no-tracking", is_flag=True, help="Start faster, without Kedro and MLflow. The masks are the same.")
@_plain_errors
def predict_command(source: str, target: str, **options: Any) -> None:
    """Predict a mask for the image IN, or for all images in the folder IN, and write it to the folder OUT.

    IN and OUT may be remote, such as s3://bucket/folder, with credentials in conf/local/credentials.yml. The command
    runs the pipeline `prediction` and logs its parameters and counts to MLflow, but no file names.
    """
    if project := find_kedro_project(Path.cwd()):
        check_environment(project / "conf", options["env"])
    if "://" in source + target:
        from lesion_project.experiments.prediction import use_credentials

        use_credentials(_find_project(), options["env"])
    arguments = {"source": find_location(source), "target": find_location(target)}
    if options["no_tracking"]:
        predict_untracked(**arguments, options=options, find_weights=functools.partial(_find_weights, options["env"]))
        return
    from lesion_project.experiments.prediction import run_prediction
    from lesion_segmentation.prediction.request import check_request

    check_workers(options["workers"], options["scheduler"])
    settings = given_settings(options)
    images, _ = check_request(**arguments, shard=options["shard"], truth=options["truth"])
    arguments |= {name: options[name] for name in ("shard", "truth", "weights", "workers", "scheduler")}
    counts = run_prediction(_find_project(), options["env"], arguments, images, settings)
    report_counts(*counts, len(images.left_out), arguments["target"], options["truth"])


def _find_weights(env: str | None, name: str) -> Any:
    if (path := expand_home(name)).is_file():  # needs neither the catalog's types nor MLflow
        from lesion_segmentation.model import load_network

        return load_network(path)
    from lesion_project.experiments.prediction import find_weights

    return find_weights(_find_project(), env, name)


@cli.command("sweep")
@_experiment_command
def sweep_command(project: Path, env: str | None, **options: Any) -> None:
    """Search the space `sweep.space` for a training recipe. Finished trials are not repeated."""
    from lesion_project.experiments.sweep import run_sweep

    click.echo(run_sweep(project, env, **options).drop(columns="reason").head(5).to_string(index=False))


@cli.command("verify")
@_plain_errors
def verify_command() -> None:
    """Score the released network on PH2 and compare the scores with those of its model card."""
    from lesion_segmentation.prediction.verification import verify

    table = verify(WEIGHTS, _find_project() / "data" / "01_raw" / "ph2", read_figures())
    for row in table.itertuples():
        verdict = "as on the model card" if row.agrees else f"{100 * row.expected:.2f} on the model card"
        click.echo(f"{row.score}: {100 * row.found:.2f}, {verdict}")
    if not table["agrees"].all():
        raise InputError("The scores differ from the model card. Check the weights, the images and Pillow's version.")


@cli.command("cross-validate")
@click.option("--folds", default="0,1,2,3,4", show_default=True, help="Folds to run, separated by commas.")
@_experiment_command
def cross_validate_command(project: Path, env: str | None, folds: str, **options: Any) -> None:
    """Run the folds of a cross-validation, stratified by diagnosis, and pool their scores.

    Finished folds are not repeated.
    """
    from lesion_project.experiments.cross_validation import cross_validate

    if not all(fold.strip().isdecimal() for fold in folds.split(",")):
        raise InputError(f"--folds is {folds!r}. Expected numbers such as 0,2.")
    cross_validate(project, env, [int(fold) for fold in folds.split(",")], **options)
