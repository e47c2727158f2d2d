"""`python -m benchmarks.step`: one training step, alone and beside a busy process; keras_step.py measures Keras so."""

import click

from benchmarks.busy import tell
from benchmarks.speed import draw_pictures
from lesion_segmentation.core.hardware import PRECISIONS, choose_hardware, keep_freed_memory
from lesion_segmentation.model import NetworkMetadata, build_network
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.loop import make_fabric
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer


@click.command()
@click.option("--width", default=0.25, show_default=True)
@click.option("--batch", default=10, show_default=True)
@click.option("--precision", default="auto", type=click.Choice(PRECISIONS), show_default=True)
def main(width: float, batch: int, precision: str) -> None:
    """Of SegNet-v2 with nearest unpooling, which Keras can do, too; without changes on the fly."""
    keep_freed_memory()
    hardware = choose_hardware("cpu", precision)
    network = build_network(NetworkMetadata("segnet", {"width": width, "unpooling": "nearest"}))
    fabric = make_fabric(hardware)
    trainer = Trainer(fabric, network, TrainingSettings(batch_size=batch, loss="bce_dice"), steps=1_000)
    images, masks = draw_pictures(batch)
    pixels, lesion = images.permute(0, 3, 1, 2).float(), masks[:, None].float()
    trainer.network.train()
    tell(f"PyTorch, {hardware.precision}", lambda: bool(trainer.step(pixels, lesion, EpochMetrics())), batch)


if __name__ == "__main__":
    main()
