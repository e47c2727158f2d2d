"""Losses, schedules, averaging and metrics, each compared with an independent implementation."""

import copy
import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel

from lesion_segmentation.core.hardware import choose_hardware
from lesion_segmentation.evaluation import score_case
from lesion_segmentation.model import SegNet
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.optimization import (
    LOSSES,
    AveragedNetwork,
    build_optimizer,
    build_schedule,
    dice_loss,
    iou_loss,
)
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import halve


def test_half_images_are_means_and_half_masks_are_lesion_where_half_of_a_block_is():
    pixels = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).float()
    masks = torch.tensor([[1, 0, 1, 0, 1], [0, 0, 0, 1, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).float().view(1, 1, 4, 5)
    half, half_masks = halve(pixels, masks)
    assert half.shape == (2, 3, 2, 3)
    for row, column in np.ndindex(2, 3):  # blocks of the last column are one pixel wide
        block = np.s_[..., 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        torch.testing.assert_close(half[..., row, column], pixels[block].mean((-2, -1)))
    assert half_masks[0, 0].tolist() == [[0, 1, 1], [1, 0, 0]]
    assert halve(pixels, masks, soft=True)[1][0, 0].tolist() == [[0.25, 0.5, 0.5], [0.75, 0, 0]]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 16, 20, generator=generator)
    return logits, (torch.rand(3, 1, 16, 20, generator=generator) > 0.6).float()


def test_dice_loss_equals_monais(batch):
    reference = DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0)(*batch)
    assert dice_loss(*batch) == pytest.approx(float(reference), abs=1e-6)


def test_iou_loss_equals_monais(batch):
    reference = DiceLoss(sigmoid=True, jaccard=True, smooth_nr=2.0, smooth_dr=2.0)(*batch)  # MONAI doubles both terms
    assert iou_loss(*batch) == pytest.approx(float(reference), abs=1e-6)


@pytest.mark.parametrize(("name", "part"), [("bce_dice", dice_loss), ("bce_iou", iou_loss)])
def test_sums_of_losses_are_sums_and_reach_every_logit(batch, name, part):
    logits, masks = batch[0].clone().requires_grad_(), batch[1]
    loss = LOSSES[name](logits, masks)
    assert float(loss) == pytest.approx(float(binary_cross_entropy_with_logits(logits, masks) + part(logits, masks)))
    loss.backward()
    assert bool((logits.grad != 0).all())


def rates(settings: TrainingSettings, steps: int) -> list[float]:
    optimizer = build_optimizer(SegNet(0.0625), settings)
    schedule = build_schedule(optimizer, settings, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_inverse_time_equals_keras_decay():
    found = rates(
        TrainingSettings(optimizer="sgd", schedule="inverse_time", learning_rate=0.001, learning_rate_decay=0.0005), 50
    )
    assert found == pytest.approx([0.001 / (1 + 0.0005 * update) for update in range(50)])


def test_one_cycle_peaks_at_30_percent_of_the_updates_and_ends_low():
    found = rates(TrainingSettings(schedule="one_cycle", learning_rate=0.01), 50)
    assert max(found) == pytest.approx(0.01, rel=0.02)
    assert abs(int(np.argmax(found)) - 15) <= 1
    assert found[-1] < 0.0001


def test_fused_adamw_equals_plain_adamw_in_channels_last_layout():
    """The fused optimizer walks through memory and not by index, so different layouts would mix up weights."""
    torch.manual_seed(0)
    network = SegNet(0.0625).to(memory_format=torch.channels_last)
    reference = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    settings = TrainingSettings()
    optimizer = build_optimizer(network, settings)
    assert optimizer.defaults["fused"]
    plain = torch.optim.AdamW(reference.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    for _ in range(3):
        images = torch.rand(2, 3, 32, 32)
        network(images.contiguous(memory_format=torch.channels_last)).square().mean().backward()
        for ours, theirs in zip(network.parameters(), reference.parameters(), strict=True):
            theirs.grad = ours.grad.clone(memory_format=torch.contiguous_format)
        for each in (optimizer, plain):
            each.step()
            each.zero_grad()
    pairs = zip(network.parameters(), reference.parameters(), strict=True)
    assert all(torch.allclose(ours, theirs, atol=1e-6) for ours, theirs in pairs)


def test_sgd_uses_momentum_and_weight_decay():
    settings = TrainingSettings(optimizer="sgd", momentum=0.8, weight_decay=0.03)
    group = build_optimizer(SegNet(0.0625), settings).param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (0.8, 0.03)


def test_averaging_equals_torchs_with_a_growing_decay():
    network = SegNet(0.0625)
    averaged = AveragedNetwork(network, 0.6)
    updates = 0

    def average(mean: torch.Tensor, value: torch.Tensor, count: object) -> torch.Tensor:
        decay = min(0.6, (1 + updates) / (10 + updates))
        return mean * decay + value * (1 - decay)

    reference = AveragedModel(network, avg_fn=average, use_buffers=True)
    reference.n_averaged += 1  # our first update already averages, torch's first one copies
    for updates in range(12):  # noqa: B007 (read by average)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += torch.randn_like(parameter)
        averaged.update()
        reference.update_parameters(network)
    for ours, theirs in zip(averaged.network.parameters(), reference.module.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_decay_of_zero_keeps_the_last_weights():
    network = SegNet(0.0625)
    averaged = AveragedNetwork(network, 0)
    with torch.no_grad():
        network.encoder[0][0][0].weight += 1
    averaged.update()
    assert torch.allclose(averaged.network.encoder[0][0][0].weight, network.encoder[0][0][0].weight)


def test_epoch_metrics_are_means_of_score_case(batch):
    logits, masks = batch
    metrics = EpochMetrics()
    metrics.add(logits[:2], masks[:2])
    metrics.add(logits[2:], masks[2:])
    scores = [score_case((x > 0).numpy()[0], (y > 0).numpy()[0]) for x, y in zip(logits, masks, strict=True)]
    found = metrics.scores()
    for name in ("accuracy", "precision", "recall", "iou", "dice"):
        assert found[name] == pytest.approx(np.mean([score[name] for score in scores]), abs=1e-6)
    assert found["loss"] == pytest.approx(float(binary_cross_entropy_with_logits(logits, masks)), abs=1e-6)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_freed_memory_is_reused_for_the_next_tensor():
    """Count page faults in a new process, since the choice applies to a whole process."""
    script = """
import resource, sys, torch
from lesion_segmentation.core.hardware import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def fill():
    torch.ones(20_000_000)  # 80 MB or 20,000 pages; by default glibc never keeps blocks of more than 32 MB
for _ in range(40):  # the heap grows until a free block holds the next tensor with its alignment
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        choice: int(subprocess.run([sys.executable, "-c", script, choice], capture_output=True, check=True).stdout)
        for choice in ("keep", "default")
    }
    assert faults["keep"] < 0.1 * faults["default"]


def test_hardware_follows_the_settings():
    assert choose_hardware("cpu", "32-true") == ("cpu", "32-true")
    assert choose_hardware("cpu", "bf16-mixed") == ("cpu", "bf16-mixed")


@pytest.mark.parametrize(("computes", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_bf16_is_chosen_if_the_processor_supports_it(monkeypatch, computes, precision):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: computes)
    assert choose_hardware("cpu", "auto") == ("cpu", precision)


@pytest.mark.parametrize(("given", "expected"), [(None, "1000"), ("7", "7")])
def test_openmp_threads_do_not_spin_unless_configured(given, expected):
    """The variable is set on import of the package, before torch is imported."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": given} if given else {}
    code = "import os, sys, lesion_segmentation; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, "False"]
