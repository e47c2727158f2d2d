"""Tests that need a CUDA device: placement, bf16, agreement with the CPU, and steps that do not synchronize."""

import numpy as np
import pandas as pd
import pytest
import torch

from lesion_segmentation.core.hardware import choose_hardware
from lesion_segmentation.prediction import predict
from lesion_segmentation.training import loop
from lesion_segmentation.training.augmentation import apply_augmentation, select_rows
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.initialization import prepare_network
from lesion_segmentation.training.samples import TrainingData, load_samples
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer

pytestmark = pytest.mark.gpu

QUICK = {"architecture": "segnet_skip", "loss": "bce_iou", "width": 0.0625, "epochs": 3, "batch_size": 4}
TOLERANCE = 0.02
"""Mean difference of probabilities after three epochs in float32, since sums are computed in another order."""


@pytest.fixture(scope="module")
def data(images, masks, cases) -> TrainingData:
    samples = pd.DataFrame({"sample_id": cases["case_id"][:14], "subset": ["train"] * 10 + ["validation"] * 4})
    return TrainingData(images, masks, samples)


def test_gpu_and_bf16_are_chosen_by_default():
    hardware = choose_hardware()
    assert hardware.device == "cuda"
    assert hardware.precision == (
        "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    )


def test_training_agrees_on_both_devices(data):
    probabilities = []
    for device in ("cpu", "cuda"):
        network, _ = loop.fit(data, TrainingSettings(**QUICK, device=device, precision="32-true"))
        probabilities.append(predict(network, np.stack(list(data.images.values())), precision="32-true"))
    assert np.abs(probabilities[0] - probabilities[1]).mean() < TOLERANCE


def test_prediction_agrees_on_both_devices(data):
    network, _ = loop.fit(data, TrainingSettings(**QUICK))
    pixels = np.stack(list(data.images.values()))
    on_cpu, on_gpu = (predict(network, pixels, device=device, precision="32-true") for device in ("cpu", "cuda"))
    assert np.abs(on_cpu - on_gpu).max() < 1e-2
    assert next(network.parameters()).device.type == "cpu"


def test_training_step_does_not_synchronize(data):
    import lightning

    settings = TrainingSettings(**QUICK)
    hardware = choose_hardware()
    fabric = lightning.Fabric(accelerator="cuda", devices=1, precision=hardware.precision)
    train = load_samples(data, fabric.device)
    trainer = Trainer(fabric, prepare_network(settings, data.images.values()), settings, 100)
    order, augmentation = trainer.sample_epoch(1, train)

    def step(metrics: EpochMetrics) -> None:
        pixels, lesions = train.batch(order[:4])
        trainer.step(*apply_augmentation(pixels, lesions, select_rows(augmentation, slice(4))), metrics)

    trainer.network.train()
    metrics = EpochMetrics()
    step(metrics)  # the first step chooses algorithms and creates the optimizer's state
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step(metrics)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert train.images.device.type == "cuda"
    assert np.isfinite(metrics.scores()["loss"])
