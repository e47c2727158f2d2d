"""Command line `lesion-segmentation`, which needs neither Kedro nor MLflow."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lesion_segmentation import __version__
from lesion_segmentation.core.atomic_files import existing_parent, expand_home
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.core.storage import Location, find_location
from lesion_segmentation.core.workers import check_workers
from lesion_segmentation.released import WEIGHTS

SOME_FAILED = 3
"""Exit status if some images could not be predicted and all others are finished."""


class UserPath(click.Path):
    """Path whose leading ~ is replaced by the home folder, since not every shell does so in `--option=~/path`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, *context: Any) -> Any:
        try:
            return super().convert(expand_home(value), *context)
        except InputError as error:
            self.fail(str(error), *context)


weights_option = click.option(
    "--weights", type=UserPath(), default=WEIGHTS, help="Weights file of a training. Default: the released network."
)
annotation_style_option = click.option(
    "--annotation-style",
    help="Source whose annotation style the masks follow, such as PH2, if the network has several.",
)


def plain_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command so that a user error ends it with a message, without a traceback."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with explain_missing_extras():
                return function(*args, **kwargs)
        except InputError as error:
            raise click.ClickException(str(error)) from error

    return wrapped


def workers_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that distribute the work of a command."""
    scheduler = click.option("--scheduler", metavar="ADDRESS", help="Distribute the work over this Dask cluster.")
    workers = click.option("--workers", type=click.IntRange(1), help="Distribute the work over this many processes.")
    return workers(scheduler(function))


def prediction_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments and options of `predict` that both command lines have."""
    options = (
        click.argument("source", metavar="IN"),
        click.argument("target", metavar="OUT"),
        click.option("--threshold", type=float, help="Pixels with a higher probability are lesion."),
        annotation_style_option,
        click.option("--overlays", is_flag=True, help="Also write each image with the contour of its mask."),
        click.option("--probabilities", is_flag=True, help="Also write the probabilities as 8-bit grey images."),
        click.option("--no-tta", is_flag=True, help="Turn test-time augmentation off."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Default: auto."),
        click.option("--batch-size", type=int, help="Images per forward pass. Default: 8."),
        click.option("--shard", metavar="K/N", help="Predict only the K-th of N shards. All shards share OUT."),
        click.option("--truth", type=UserPath(), help="Folder of true masks to score the predictions against."),
    )
    for option in reversed(options):
        function = option(function)
    return workers_options(function)


def given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return the prediction settings that were given on the command line, after checking their values."""
    from lesion_segmentation.core.parameter_model import find_problems
    from lesion_segmentation.prediction import PredictionSettings

    names = ("threshold", "annotation_style", "overlays", "probabilities", "device", "batch_size")
    given = {name: options[name] for name in names if options[name] is not None and options[name] is not False}
    given |= {"test_time_augmentation": "none"} if options["no_tta"] else {}
    if problems := find_problems("", PredictionSettings, given):
        problems = [each.lstrip(".") for each in problems]
        raise InputError.from_problems("Some options are invalid", problems, "Correct them and run the command again.")
    return given


def report_counts(finished: int, failed: int, target: Location) -> None:
    """Print how many images are finished and failed, and exit with SOME_FAILED if any failed."""
    from lesion_segmentation.prediction.store import FAILURES, TABLE

    click.echo(f"{finished} images are finished: {target / TABLE}")
    if failed:
        click.echo(f"{failed} images could not be predicted: {target / FAILURES}", err=True)
        sys.exit(SOME_FAILED)


@click.group(name="lesion-segmentation")
@click.version_option(__version__)
def main() -> None:
    """Segment skin lesions in dermoscopic images: predict masks, check data, and audit published scores."""


@main.command("predict")
@prediction_options
@weights_option
@plain_errors
def predict_command(source: str, target: str, **options: Any) -> None:
    """Predict the masks of an image or a folder of images.

    IN is the image or the folder, OUT the folder for the masks. Both may be addresses such as s3://bucket/folder.
    Rerun the same command to resume after an interruption.
    """
    predict_untracked(find_location(source), find_location(target), options)


def predict_untracked(source: Location, target: Location, options: dict[str, Any]) -> None:
    """Run `predict` without Kedro and MLflow."""
    from lesion_segmentation.prediction import PredictionSettings, PredictionStore
    from lesion_segmentation.prediction.request import check_request, predict_selected, write_scores

    settings = PredictionSettings(**given_settings(options))
    workers, scheduler = options["workers"], options["scheduler"]
    check_workers(workers, scheduler)
    images, truths = check_request(source, target, options["shard"], options["truth"])
    from lesion_segmentation.model import load_network  # imports torch, so the request is checked first

    store = PredictionStore(target)
    network = load_network(expand_home(options["weights"]))
    counts = predict_selected(network, images, store, settings, workers, scheduler)
    if truths and isinstance(target, Path):
        write_scores(store.read_tables(), truths, target)
    report_counts(*counts, target)


@main.command("serve")
@weights_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 also serves other machines.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port.")
@click.option("--token", envvar="LESION_TOKEN", help="Token required for predictions. Also read from LESION_TOKEN.")
@annotation_style_option
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@plain_errors
def serve_command(
    weights: Path, host: str, port: int, token: str | None, annotation_style: str | None, device: str
) -> None:
    """Serve predictions over HTTP, with a web page.

    The web page is at http://HOST:PORT/, the description of the interface at http://HOST:PORT/docs.
    """
    from lesion_segmentation.prediction import PredictionSettings, load_predictor
    from lesion_segmentation.serving import ServiceSettings
    from lesion_segmentation.serving.server import serve

    if token == "" or os.environ.get("LESION_TOKEN") == "":
        raise InputError("The token is empty, so it protects nothing. Set a token, or omit --token and LESION_TOKEN.")
    settings = ServiceSettings(token=token)
    options = PredictionSettings(device=device, annotation_style=annotation_style, batch_size=settings.batch_size)
    predictor = load_predictor(weights, options)
    click.echo(f"The web page is at http://{host}:{port}/")
    serve(predictor, settings, host, port)


@main.command("export")
@click.argument("target", metavar="OUT.onnx", type=UserPath())
@weights_option
@annotation_style_option
@plain_errors
def export_command(target: Path, weights: Path, annotation_style: str | None) -> None:
    """Export the network as an ONNX file.

    OUT.onnx contains the preprocessing and postprocessing, so it maps images of any size to masks.
    """
    from lesion_segmentation.export import export_onnx
    from lesion_segmentation.model import load_network

    if target.is_dir():
        raise InputError(f"{target} is a folder, but a file was expected. Choose a name such as network.onnx.")
    if target.suffix != ".onnx":
        raise InputError(f"{target} does not end with .onnx. Choose a name such as network.onnx.")
    if not (parent := existing_parent(target)).is_dir():
        raise InputError(f"{parent} is a file, but a folder was expected. Choose another path than {target}.")
    export_onnx(load_network(weights), target, annotation_style)
    click.echo(f"Wrote {target}, which maps images, uint8 (N, H, W, 3), to masks and probabilities (N, H, W).")


@main.command("check-data")
@click.argument("images", type=UserPath())
@click.argument("masks", type=UserPath())
@click.argument("table", type=UserPath(), required=False)
@plain_errors
def check_data_command(images: Path, masks: Path, table: Path | None) -> None:
    """Check your own data set and list all problems.

    If there are none, a description of the data set is printed. Nothing is written.

    IMAGES and MASKS are folders with files at any depth. TABLE is a CSV file with the column case_id and any further
    columns.
    """
    from lesion_segmentation.data.sources.folder import check_data

    click.echo(check_data(images, masks, table))


@main.command("audit")
@click.argument("table", type=UserPath(exists=True, dir_okay=False))
@plain_errors
def audit_command(table: Path) -> None:
    """Check whether published scores are possible.

    TABLE is a CSV file with one row of scores per method. docs/audit.md explains the columns and the rules.
    """
    import pandas as pd

    from lesion_segmentation.evaluation.audit import audit_table

    if not table.is_file():  # for example a named pipe, which would block
        raise InputError(f"{table} is not a regular file. Expected a CSV file such as docs/published.csv.")
    try:
        rows = pd.read_csv(table, dtype=str)
    except ValueError as error:  # the base class of pandas' parser errors and of decoding errors
        raise InputError(
            f"{table} is not a CSV file in UTF-8 ({first_line(error)}). See docs/published.csv for an example."
        ) from error
    verdicts = audit_table(rows)
    for column in ("implied_dice", "implied_iou"):
        verdicts[column] = ["" if pd.isna(value) else f"{100 * value:.1f}" for value in verdicts[column]]
    lines = [list(verdicts.columns), ["---"] * verdicts.shape[1], *verdicts.to_numpy().tolist()]
    click.echo("\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines))
