"""Compare prediction engines, and this project with other libraries: `python -m benchmarks.peers engines`.

This needs onnxruntime, openvino and segmentation-models-pytorch; what is missing is skipped. Keras has its own
environment (benchmarks/keras_step.py). results/measurements contains earlier results.
"""

import importlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.networks import HEIGHT, WIDTH, build, count_gflop
from benchmarks.speed import make_random_images
from lesion_segmentation.core.hardware import choose_hardware, keep_freed_memory
from lesion_segmentation.model import Network, NetworkMetadata, build_network, load_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.prediction.networks import fuse_batch_norms
from lesion_segmentation.prediction.settings import TestTimeAugmentation
from lesion_segmentation.released import WEIGHTS
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.loop import make_fabric
from lesion_segmentation.training.optimization import LOSSES
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer

PRECISIONS = {"float32": "32-true", "bf16": "bf16-mixed"}
IMAGES = {"engines": 4, "prediction": 8, "training": 10}
FLIPS: tuple[TestTimeAugmentation, ...] = ("none", "four")
Run = Callable[[], object]


class Contender(NamedTuple):
    """A function to time, and the name of the contender that its speed is compared with."""

    name: str
    precision: str
    run: Run
    reference: str
    gflop: float


class OnnxModule(nn.Module):
    """Module for `Predictor.from_module` that calls onnxruntime, from an array (N, 3, H, W) to the logits."""

    def __init__(self, call: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.call = call

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxModule":
        return self

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.call(np.ascontiguousarray(x.numpy())))[:, :1]


@click.command()
@click.argument("task", type=click.Choice(list(IMAGES)))
@click.option("--threads", default=torch.get_num_threads(), show_default="one per core")
@click.option("--rounds", default=7, show_default=True)
@click.option("--keras", "python", help="The Python of an environment with Keras.")
def main(task: str, threads: int, rounds: int, python: str | None) -> None:
    """Time each contender in rounds of alternating order. Nothing else should be running."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    contenders = list(list_engines() if task == "engines" else list_peers(task, threads, python))
    click.echo(compare(contenders, rounds, IMAGES[task]).round(2).to_string(index=False))


def compare(contenders: Sequence[Contender], rounds: int, images: int) -> pd.DataFrame:
    """Return the milliseconds per image and the speed of each contender, as medians with the range of the rounds.

    `speed` is the time of the reference in the same round and precision, divided by that of the contender.
    """
    for contender in contenders:
        contender.run()
    keys = [(contender.name, contender.precision) for contender in contenders]
    times = pd.DataFrame([time_round(contenders, number) for number in range(rounds)])
    times.columns = pd.MultiIndex.from_tuples(keys)
    rows = []
    for (name, precision), contender in zip(keys, contenders, strict=True):
        own, reference = times[name, precision], times[contender.reference, precision]
        row = {"contender": name, "precision": precision, "reference": contender.reference, "gflop": contender.gflop}
        for key, values in {"ms": 1e3 * own / images, "speed": reference / own}.items():
            row |= {key: values.median(), f"{key}_min": values.min(), f"{key}_max": values.max()}
        rows.append(row)
    return pd.DataFrame(rows)


def time_round(contenders: Sequence[Contender], number: int) -> list[float]:
    """Return the seconds of one call of each contender. Every second round runs backwards."""
    seconds = [0.0] * len(contenders)
    for index in sorted(range(len(contenders)), reverse=bool(number % 2)):
        start = time.perf_counter()
        contenders[index].run()
        seconds[index] = time.perf_counter() - start
    return seconds


def list_engines() -> Iterator[Contender]:
    """Yield the released network in each engine, which `Predictor` calls from its threads, without and with flips."""
    network = load_network(WEIGHTS)
    meta, gflop = network.metadata, count_gflop(network)
    images = list(make_random_images(IMAGES["engines"])[0].numpy())
    call = _start_onnxruntime(_export(fuse_batch_norms(network)), 1)
    for flips, (precision, name) in product(FLIPS, PRECISIONS.items()):
        predictors = {"PyTorch": Predictor(network, "cpu", name, test_time_augmentation=flips)}
        if _find("openvino"):
            predictors["OpenVINO"] = Predictor(network, "cpu", name, engine="openvino", test_time_augmentation=flips)
        if call and precision == "float32":  # onnxruntime has no bf16 convolution for CPUs
            predictors["onnxruntime"] = Predictor.from_module(
                OnnxModule(call), (HEIGHT, WIDTH), meta.input_mean, meta.input_std, meta.resizing, meta.framing,
                device="cpu", precision="32-true", test_time_augmentation=flips,
            )  # fmt: skip
        for engine, predictor in predictors.items():
            run = lambda predictor=predictor: predictor.flip_logits(images)  # noqa: E731
            yield Contender(f"{engine}, {flips}", precision, run, f"PyTorch, {flips}", gflop)


def list_peers(task: str, threads: int, python: str | None) -> Iterator[Contender]:
    """Yield this project's networks, those of other libraries in a plain loop, and U²-Net-p in onnxruntime."""
    nearest = NetworkMetadata("segnet", {"width": 0.25, "unpooling": "nearest"})
    ours = {name: build(name, 0.25) for name in ("segnet", "segnet_skip", "unet_lite, lite0")}
    ours["segnet, nearest"] = build_network(nearest)
    peers = {
        "MONAI U-Net": ("segnet", build("monai_unet", 0.25)),
        "smp U-Net, lite0": ("unet_lite, lite0", _build_smp()),
    }
    by_project, plainly = (_train, _train_plainly) if task == "training" else (_predict, _predict_plainly)
    for precision in PRECISIONS:
        for name, network in ours.items():
            yield Contender(name, precision, by_project(network, precision), name, count_gflop(network))
        for name, (reference, module) in peers.items():
            if module is not None:
                yield Contender(name, precision, plainly(module, precision), reference, count_gflop(module))
        if python:
            run = _start_keras(python, task, precision, threads)
            yield Contender("Keras SegNet", precision, run, "segnet, nearest", count_gflop(build_network(nearest)))
    u2netp = build("u2netp", 1)
    if task == "prediction" and (call := _start_onnxruntime(_export(u2netp), threads)) is not None:
        pixels = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
        run = lambda: [call(pixels) for _ in range(IMAGES[task])]  # noqa: E731
        yield Contender("U²-Net-p, onnxruntime", "float32", run, "unet_lite, lite0", count_gflop(u2netp))


