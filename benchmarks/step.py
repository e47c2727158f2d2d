"""Time a training step alone and beside a busy process: `python -m benchmarks.step`.

keras_step.py times the same step in Keras.
"""

import click

from benchmarks.busy import print_times
from benchmarks.speed import make_random_images
from lesion_segmentation.core.hardware import choose_hardware, keep_freed_memory
from lesion_segmentation.model import NetworkMetadata, build_network
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.loop import make_fabric
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer


@click.command()
@click.option("--width", default=0.25, show_default=True)
@click.option("--batch", default=10, show_default=True)
@click.option("--precision", default="auto", type=click.Choice(["auto", "32-true", "bf16-mixed"]), show_default=True)
def main(width: float, batch: int, precision: str) -> None:
    """Time SegNet-v2 with nearest unpooling, which Keras has as well, without online augmentation."""
    keep_freed_memory()
    hardware = choose_hardware("cpu", precision)
    network = build_network(NetworkMetadata("segnet", {"width": width, "unpooling": "nearest"}))
    fabric = make_fabric(hardware)
    trainer = Trainer(fabric, network, TrainingSettings(batch_size=batch, loss="bce_dice"), steps=1_000)
    images, masks = make_random_images(batch)
    pixels, lesion = images.permute(0, 3, 1, 2).float(), masks[:, None].float()
    trainer.network.train()
    print_times(f"PyTorch, {hardware.precision}", lambda: bool(trainer.step(pixels, lesion, EpochMetrics())), batch)


if __name__ == "__main__":
    main()
