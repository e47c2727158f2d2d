"""What needs a CUDA device: placement, bf16, agreement with the CPU, and no waiting on the host."""

import numpy as np
import pandas as pd
import pytest
import torch

from lesion_segmentation.core.hardware import choose_hardware
from lesion_segmentation.prediction import predict
from lesion_segmentation.training import loop
from lesion_segmentation.training.augmentation import apply_augmentation
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.samples import load_samples
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer

pytestmark = pytest.mark.gpu

QUICK = {"width": 0.0625, "epochs": 3, "batch_size": 4}
TOLERANCE = 0.02
"""Mean difference of probabilities after three epochs in float32: the order of sums differs, and trainings diverge."""


@pytest.fixture(scope="module")
def samples(cases) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": cases["case_id"][:14], "subset": ["train"] * 10 + ["validation"] * 4})


def test_a_gpu_with_bf16_is_chosen_by_itself():
    hardware = choose_hardware()
    assert hardware.device == "cuda"
    assert hardware.precision == (
        "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    )


def test_training_on_both_devices_agrees(images, masks, samples):
    maps = []
    for device in ("cpu", "cuda"):
        network, _ = loop.fit(images, masks, samples, TrainingSettings(**QUICK, device=device, precision="32-true"))
        maps.append(predict(network, np.stack(list(images.values())), precision="32-true"))
    assert np.abs(maps[0] - maps[1]).mean() < TOLERANCE


def test_prediction_on_both_devices_agrees(images, masks, samples):
    network, _ = loop.fit(images, masks, samples, TrainingSettings(**QUICK))
    pixels = np.stack(list(images.values()))
    on_cpu, on_gpu = (predict(network, pixels, device=device, precision="32-true") for device in ("cpu", "cuda"))
    assert np.abs(on_cpu - on_gpu).max() < 1e-2
    assert next(network.parameters()).device.type == "cpu"


def test_no_step_waits_on_the_host(images, masks, samples):
    import lightning

    settings = TrainingSettings(**QUICK)
    hardware = choose_hardware()
    fabric = lightning.Fabric(accelerator="cuda", devices=1, precision=hardware.precision)
    train = load_samples(images, masks, samples, fabric.device)
    trainer = Trainer(fabric, loop.prepare_network(settings, list(images.values())), settings, 100)
    order, changes = trainer.draw_epoch(1, train)

    def step(metrics: EpochMetrics) -> None:
        pixels, lesions = train.batch(order[:4])
        trainer.step(*apply_augmentation(pixels, lesions, changes.take(slice(0, 4))), metrics)

    trainer.network.train()
    metrics = EpochMetrics()
    step(metrics)  # the first step chooses algorithms and makes the optimizer's state
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step(metrics)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert train.images.device.type == "cuda"
    assert np.isfinite(metrics.scores()["loss"])
