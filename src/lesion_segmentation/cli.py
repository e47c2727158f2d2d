"""`lesion-segmentation`: the commands that need neither Kedro nor MLflow."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lesion_segmentation import __version__
from lesion_segmentation.core.atomic_files import existing_parent, expand_home
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.core.storage import Location, find_location
from lesion_segmentation.core.workers import check_workers
from lesion_segmentation.released import WEIGHTS

SOME_FAILED = 3
"""Exit status where some pictures could not be read, and all others are done."""


class UserPath(click.Path):
    """A path in which ~ is the user's home, also where no shell has said so: make under dash leaves it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, *where: Any) -> Any:
        try:
            return super().convert(expand_home(value), *where)
        except InputError as error:
            self.fail(str(error), *where)


weights_option = click.option(
    "--weights", type=UserPath(), default=WEIGHTS, help="A weights file that a training wrote; else the released one."
)


def plain_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Tell a user's mistake in its sentence, without a trace."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with explain_missing_extras():
                return function(*args, **kwargs)
        except InputError as error:
            raise click.ClickException(str(error)) from error

    return wrapped


def workers_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Who shares the work."""
    for option in (
        click.option("--scheduler", metavar="ADDRESS", help="Share the work over the Dask cluster at this address."),
        click.option("--workers", type=click.IntRange(1), help="Share it over so many processes of this machine."),
    ):
        function = option(function)
    return function


def prediction_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `predict` can be told, here and in Kedro's command."""
    for option in reversed(
        (
            click.argument("source", metavar="IN"),
            click.argument("target", metavar="OUT"),
            click.option("--threshold", type=float, help="Probabilities above it are lesion; by default the weights'."),
            click.option("--annotation-style", help="Whose way of outlining, of a network that knows several, such as PH2."),
            click.option("--overlays", is_flag=True, help="Write pictures with the lesion's annotation_style, too."),
            click.option("--probabilities", is_flag=True, help="Write probabilities as grey pictures, too."),
            click.option("--no-tta", is_flag=True, help="Predict each picture once, not its mirror images."),
            click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="By default auto."),
            click.option("--batch-size", type=int, help="By default 8."),
            click.option("--part", metavar="K/N", help="Only the K-th of N parts of the pictures; parts share OUT."),
            click.option("--truth", type=UserPath(), help="True masks: score the predictions with them."),
        )
    ):
        function = option(function)
    return workers_options(function)


def given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """What of the settings of a prediction the command names.

    Raises:
        InputError: A value cannot be; all are named.
    """
    from lesion_segmentation.core.parameter_model import find_problems
    from lesion_segmentation.prediction.run_settings import RunSettings

    names = ("threshold", "annotation_style", "overlays", "probabilities", "device", "batch_size")
    given = {name: options[name] for name in names if options[name] is not None and options[name] is not False}
    given |= {"test_time_augmentation": "none"} if options["no_tta"] else {}
    problems = find_problems("", RunSettings, given)
    if problems:
        raise InputError.from_problems("These options cannot be", [each.lstrip(".") for each in problems], "")
    return given


def tell(done: int, failed: int, target: Location) -> None:
    """The closing words; ends with SOME_FAILED where there were bad files."""
    from lesion_segmentation.prediction.tables import names_of_tables

    table, failures = names_of_tables(target)
    click.echo(f"{done} pictures are done: {target / table}")
    if failed:
        click.echo(f"{failed} could not be read: {target / failures}", err=True)
        sys.exit(SOME_FAILED)


@click.group(name="lesion-segmentation")
@click.version_option(__version__)
def main() -> None:
    """Skin lesion segmentation: predict masks, look at data, audit published figures."""


@main.command("predict")
@prediction_options
@weights_option
@plain_errors
def predict_command(source: str, target: str, part: str | None, truth: Path | None, **options: Any) -> None:
    """Predict a mask for the picture IN, or for all pictures of the folder IN, into the folder OUT."""
    predict_plainly(find_location(source), find_location(target), part, truth, options)


