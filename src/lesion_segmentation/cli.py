"""Command line `lesion-segmentation`, which needs neither Kedro nor MLflow."""

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lesion_segmentation import __version__
from lesion_segmentation.core.atomic_files import existing_parent, expand_home
from lesion_segmentation.core.errors import InputError, pluralize
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
engine_option = click.option(
    "--engine", type=click.Choice(["torch", "openvino"]), help="Software that computes the network. Default: torch."
)
annotation_style_option = click.option(
    "--annotation-style",
    help="Annotation style that the masks follow, such as PH2, if the network has learned several.",
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
        click.option(
            "--annotations",
            type=click.Choice(["coco", "labelme", "label-studio"]),
            help="Also write the outlines for an annotation tool. Existing LabelMe files are kept, others replaced.",
        ),
        click.option("--rank", is_flag=True, help="Also write ranking.csv: images whose flips disagree most first."),
        click.option("--no-tta", is_flag=True, help="Turn test-time augmentation off."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Default: auto."),
        click.option("--batch-size", type=int, help="Images that are computed at once. Default: 8."),
        engine_option,
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

    names = (
        "threshold", "annotation_style", "overlays", "probabilities", "annotations", "rank", "device", "batch_size",
        "engine",
    )  # fmt: skip
    given = {name: options[name] for name in names if options[name] is not None and options[name] is not False}
    given |= {"test_time_augmentation": "none"} if options["no_tta"] else {}
    if problems := find_problems("", PredictionSettings, given):
        raise InputError.from_problems("Some options are invalid", problems, "Correct them and run the command again.")
    return given


def report_counts(finished: int, failed: int, left_out: int, target: Location, truth: Path | None) -> None:
    """Print how many images are finished, failed and left out, and the mean scores if there are true masks.

    Exits with SOME_FAILED if any image failed.
    """
    from lesion_segmentation.prediction.store import FAILURES, LEFT_OUT, TABLE

    click.echo(f"{pluralize(finished, 'image is', 'images are')} finished: {target / TABLE}")
    if truth is not None and isinstance(target, Path):
        from lesion_segmentation.prediction.truth import SUMMARY, describe_scores

        click.echo(f"{describe_scores(target / SUMMARY)}: {target / SUMMARY}")
    if left_out:
        click.echo(f"{pluralize(left_out, 'file')} of IN left out, with the reasons in {target / LEFT_OUT}", err=True)
    if failed:
        click.echo(f"{pluralize(failed, 'image')} could not be predicted: {target / FAILURES}", err=True)
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


def predict_untracked(
    source: Location, target: Location, options: dict[str, Any], find_weights: Callable[[str], Any] | None = None
) -> None:
    """Run `predict` without a Kedro session. By default, `--weights` is a file."""
    from lesion_segmentation.prediction import PredictionSettings, PredictionStore
    from lesion_segmentation.prediction.request import check_request, predict_selected, write_scores

    settings = PredictionSettings(**given_settings(options))
    workers, scheduler = options["workers"], options["scheduler"]
    check_workers(workers, scheduler)
    images, truths = check_request(source, target, options["shard"], options["truth"])
    from lesion_segmentation.model import load_network  # imports torch, so the request is checked first

    store = PredictionStore(target)
    network = (find_weights or load_network)(options["weights"])
    counts = predict_selected(network, images, store, settings, workers, scheduler)
    if truths and isinstance(target, Path):
        write_scores(store.read_tables(), truths, target)
    report_counts(*counts, len(images.left_out), target, options["truth"])


@main.command("serve")
@weights_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 also serves other machines.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port.")
@click.option("--token", envvar="LESION_TOKEN", help="Token required for predictions. Also read from LESION_TOKEN.")
@click.option("--root-path", default="", help="Prefix of all paths behind a proxy, such as /lesions.")
@click.option(
    "--allowed-hosts",
    metavar="NAMES",
    help="Host names to answer to besides loopback, as A,B. Default: all (*), or none on loopback without a token.",
)
@annotation_style_option
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device of the network. auto uses a GPU if there is one.",
)
@engine_option
@plain_errors
def serve_command(weights: Path, host: str, port: int, **given: Any) -> None:
    """Serve predictions over HTTP, with a web page.

    The web page is at http://HOST:PORT/, the description of the interface at http://HOST:PORT/docs.
    """
    from lesion_segmentation.core.parameter_model import find_problems
    from lesion_segmentation.prediction import PredictionSettings, load_predictor
    from lesion_segmentation.serving import ServiceSettings
    from lesion_segmentation.serving.server import require_free_port, serve

    if given["token"] is None:  # click ignores an empty variable
        given["token"] = os.environ.get("LESION_TOKEN")
    if find_problems("", ServiceSettings, {"token": given["token"]}):  # the message does not quote a secret
        raise InputError(
            "The token is empty or contains characters that a header cannot carry. Use letters, digits and -._~+/=, "
            "or omit --token and LESION_TOKEN."
        )
    if (hosts := given["allowed_hosts"]) is not None:
        given["allowed_hosts"] = tuple(name.strip() for name in hosts.split(","))
    given["root_path"] = f"/{given['root_path'].strip('/')}".rstrip("/")
    values = ((name, given.pop(name)) for name in ("device", "engine", "annotation_style"))
    options = {name: value for name, value in values if value is not None}
    if problems := find_problems("", ServiceSettings, given) + find_problems("", PredictionSettings, options):
        raise InputError.from_problems("Some options are invalid", problems, "Correct them and run the command again.")
    settings = ServiceSettings(**given)
    predictor = load_predictor(weights, PredictionSettings(batch_size=settings.batch_size, **options))
    require_free_port(host, port)
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
    network, start = load_network(weights), time.monotonic()
    click.echo(f"Exporting {network.title}, which takes up to a minute")
    export_onnx(network, target, annotation_style)
    click.echo(f"Wrote {target} in {time.monotonic() - start:.0f} s")
    click.echo("It maps images, uint8 (N, H, W, 3), to masks and probabilities (N, H, W).")


@main.command("check-data")
@click.argument("images", type=UserPath())
@click.argument("masks", type=UserPath())
@click.argument("table", type=UserPath(), required=False)
@click.option("--ignore", default="", help="File names to leave out, such as '*_superpixels.png *_preview.jpg'.")
@plain_errors
def check_data_command(images: Path, masks: Path, table: Path | None, ignore: str) -> None:
    """Check your own data set and list all problems.

    If there are none, a description of the data set is printed. Nothing is written.

    IMAGES and MASKS are folders with files at any depth. The masks are images or LabelMe files; MASKS may also be a
    COCO file. TABLE is a CSV file with the column case_id and any further columns.
    """
    from lesion_segmentation.data.sources.folder import check_data

    click.echo(check_data(images, masks, table, ignore))


@main.command("audit")
@click.argument("table", type=UserPath(exists=True, dir_okay=False))
@plain_errors
def audit_command(table: Path) -> None:
    """Check whether published scores are possible.

    TABLE is a CSV file with one row per method, in any of the columns name, dice, iou, precision, recall, accuracy, n
    (the number of images) and averaging (pooled or per_image). Scores are percentages or fractions. A cell is empty if
    a score was not published. docs/explanation/audit.md explains the rules.
    """
    import pandas as pd

    from lesion_segmentation.core.user_tables import read_user_table
    from lesion_segmentation.evaluation.audit import COLUMNS, audit_table

    rows = read_user_table(table, COLUMNS)
    verdicts = audit_table(rows)
    if unused := [name for name in rows if name not in COLUMNS]:
        click.echo(f"These columns are not used: {', '.join(unused)}. Expected: {', '.join(COLUMNS)}.", err=True)
    for column in ("implied_dice", "implied_iou"):
        verdicts[column] = ["" if pd.isna(value) else f"{100 * value:.1f}" for value in verdicts[column]]
    verdicts = verdicts.astype(str).replace({r"\s+": " ", r"\|": r"\\|"}, regex=True)  # for Markdown
    lines = [list(verdicts.columns), ["---"] * verdicts.shape[1], *verdicts.to_numpy().tolist()]
    click.echo("\n".join(f"| {' | '.join(line)} |" for line in lines))