def _predict(network: Network, precision: str) -> Run:
    predictor = Predictor(network, "cpu", PRECISIONS[precision], test_time_augmentation="none")
    images = list(make_random_images(IMAGES["prediction"])[0].numpy())
    return lambda: predictor.flip_logits(images)


def _predict_plainly(module: nn.Module, precision: str) -> Run:
    module = module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = make_random_images(IMAGES["prediction"])[0].permute(0, 3, 1, 2)

    @torch.inference_mode()
    def run() -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return module((pixels.float() - 127) / 128).float()

    return run


def _train(network: Network, precision: str) -> Run:
    settings = TrainingSettings(batch_size=IMAGES["training"], loss="bce_dice")
    trainer = Trainer(make_fabric(choose_hardware("cpu", PRECISIONS[precision])), network, settings, steps=100_000)
    images, masks = make_random_images(settings.batch_size)
    pixels, lesion = images.permute(0, 3, 1, 2).float(), masks[:, None].float()
    trainer.network.train()
    return lambda: bool(trainer.step(pixels, lesion, EpochMetrics()))


def _train_plainly(module: nn.Module, precision: str) -> Run:
    module = module.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    images, masks = make_random_images(IMAGES["training"])
    pixels, lesion = images.permute(0, 3, 1, 2), masks[:, None].float()

    def run() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = module((pixels.float() - 127) / 128)
        loss = LOSSES["bce_dice"](logits.float(), lesion)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run


def _build_smp() -> nn.Module | None:
    library = _find("segmentation_models_pytorch")
    return library and library.Unet("timm-tf_efficientnet_lite0", encoder_weights=None)


def _start_onnxruntime(model: bytes, threads: int) -> Callable[[np.ndarray], np.ndarray] | None:
    if (onnxruntime := _find("onnxruntime")) is None:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"images": pixels})[0]


def _start_keras(python: str, task: str, precision: str, threads: int) -> Run:
    """Start keras_step.py, which makes a call for each line that it reads."""
    policy = "mixed_bfloat16" if precision == "bf16" else precision
    command = [python, str(Path(__file__).with_name("keras_step.py")), "--serve", task, "--precision", policy]
    variables = os.environ | {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": "1"}
    process = subprocess.Popen([*command, "--batch", str(IMAGES[task])], env=variables, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None

    def run() -> None:
        print(file=requests, flush=True)
        if not answers.readline():
            raise click.ClickException("keras_step.py has ended. Run it to see why.")

    return run


def _export(module: nn.Module) -> bytes:
    program = torch.onnx.export(
        module.eval(), (torch.zeros(2, 3, HEIGHT, WIDTH),), dynamo=True, input_names=["images"], verbose=False,
        dynamic_shapes=({0: torch.export.Dim("N", min=1, max=64)},),
    )  # fmt: skip
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def _find(package: str) -> Any:
    """Import an optional package. If it is missing, print why its contenders are skipped and return None."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        click.echo(f"{package} is skipped: {error}.", err=True)
        return None


if __name__ == "__main__":
    main()
