import numpy as np
import pandas as pd
import pytest
import torch

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model.scaling import Scaling
from lesion_segmentation.paper import legacy_scores
from lesion_segmentation.prediction import predict
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.settings import OnlineAugmentationSettings, TrainingSettings
from lesion_segmentation.training.trainer import Trainer

QUICK = {"width": 0.0625, "epochs": 2, "batch_size": 4, "device": "cpu", "precision": "32-true"}


@pytest.fixture(scope="module")
def samples(cases) -> pd.DataFrame:
    subset = ["train"] * 10 + ["validation"] * 4
    return pd.DataFrame({"sample_id": cases["case_id"][:14], "subset": subset})


def weights(network) -> dict[str, torch.Tensor]:
    return network.state_dict()


def test_history_and_listener_tell_the_same(images, masks, samples):
    heard: list[dict[str, float]] = []
    _, history = fit(images, masks, samples, TrainingSettings(**QUICK), Callbacks(heard.append))
    assert history.to_dict("records") == heard
    assert list(history["epoch"]) == [1, 2]
    expected = {
        f"{s}_{m}" for s in ("train", "validation") for m in ("loss", "accuracy", "precision", "recall", "iou", "dice")
    }
    assert set(history.columns) == expected | {"epoch", "learning_rate", "seconds"}


def test_validation_columns_are_of_the_network_that_is_returned(images, masks, samples):
    network, history = fit(images, masks, samples, TrainingSettings(**QUICK))
    ids = samples.loc[samples["subset"] == "validation", "sample_id"]
    probabilities = predict(network, np.stack([images[case_id] for case_id in ids]), precision="32-true")
    correct = [(p > 0.5) == masks[case_id].astype(bool) for p, case_id in zip(probabilities, ids, strict=True)]
    # One pixel of these four pictures is 4e-5; fused convolutions may move one.
    assert history["validation_accuracy"].iloc[-1] == pytest.approx(np.mean(correct), abs=1e-4)


