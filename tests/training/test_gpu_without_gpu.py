"""The GPU code path on a machine without GPU: synchronizations, and types and layouts of convolutions."""

from unittest.mock import patch

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
from fake_gpu import fake_gpu, missing_seams

from lesion_segmentation.model import Network, NetworkMetadata, build_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.training.augmentation import apply_augmentation, sample_augmentation, select_rows
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.samples import TrainingData, load_samples
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer

SETTINGS = TrainingSettings(
    architecture="segnet_skip", loss="bce_iou", width=0.0625, epochs=1, batch_size=4, device="cuda"
)
IDS = [str(number) for number in range(12)]
IMAGES = {name: np.zeros((64, 96, 3), np.uint8) for name in IDS}
MASKS = {name: np.zeros((64, 96), np.uint8) for name in IDS}
DATA = TrainingData(IMAGES, MASKS, pd.DataFrame({"sample_id": IDS, "subset": ["train"] * 8 + ["validation"] * 4}))

needs_seams = pytest.mark.skipif(bool(missing_seams()), reason=missing_seams() or "-")


def small_network() -> Network:
    return build_network(NetworkMetadata("segnet", {"width": 0.0625}))


@needs_seams
def test_training_steps_do_not_synchronize_and_convolve_in_bf16_with_channels_last():
    with fake_gpu() as watch:
        fabric = lightning.Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
        trainer = Trainer(fabric, small_network(), SETTINGS, steps=9)
        train = load_samples(DATA, fabric.device)
        order, augmentation = trainer.sample_epoch(1, train)
        for _ in range(3):
            watch.waits.clear()
            chosen = select_rows(augmentation, slice(4))
            trainer.step(*apply_augmentation(*train.batch(order[:4]), chosen), EpochMetrics())
            assert not watch.waits
            tensors, values = trainer.state()
            trainer.restore({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, values)
        states = trainer.optimizer.state_dict()["state"].values()
        for state, like in zip(states, trainer.raw_network.parameters(), strict=True):
            assert state["step"].device.type == "cuda"
            assert state["exp_avg"].stride() == like.stride()
    assert watch.convolved == {(torch.bfloat16, True, False)}


@needs_seams
def test_training_synchronizes_nine_times_per_epoch_and_leaves_other_gpus_alone():
    waits = []
    for epochs in (1, 3):
        with fake_gpu(count=8) as watch, patch.object(torch.cuda, "get_rng_state") as touched:
            fit(
                DATA,
                SETTINGS.model_copy(update={"epochs": epochs, "batch_size": 1 + epochs}),
            )
        waits.append(watch.waits.total())
        assert not touched.called
    # The order and five tensors of augmentation are sent; the losses and the scores of both subsets are read.
    assert waits[1] - waits[0] == 2 * 9, watch.waits


@needs_seams
def test_prediction_synchronizes_thrice_per_batch_and_32_true_is_not_tf32():
    with fake_gpu() as watch:
        predictor = Predictor(small_network(), "cuda", "32-true", 4, test_time_augmentation="four")
        watch.waits.clear()
        assert len(list(predictor(IMAGES.values()))) == 12
    assert sum(watch.waits.values()) == 9, watch.waits  # three batches, with images, probabilities and disagreements
    assert not any(tf32 for *_, tf32 in watch.convolved)


def test_network_and_augmentation_compile_to_one_graph_each():
    pixels = torch.zeros(2, 3, 64, 96)
    augmentation = sample_augmentation(2, 64, 96, SETTINGS.online_augmentation, torch.Generator())
    torch.compile(small_network(), fullgraph=True, backend="eager")(pixels).sum().backward()
    torch.compile(apply_augmentation, fullgraph=True, backend="eager")(pixels, pixels[:, :1], augmentation)
