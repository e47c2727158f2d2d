"""Draw every image of the README and the site from the code, synthetic cases and running programs: `make docs-images`.

docs/images/versions.json records the version of the sources of each image, so that a test finds images that are stale.
Names as arguments restrict the command to these images.
"""

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from PIL import Image as Pillow

PROJECT = Path(__file__).parents[2]
IMAGES = PROJECT / "docs" / "images"
VERSIONS = IMAGES / "versions.json"
BIN = Path(sys.executable).parent
SOURCES = "src/lesion_segmentation"
sys.path += [str(PROJECT / "results"), str(PROJECT / "tests")]
PORT = 18_231
_FOR_EACH = 'document.querySelectorAll("{}").forEach(element => element.{}())'


class Image(NamedTuple):
    """Function that makes an image, and the files and folders whose changes make it stale."""

    make: Callable[[Path], None]
    sources: Sequence[str]


def find_version(sources: Sequence[str]) -> str:
    """Return a hash of the files."""
    digest = hashlib.sha256()
    for source in sources:
        path = PROJECT / source
        files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        for file in files:
            if "__pycache__" not in file.parts:
                content = file.read_bytes()
                if file.name == "pyproject.toml":
                    content = content.partition(b"[tool.importlinter]")[2]
                digest.update(file.relative_to(PROJECT).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()[:16]


def _figure(module: str, draw: str, *arguments: object) -> Callable[[Path], None]:
    """Return a function that draws a figure and saves it. Importing late keeps the check of versions fast."""

    def make(path: Path) -> None:
        from matplotlib import rc_context

        with rc_context({"svg.hashsalt": "docs", "font.size": 11}):
            figure = getattr(importlib.import_module(module), draw)(*arguments)
            figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else {})

    return make


def _report(path: Path) -> None:
    with _scratch_demo() as folder, _browser(folder) as page:
        page.open(f"file://{folder}/demo/08_reporting/report.html", 1000, 1400)
        page.save_screenshot(path)
    with Pillow.open(path) as whole:
        whole.crop((0, 0, whole.width, 1400)).save(path)  # the first screen


def _page(path: Path) -> None:
    from lesion_segmentation.data.sources.synthetic import synthesize_case

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, _browser(Path(name)) as page:
        files = [Path(name, f"lesion_{number}.png") for number in (19, 23)]
        for file, number in zip(files, (19, 23), strict=True):
            Pillow.fromarray(synthesize_case(number).image).save(file)
        command = [BIN / "lesion-segmentation", "serve", "--port", str(PORT)]
        with _running(command, f"http://127.0.0.1:{PORT}/health"):
            page.open(f"http://127.0.0.1:{PORT}/", 1000, 900)
            page.choose("input[type=file]", files)
            page.wait("document.querySelectorAll('canvas, figure img').length >= 2", 120)
            time.sleep(5)
            page.save_screenshot(path)


def _kedro_viz(path: Path) -> None:
    command = [BIN / "kedro", "viz", "run", "--no-browser", "--port", str(PORT), "--env", "demo"]
    url = f"http://127.0.0.1:{PORT}"
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        _browser(Path(name)) as page,
        _running(command, f"{url}/api/main"),
    ):
        page.open(f"{url}/?pid=training", 1400, 800)
        page.wait("document.querySelectorAll('.pipeline-node').length > 5", 60)
        page.evaluate(_FOR_EACH.format(".feature-hints__close, [aria-label='Hide menu']", "click"))
        time.sleep(5)  # the view moves to its place
        page.evaluate(_FOR_EACH.format(".feature-hints, .update-reminder-unexpanded", "remove"))
        page.save_screenshot(path)


