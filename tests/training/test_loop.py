import numpy as np
import pandas as pd
import pytest
import torch

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.hardware import use_threads
from lesion_segmentation.model.metadata import Scaling
from lesion_segmentation.paper import legacy_scores
from lesion_segmentation.prediction import predict
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.samples import TrainingData
from lesion_segmentation.training.settings import OnlineAugmentationSettings, TrainingSettings
from lesion_segmentation.training.trainer import Trainer

QUICK = {
    "architecture": "segnet_skip", "loss": "bce_iou", "width": 0.0625, "epochs": 2, "batch_size": 4, "device": "cpu",
    "precision": "32-true",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(images, masks, cases) -> TrainingData:
    samples = pd.DataFrame({"sample_id": cases["case_id"][:14], "subset": ["train"] * 10 + ["validation"] * 4})
    return TrainingData(images, masks, samples)


def weights(network) -> dict[str, torch.Tensor]:
    return network.state_dict()


def test_callbacks_get_the_rows_of_the_history(data):
    rows: list[dict[str, float]] = []
    _, history = fit(data, TrainingSettings(**QUICK), Callbacks(rows.append))
    assert history.to_dict("records") == rows
    assert list(history["epoch"]) == [1, 2]
    expected = {
        f"{s}_{m}" for s in ("train", "validation") for m in ("loss", "accuracy", "precision", "recall", "iou", "dice")
    }
    assert set(history.columns) == expected | {"epoch", "learning_rate", "seconds"}


@pytest.mark.parametrize("fraction", [0, 0.5])
def test_validation_columns_are_scores_of_the_returned_network(data, fraction):
    network, history = fit(data, TrainingSettings(**QUICK, half_size_fraction=fraction))
    ids = data.select("validation").sample_ids
    probabilities = predict(network, np.stack([data.images[case_id] for case_id in ids]), precision="32-true")
    correct = [(p > 0.5) == data.masks[case_id].astype(bool) for p, case_id in zip(probabilities, ids, strict=True)]
    # One pixel of these four images is 4e-5, and fused convolutions may change one.
    assert history["validation_accuracy"].iloc[-1] == pytest.approx(np.mean(correct), abs=1e-4)


def test_every_row_has_the_legacy_validation_scores(data):
    settings = TrainingSettings(**QUICK, validation_scores=("legacy",))
    network, history = fit(data, settings)
    ids = data.select("validation").sample_ids
    stacked_images, stacked_masks = (np.stack([arrays[case_id] for case_id in ids]) for arrays in data[:2])
    expected = legacy_scores(predict(network, stacked_images, precision="32-true"), stacked_masks)
    last = history.iloc[-1]
    assert {name: last[f"validation_legacy_{name}"] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert history["validation_legacy_iou"].notna().all()


def test_equal_seeds_give_identical_weights_and_different_seeds_do_not(data):
    one, two, other = (weights(fit(data, TrainingSettings(**QUICK, seed=seed))[0]) for seed in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_does_not_depend_on_the_global_random_state(data):
    torch.manual_seed(1)
    one = weights(fit(data, TrainingSettings(**QUICK))[0])
    torch.rand(7)
    two = weights(fit(data, TrainingSettings(**QUICK))[0])
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_training_in_a_slurm_job_is_a_single_process(data, monkeypatch, recwarn):
    alone, _ = fit(data, TrainingSettings(**QUICK))
    for name, value in {"NTASKS": "4", "JOB_ID": "1", "JOB_NAME": "array", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODEID", "0")
    inside, _ = fit(data, TrainingSettings(**QUICK))
    assert all(torch.equal(one, other) for one, other in zip(alone.parameters(), inside.parameters(), strict=True))
    assert not [warning for warning in recwarn if "srun" in str(warning.message)]


def test_every_epoch_has_its_own_order_and_augmentation(data, monkeypatch):
    sampled = []
    sample_epoch = Trainer.sample_epoch

    def record(self, epoch, train):
        sampled.append(sample_epoch(self, epoch, train))
        return sampled[-1]

    monkeypatch.setattr(Trainer, "sample_epoch", record)
    fit(data, TrainingSettings(**QUICK))
    (first, first_parameters), (second, second_parameters) = sampled
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    assert not torch.equal(first_parameters["theta"], second_parameters["theta"])


@pytest.mark.parametrize("augmented", [True, False])
def test_means_of_several_annotators_stay_means_at_half_size(data, monkeypatch, augmented):
    seen = set()
    step = Trainer.step

    def record(self, pixels, masks, *others):
        seen.update(masks.unique().tolist())
        return step(self, pixels, masks, *others)

    monkeypatch.setattr(Trainer, "step", record)
    soft = {case_id: mask.astype(np.float32) * 0.6 + 0.2 for case_id, mask in data.masks.items()}
    augmentation = OnlineAugmentationSettings(enabled=augmented)
    settings = TrainingSettings(**QUICK, half_size_fraction=0.5, online_augmentation=augmentation)
    fit(data._replace(masks=soft).select("train"), settings)
    assert any(0.25 < value < 0.75 for value in seen)


@pytest.mark.parametrize(("fraction", "epochs", "half"), [(0, 2, 0), (0.6, 4, 2), (0.9, 1, 0)])
def test_first_epochs_have_images_of_half_height_and_width(data, monkeypatch, fraction, epochs, half):
    sizes = []
    step = Trainer.step

    def record(self, pixels, masks, *others):
        sizes.append((pixels.shape[2:], masks.shape[2:]))
        return step(self, pixels, masks, *others)

    monkeypatch.setattr(Trainer, "step", record)
    network, _ = fit(data, TrainingSettings(**QUICK | {"epochs": epochs}, half_size_fraction=fraction))
    height, width = network.metadata.input_size
    steps = len(sizes) // epochs
    expected = [(height // 2, width // 2)] * half * steps + [(height, width)] * (epochs - half) * steps
    assert sizes == [(size, size) for size in expected]


def test_number_of_half_size_epochs_is_rounded_down():
    counts = [TrainingSettings(epochs=100, half_size_fraction=share).half_size_epochs for share in (0.29, 0.295, 0.57)]
    assert counts == [29, 29, 57]


def test_number_of_threads_applies_to_one_training_only(data):
    before = torch.get_num_threads()
    fit(data, TrainingSettings(**QUICK, threads=before + 1))
    assert torch.get_num_threads() == before + 1
    fit(data, TrainingSettings(**QUICK))
    assert torch.get_num_threads() == before


def test_training_reduces_the_loss(data):
    settings = TrainingSettings(
        **(QUICK | {"epochs": 12}), online_augmentation=OnlineAugmentationSettings(enabled=False)
    )
    _, history = fit(data, settings)
    assert history["train_loss"].iloc[-1] < 0.85 * history["train_loss"].iloc[0]


def test_history_has_no_validation_columns_without_validation_cases(data):
    _, history = fit(data.select("train"), TrainingSettings(**(QUICK | {"epochs": 1})))
    assert not [name for name in history.columns if name.startswith("validation")]


def test_scaling_is_measured_on_the_training_samples(data):
    network, _ = fit(data, TrainingSettings(**(QUICK | {"epochs": 1})))
    train = np.stack([data.images[case_id] for case_id in data.select("train").sample_ids])
    scaled = Scaling(network.metadata)(torch.tensor(train).permute(0, 3, 1, 2).float())
    assert scaled.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (scaled.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3
    raw, _ = fit(data, TrainingSettings(**(QUICK | {"epochs": 1, "scaling": "raw"})))
    assert torch.equal(Scaling(raw.metadata)(torch.ones(1, 3, 1, 1)), torch.ones(1, 3, 1, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "bce", "optimizer": "sgd", "schedule": "inverse_time", "learning_rate": 0.05, "ema_decay": 0},
        {"loss": "bce_dice", "unpooling": "nearest"},
    ],
)
def test_every_loss_optimizer_and_schedule_reduces_the_loss(data, changes):
    still = OnlineAugmentationSettings(enabled=False)
    _, history = fit(data, TrainingSettings(**(QUICK | changes | {"epochs": 12}), online_augmentation=still))
    assert history["train_loss"].iloc[-1] < 0.85 * history["train_loss"].iloc[0]


def test_fit_explains_wrong_settings(data):
    with pytest.raises(InputError, match="batch_size is 11, but the training set has only 10"):
        fit(data, TrainingSettings(**(QUICK | {"batch_size": 11})))
    with pytest.raises(
        InputError, match=r"no longer finite in epoch 1 .* first on the batch of SYN0.*no checkpoint yet"
    ):
        fit(
            data,
            TrainingSettings(**(QUICK | {"learning_rate": 1e30, "optimizer": "sgd"})),
        )
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="PyTorch finds no GPU"):
            fit(data, TrainingSettings(**(QUICK | {"device": "cuda"})))


def test_fit_detects_divergence_in_the_last_update(data, monkeypatch):
    """No loss is computed after the last update that could show it."""
    run_epoch = Trainer.run_epoch

    def spoil(self: Trainer, epoch: int, *arguments: object) -> dict[str, float]:
        row = run_epoch(self, epoch, *arguments)
        if epoch == 2:
            next(self.averaged.network.parameters()).fill_(float("nan"))
        return row

    monkeypatch.setattr(Trainer, "run_epoch", spoil)
    with pytest.raises(InputError, match=r"diverged in its last update: 1 of the network's tensors"):
        fit(data, TrainingSettings(**QUICK))


@pytest.mark.parametrize(("threads", "fraction", "seconds", "warned"), [
    (2, 0, (10, 9, 12, 40, 50), [4]), (2, 0, (10, 9, 18, 20), []), (1, 0, (10, 9, 40), []), (2, 0, (40, 9, 9), []),
    (2, 0, (1, 4), []), (2, 0.5, (2, 2, 9, 9), []), (2, 0.5, (2, 2, 9, 40), [4]),
])  # fmt: skip
def test_epoch_that_a_busy_processor_delays_is_reported_once(
    data, monkeypatch, caplog, threads, fraction, seconds, warned
):
    def run(self, epoch, *_):
        return {"epoch": epoch, "train_dice": 0.5, "seconds": seconds[epoch - 1]}

    monkeypatch.setattr(Trainer, "run_epoch", run)
    try:
        changes = {"epochs": len(seconds), "threads": threads, "half_size_fraction": fraction}
        fit(data, TrainingSettings(**QUICK | changes))
    finally:
        use_threads(None)
    sentences = [record.getMessage() for record in caplog.records if "training.threads=1" in record.getMessage()]
    assert [int(sentence.split()[1]) for sentence in sentences] == warned
    assert all("took 40 seconds, the fastest one 9" in each and "about 18 seconds" in each for each in sentences)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory"),
     MemoryError()],
    ids=["card", "machine", "python"],
)  # fmt: skip
def test_out_of_memory_error_names_the_batch_size(data, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(InputError, match=r"not sufficient for a batch of 4 images\. Reduce training\.batch_size"):
        fit(data, TrainingSettings(**QUICK))


def test_other_errors_are_not_taken_for_out_of_memory(data, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        fit(data, TrainingSettings(**QUICK))