def test_legacy_scores_of_validation_stand_in_every_row(images, masks, samples):
    settings = TrainingSettings(**QUICK, validation_scores=("legacy",))
    network, history = fit(images, masks, samples, settings)
    ids = samples.loc[samples["subset"] == "validation", "sample_id"]
    stacked_images, stacked_masks = (np.stack([of[case_id] for case_id in ids]) for of in (images, masks))
    expected = legacy_scores(predict(network, stacked_images, precision="32-true"), stacked_masks)
    last = history.iloc[-1]
    assert {name: last[f"validation_legacy_{name}"] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert history["validation_legacy_iou"].notna().all()


def test_one_seed_gives_identical_weights_and_another_does_not(images, masks, samples):
    one, two, other = (
        weights(fit(images, masks, samples, TrainingSettings(**QUICK, seed=seed))[0]) for seed in (3, 3, 4)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_does_not_depend_on_what_ran_before(images, masks, samples):
    torch.manual_seed(1)
    one = weights(fit(images, masks, samples, TrainingSettings(**QUICK))[0])
    torch.rand(7)
    two = weights(fit(images, masks, samples, TrainingSettings(**QUICK))[0])
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_in_a_job_of_a_cluster_a_training_is_one_process(images, masks, samples, monkeypatch, recwarn):
    alone, _ = fit(images, masks, samples, TrainingSettings(**QUICK))
    for name, value in {"NTASKS": "4", "JOB_ID": "1", "JOB_NAME": "array", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODEID", "0")
    inside, _ = fit(images, masks, samples, TrainingSettings(**QUICK))
    assert all(torch.equal(one, other) for one, other in zip(alone.parameters(), inside.parameters(), strict=True))
    assert not [warning for warning in recwarn if "srun" in str(warning.message)]


def test_the_number_of_threads_is_that_of_its_own_training(images, masks, samples):
    before = torch.get_num_threads()
    fit(images, masks, samples, TrainingSettings(**QUICK, threads=before + 1))
    assert torch.get_num_threads() == before + 1
    fit(images, masks, samples, TrainingSettings(**QUICK))
    assert torch.get_num_threads() == before


def test_the_loss_falls(images, masks, samples):
    settings = TrainingSettings(
        **(QUICK | {"epochs": 12}), online_augmentation=OnlineAugmentationSettings(enabled=False)
    )
    _, history = fit(images, masks, samples, settings)
    assert history["train_loss"].iloc[-1] < 0.85 * history["train_loss"].iloc[0]


def test_no_validation_cases_leave_no_validation_columns(images, masks, samples):
    _, history = fit(images, masks, samples[samples["subset"] == "train"], TrainingSettings(**(QUICK | {"epochs": 1})))
    assert not [name for name in history.columns if name.startswith("validation")]


def test_scaling_is_that_of_the_training_samples(images, masks, samples):
    network, _ = fit(images, masks, samples, TrainingSettings(**(QUICK | {"epochs": 1})))
    train = np.stack([images[case_id] for case_id in samples.loc[samples["subset"] == "train", "sample_id"]])
    scaled = Scaling(network.metadata)(torch.tensor(train).permute(0, 3, 1, 2).float())
    assert scaled.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (scaled.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3
    raw, _ = fit(images, masks, samples, TrainingSettings(**(QUICK | {"epochs": 1, "scaling": "raw"})))
    assert torch.equal(Scaling(raw.metadata)(torch.ones(1, 3, 1, 1)), torch.ones(1, 3, 1, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "bce", "optimizer": "sgd", "schedule": "inverse_time", "learning_rate": 0.05, "ema_decay": 0},
        {"schedule": "cosine", "unpooling": "nearest"},
    ],
)
def test_every_choice_learns(images, masks, samples, changes):
    still = OnlineAugmentationSettings(enabled=False)
    _, history = fit(
        images, masks, samples, TrainingSettings(**(QUICK | changes | {"epochs": 12}), online_augmentation=still)
    )
    assert history["train_loss"].iloc[-1] < 0.85 * history["train_loss"].iloc[0]


def test_mistakes_are_told(images, masks, samples):
    with pytest.raises(InputError, match="batch_size is 11, but there are only 10"):
        fit(images, masks, samples, TrainingSettings(**(QUICK | {"batch_size": 11})))
    with pytest.raises(
        InputError, match=r"no longer finite in epoch 1 .* first on the batch of SYN0.*no checkpoint yet"
    ):
        fit(images, masks, samples, TrainingSettings(**(QUICK | {"learning_rate": 1e30, "optimizer": "sgd"})))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="PyTorch finds no GPU"):
            fit(images, masks, samples, TrainingSettings(**(QUICK | {"device": "cuda"})))


def test_a_divergence_in_the_last_update_is_seen(images, masks, samples, monkeypatch):
    """No loss comes after it that could tell."""
    run_epoch = Trainer.run_epoch

    def spoil(self: Trainer, epoch: int, *arguments: object) -> dict[str, float]:
        row = run_epoch(self, epoch, *arguments)
        if epoch == 2:
            next(self.averaged.network.parameters()).fill_(float("nan"))
        return row

    monkeypatch.setattr(Trainer, "run_epoch", spoil)
    with pytest.raises(InputError, match=r"diverged in its last update: 1 of the network's tensors"):
        fit(images, masks, samples, TrainingSettings(**QUICK))


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory"),
     MemoryError()],
    ids=["card", "machine", "python"],
)  # fmt: skip
def test_a_want_of_memory_is_told_with_the_key_to_lower(images, masks, samples, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(InputError, match=r"not enough for 4 pictures at once\. Lower training\.batch_size"):
        fit(images, masks, samples, TrainingSettings(**QUICK))


def test_other_errors_are_not_taken_for_a_want_of_memory(images, masks, samples, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        fit(images, masks, samples, TrainingSettings(**QUICK))