def _mlflow(path: Path) -> None:
    with _scratch_demo(("training.loss=bce_dice", "training.loss=bce_iou")) as folder, _browser(folder) as page:
        store = f"sqlite:///{folder / 'mlflow.db'}"
        command = [BIN / "mlflow", "ui", "--backend-store-uri", store, "--port", str(PORT), "--workers", "1"]
        with _running(command, f"http://127.0.0.1:{PORT}/health"):
            from mlflow import MlflowClient

            client = MlflowClient(store)
            experiment = client.get_experiment_by_name("ph2-segnet-demo").experiment_id
            runs = quote(json.dumps([run.info.run_id for run in client.search_runs([experiment])]))
            query = f"runs={runs}&experiments={quote(json.dumps([experiment]))}"
            page.open(f"http://127.0.0.1:{PORT}/#/compare-runs?{query}", 1300, 1040)
            page.wait("document.body.innerText.includes('Run details')", 120)
            time.sleep(5)  # the panel of the assistant opens by itself
            page.evaluate(_FOR_EACH.format("[aria-label='Close']", "click"))
            page.evaluate("document.querySelector('.du-bois-light-collapse-header').click()")  # the plots
            page.evaluate(_FOR_EACH.format("[aria-label$='Show diff only']", "click"))
            time.sleep(3)
            page.save_screenshot(path)


@contextmanager
def _scratch_demo(changes: Sequence[str] = ("training.seed=0",)) -> Iterator[Path]:
    """Run the demo once with each change, with its data and MLflow's store in a temporary folder."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{name}/mlflow.db"}
        for change in changes:
            command = [BIN / "kedro", "run", "--env", "demo", "--params", f"data_root={name}/demo,{change}"]
            subprocess.run(command, cwd=PROJECT, env=os.environ | store, check=True)
        yield Path(name)


@contextmanager
def _browser(folder: Path) -> Iterator["Page"]:  # noqa: F821
    from browser import browse

    with browse(folder) as page:
        yield page


@contextmanager
def _running(command: Sequence[object], url: str) -> Iterator[None]:
    """Run a server until the end of the block, from when it answers."""
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # its processes outlive MLflow
    process = subprocess.Popen([str(part) for part in command], cwd=PROJECT, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(url, timeout=10):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.5)
        yield
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGTERM)  # kedro viz serves from a child
        process.wait(30)


FIGURES = "docs/tools/figures.py"
SYNTHETIC = f"{SOURCES}/data/sources/synthetic.py"
RELEASED = f"{SOURCES}/released/network.safetensors"
REGISTRY = {
    "strip.png": Image(_figure("figures", "draw_strip"), [SYNTHETIC, RELEASED, FIGURES]),
    "failures.png": Image(_figure("figures", "draw_failures"), [SYNTHETIC, RELEASED, FIGURES]),
    "segnet_v2.svg": Image(_figure("figures", "draw_network", "segnet", 1.0), [f"{SOURCES}/model/segnet.py", FIGURES]),
    "recommended_network.svg": Image(
        _figure("figures", "draw_network", "segnet_skip", 0.25),
        [f"{SOURCES}/model/segnet.py", f"{SOURCES}/model/segnet_skip.py", "conf/accurate", FIGURES],
    ),
    "architecture.svg": Image(_figure("figures", "draw_architecture"), ["pyproject.toml", FIGURES]),
    "iou_and_dice.svg": Image(
        _figure("iou_and_dice", "draw_iou_and_dice", PROJECT / "results"),
        ["docs/tools/iou_and_dice.py", f"{SOURCES}/paper/legacy.py"],
    ),
    "forest_plot.svg": Image(_figure("forest_plot", "draw"), ["results/forest_plot.py", "results/models.csv"]),
    "report.png": Image(_report, [f"{SOURCES}/report", "conf/demo"]),
    "page.png": Image(_page, [f"{SOURCES}/serving/page", RELEASED]),
    "kedro_viz.png": Image(_kedro_viz, ["src/lesion_project/pipelines/training/pipeline.py", "conf/base/catalog.yml"]),
    "mlflow_compare.png": Image(_mlflow, ["src/lesion_project/tracking/description.py", "conf/demo"]),
}


def main(names: Sequence[str]) -> None:
    """Make the named images, or all of them."""
    versions = json.loads(VERSIONS.read_text()) if VERSIONS.exists() else {}
    for name in names or REGISTRY:
        REGISTRY[name].make(IMAGES / name)
        if name.endswith(".png"):
            Pillow.open(IMAGES / name).convert("RGB").quantize(256).save(IMAGES / name, optimize=True)
        versions[name] = find_version(REGISTRY[name].sources)
        VERSIONS.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n")
        print(IMAGES / name)


if __name__ == "__main__":
    main(sys.argv[1:])
