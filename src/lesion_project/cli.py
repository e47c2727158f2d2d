"""The project's commands: Kedro's `run` without stack traces for a user's mistakes, and our own."""

import copy
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import _split_params
from kedro.io import DatasetError
from kedro.utils import find_kedro_project
from kedro.validation.exceptions import ParameterValidationError
from yaml import YAMLError  # type: ignore[import-untyped]

from lesion_project.selection import check_environment, check_selection
from lesion_segmentation.cli import (
    UserPath,
    audit_command,
    check_data_command,
    export_command,
    given_settings,
    predict_plainly,
    prediction_options,
    serve_command,
    tell,
    workers_options,
)
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.core.storage import find_location
from lesion_segmentation.core.workers import check_workers
from lesion_segmentation.released import WEIGHTS, read_figures


def _plain_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with explain_missing_extras():
                return function(*args, **kwargs)
        except (InputError, ParameterValidationError) as error:
            raise click.ClickException(str(error)) from error
        except DatasetError as error:
            cause = _users_cause(error)
            if cause is None:
                raise
            raise click.ClickException(str(cause)) from error

    return wrapped


def _users_cause(error: BaseException) -> InputError | None:
    """Kedro wraps what a data set raises."""
    while error.__cause__ is not None:
        error = error.__cause__
        if isinstance(error, InputError):
            return error
    return None