def predict_plainly(
    source: Location, target: Location, part: str | None, truth: Path | None, options: dict[str, Any]
) -> None:
    """`predict` without Kedro and MLflow."""
    from lesion_segmentation.prediction import RunSettings
    from lesion_segmentation.prediction.request import check_request, predict_request

    settings = RunSettings(**given_settings(options))
    check_workers(options["workers"], options["scheduler"])
    request = check_request(source, target, part, truth)
    shared = options["workers"], options["scheduler"]
    tell(*predict_request(request, expand_home(options["weights"]), settings, *shared), target)


@main.command("serve")
@weights_option
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 answers other machines, too.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--token", envvar="LESION_TOKEN", help="Asked of whoever wants a prediction; also LESION_TOKEN.")
@click.option("--annotation-style", help="Whose way of outlining, of a network that knows several, such as PH2.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@plain_errors
def serve_command(
    weights: Path, host: str, port: int, token: str | None, annotation_style: str | None, device: str
) -> None:
    """Serve predictions over HTTP, and a page for people at http://HOST:PORT/."""
    from lesion_segmentation.prediction import RunSettings, load_predictor
    from lesion_segmentation.serving import ServiceSettings
    from lesion_segmentation.serving.server import serve

    if token == "" or os.environ.get("LESION_TOKEN") == "":
        raise InputError("The token is empty, which would let everybody in. Name one, or leave it out.")
    settings = ServiceSettings(token=token)
    predictor = load_predictor(
        weights, RunSettings(device=device, annotation_style=annotation_style, batch_size=settings.batch_size)
    )
    click.echo(f"The page: http://{host}:{port}/")
    serve(predictor, settings, host, port)


@main.command("export")
@click.argument("target", metavar="OUT.onnx", type=UserPath())
@weights_option
@click.option("--annotation-style", help="Whose way of outlining, of a network that knows several, such as PH2.")
@plain_errors
def export_command(target: Path, weights: Path, annotation_style: str | None) -> None:
    """Write the network with everything before and behind it as one ONNX file, OUT.onnx."""
    from lesion_segmentation.export import export_onnx
    from lesion_segmentation.model import load_network

    if target.suffix != ".onnx" or target.is_dir():
        raise InputError(f"{target} is no .onnx. Name a file such as network.onnx.")
    if not (parent := existing_parent(target)).is_dir():
        raise InputError(f"{parent} is a file, expected a folder. Name another place than {target}.")
    export_onnx(load_network(weights), target, annotation_style)
    click.echo(f"{target}: pictures, uint8 (N, H, W, 3), to masks and probabilities, (N, H, W)")


@main.command("check-data")
@click.argument("images", type=UserPath())
@click.argument("masks", type=UserPath())
@click.argument("table", type=UserPath(), required=False)
@plain_errors
def check_data_command(images: Path, masks: Path, table: Path | None) -> None:
    """Say everything that is wrong with a data set of one's own, or describe it; writes nothing.

    IMAGES and MASKS are folders with pictures at any depth, TABLE a .csv with case_id and what else is known.
    """
    from lesion_segmentation.data.sources.folder import check_data

    click.echo(check_data(images, masks, table))


@main.command("audit")
@click.argument("table", type=UserPath(exists=True, dir_okay=False))
@plain_errors
def audit_command(table: Path) -> None:
    """Say of each row of published scores in TABLE (a .csv) whether it can exist; docs/audit.md explains it."""
    import pandas as pd

    from lesion_segmentation.evaluation.audit import audit_table

    if not table.is_file():  # a named pipe, say, which would be waited for
        raise InputError(f"{table} is no file. Expected a .csv, as docs/published.csv is.")
    try:
        rows = pd.read_csv(table, dtype=str)
    except ValueError as error:  # pandas' errors of empty and ragged files, and of other encodings, are ValueErrors
        raise InputError(f"{table} is no .csv in UTF-8 ({error}). docs/published.csv is an example.") from error
    verdicts = audit_table(rows)
    for column in ("implied_dice", "implied_iou"):
        verdicts[column] = ["" if pd.isna(value) else f"{100 * value:.1f}" for value in verdicts[column]]
    lines = [list(verdicts.columns), ["---"] * verdicts.shape[1], *verdicts.to_numpy().tolist()]
    click.echo("\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines))