def _read_params(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """As Kedro reads --params, which leaves what is no YAML to a stack trace."""
    try:
        return _split_params(context, option, value)
    except YAMLError as error:
        raise click.BadParameter(
            f"{value!r} cannot be read ({first_line(error)}). Expected name=value,name=value; what has commas of its "
            "own stands in an environment, such as conf/<env>/parameters_training.yml."
        ) from error


@click.group(name="lesion_segmentation")
def cli() -> None:
    """Commands of the lesion segmentation project."""


def _run_what_is_there(**options: Any) -> Any:
    """Kedro's `run`, once what it is asked for is there."""
    from kedro.framework.project import pipelines

    project = find_kedro_project(Path.cwd())
    if project is not None and not options.get("conf_source"):
        check_environment(project / "conf", options.get("env"))
    return _KEDRO_RUN(**check_selection(options, dict(pipelines)))


run = copy.copy(kedro_run)
assert run.callback is not None
_KEDRO_RUN = run.callback
run.callback = _plain_errors(_run_what_is_there)
run.params = [copy.copy(option) for option in run.params]
next(option for option in run.params if option.name == "params").callback = _read_params
cli.add_command(run)
cli.add_command(check_data_command)
cli.add_command(audit_command)
cli.add_command(export_command)
cli.add_command(serve_command)


def _find_project() -> Path:
    project: Path | None = find_kedro_project(Path.cwd())
    if project is None:
        raise InputError("No Kedro project here. Call this command in the project's folder.")
    return project


@cli.command("import-ph2")
@click.argument("source", type=UserPath())
@click.option("--target", type=UserPath(), help="By default data/01_raw/ph2 of the project.")
@_plain_errors
def import_ph2_command(source: Path, target: Path | None) -> None:
    """Check PH2 in SOURCE (a folder or a zip; the official or the Kaggle layout) and bring it to TARGET."""
    from lesion_segmentation.data.sources.ph2 import import_ph2

    project = find_kedro_project(Path.cwd()) or Path.cwd()
    click.echo(import_ph2(source, target or project / "data" / "01_raw" / "ph2"))


@cli.command("send-run")
@click.argument("unsent", type=UserPath(exists=True, dir_okay=False))
@_plain_errors
def send_run_command(unsent: Path) -> None:
    """Send to MLflow what a run could not send, from the file UNSENT that it named at its end."""
    from lesion_project.tracking.run import send_unsent

    click.echo(send_unsent(unsent))


@cli.command("fetch-encoders")
@click.argument("names", nargs=-1)
@_plain_errors
def fetch_encoders_command(names: tuple[str, ...]) -> None:
    """Download weights that encoders may begin with, NAMES or all, to data/01_raw/encoders."""
    from lesion_segmentation.model.encoders import PUBLISHED, fetch_encoder

    project = find_kedro_project(Path.cwd()) or Path.cwd()
    for name in names or PUBLISHED:
        path = fetch_encoder(name, project / "data" / "01_raw" / "encoders")
        click.echo(f"{name}: {path} ({PUBLISHED[name].license}, from {PUBLISHED[name].package})")


@cli.command("predict")
@prediction_options
@click.option(
    "--weights",
    default=str(WEIGHTS),
    help="A weights file, the id of an MLflow run, or models:/name@alias; else the released network.",
)
@click.option("--env", "-e", help="As of kedro run.")
@click.option("--no-tracking", is_flag=True, help="Leave Kedro's pipeline and MLflow out: the same masks, sooner.")
@_plain_errors
def predict_command(source: str, target: str, part: str | None, truth: Path | None, **options: Any) -> None:
    """Predict a mask for the picture IN, or for all pictures of the folder IN, into the folder OUT.

    Either may be a place such as s3://bucket/folder, whose keys stand in conf/local/credentials.yml. Runs the pipeline
    `inference`; MLflow gets its parameters and counts, no name of a file.
    """
    if "://" in source + target:
        from lesion_project.experiments.prediction import use_credentials

        use_credentials(_find_project(), options["env"])
    found, wanted = find_location(source), find_location(target)
    if options["no_tracking"]:
        predict_plainly(found, wanted, part, truth, options)
        return
    from lesion_project.experiments.prediction import run_prediction
    from lesion_segmentation.prediction.request import check_request

    check_workers(options["workers"], options["scheduler"])
    given = given_settings(options)
    request = check_request(found, wanted, part, truth)
    places = {"source": found, "target": wanted, "part": part, "truth": truth}
    places |= {name: options[name] for name in ("weights", "workers", "scheduler")}
    tell(*run_prediction(_find_project(), options["env"], places, request.chosen, given), wanted)


@cli.command("sweep")
@click.option("--env", "-e", help="As of kedro run.")
@click.option("--params", callback=_read_params, default="", help="As of kedro run.")
@workers_options
@_plain_errors
def sweep_command(env: str | None, params: dict[str, Any], workers: int | None, scheduler: str | None) -> None:
    """Search a recipe in the space of conf's sweep; trials that are done are not run again."""
    from lesion_project.experiments.sweep import run_sweep

    project = _find_project()
    env = env or os.environ.get("KEDRO_ENV")
    check_environment(project / "conf", env)
    click.echo(run_sweep(project, env, params, workers, scheduler).head(5).to_string(index=False))


@cli.command("verify")
@_plain_errors
def verify_command() -> None:
    """Score the released network on the PH2 that was brought in, and say whether its card's figures come out again."""
    from lesion_segmentation.prediction.verification import verify

    table = verify(WEIGHTS, _find_project() / "data" / "01_raw" / "ph2", read_figures())
    for row in table.itertuples():
        verdict = "as the card says" if row.agrees else f"the card says {100 * row.expected:.2f}"
        click.echo(f"{row.score}: {100 * row.found:.2f}, {verdict}")
    if not table["agrees"].all():
        raise InputError("The card's figures did not come out again: other weights, other pictures, or another Pillow.")


@cli.command("cross-validate")
@click.option("--env", "-e", help="As of kedro run.")
@click.option("--folds", default="0,1,2,3,4", show_default=True, help="Which of the five folds.")
@click.option("--params", callback=_read_params, default="", help="As of kedro run.")
@workers_options
@_plain_errors
def cross_validate_command(
    env: str | None, folds: str, params: dict[str, Any], workers: int | None, scheduler: str | None
) -> None:
    """Run five folds, stratified by diagnosis, as whole runs, and pool them; finished folds are not run again."""
    from lesion_project.experiments.cross_validation import cross_validate

    project = _find_project()
    env = env or os.environ.get("KEDRO_ENV")
    check_environment(project / "conf", env)
    if not all(fold.strip().isdigit() for fold in folds.split(",")):
        raise InputError(f"--folds is {folds!r}, expected numbers such as 0,2")
    cross_validate(project, env, [int(fold) for fold in folds.split(",")], params, workers, scheduler)
