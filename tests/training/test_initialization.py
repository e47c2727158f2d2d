"""Networks that are initialized from an earlier training."""

from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from lesion_project.datasets import TrainedNetworks
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import Network, NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.training.initialization import Initialization, choose_initialization, list_seen, require_unseen
from lesion_segmentation.training.loop import prepare_network
from lesion_segmentation.training.settings import TrainingSettings

SETTINGS = TrainingSettings(architecture="segnet", width=0.0625, init_from="earlier")


@pytest.fixture
def earlier() -> Network:
    torch.manual_seed(5)
    options = {"width": 0.0625, "unpooling": "indices", "logit_batch_norm": False}
    metadata = NetworkMetadata("segnet", options, input_mean=(1.0, 2.0, 3.0), input_std=(4.0, 5.0, 6.0))
    return build_network(replace(metadata, source="PH2", split_hash="abc", mlflow_run_id="run"))


@pytest.fixture
def scored() -> pd.DataFrame:
    ids = [f"IMD{number:03d}" for number in range(6)]
    return pd.DataFrame(
        {
            "case_id": ids,
            "subset": ["train"] * 3 + ["validation"] + ["test"] * 2,
            "source": "PH2",
            "split_hash": "def",
            "image_sha256": [f"{number:x}" * 64 for number in range(6)],
        }
    )


def test_network_is_initialized_with_earlier_weights_and_their_scaling(earlier, images):
    initialization = choose_initialization({}, lambda name: earlier, SETTINGS)
    network = prepare_network(SETTINGS, list(images.values())[:2], initialization)
    assert all(torch.equal(tensor, earlier.state_dict()[name]) for name, tensor in network.state_dict().items())
    assert (network.metadata.input_mean, network.metadata.input_std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    fresh = prepare_network(SETTINGS, list(images.values())[:2], Initialization())
    assert not all(torch.equal(tensor, earlier.state_dict()[name]) for name, tensor in fresh.state_dict().items())


def test_other_architecture_or_options_are_refused(earlier):
    for changed, words in (
        ({"width": 0.125, "unpooling": "nearest"}, ["width is 0.125, in training.init_from 0.0625", "unpooling is"]),
        ({"architecture": "segnet_skip"}, ["architecture is segnet_skip, in training.init_from segnet", "context"]),
    ):
        with pytest.raises(InputError) as caught:
            choose_initialization({}, lambda name: earlier, SETTINGS.model_copy(update=changed))
        assert all(any(part in problem for problem in caught.value.problems) for part in words), caught.value


def test_two_initializations_at_once_are_refused():
    with pytest.raises(ValueError, match="both set"):
        TrainingSettings(init_from="a", encoder_weights="efficientnet_lite0")


def test_network_trained_on_scored_cases_is_refused_with_their_names(earlier, scored):
    earlier.metadata = replace(earlier.metadata, seen=("0" * 12, "3" * 12, "5" * 12))
    with pytest.raises(InputError, match=r"trained on 2 .* IMD003 \(validation\), IMD005 \(test\)"):
        require_unseen(earlier, scored)
    earlier.metadata = replace(earlier.metadata, seen=("0" * 12, "2" * 12))
    require_unseen(earlier, scored)
    assert list_seen(scored, earlier) == (("0" * 12, "1" * 12, "2" * 12), ())
    assert list_seen(scored, None) == (("0" * 12, "1" * 12, "2" * 12), ())


def test_unnamed_sources_are_kept_through_several_trainings(earlier, scored):
    """An old file trained on ISIC 2018 initializes a training on PH2, which then initializes one on ISIC 2018."""
    earlier.metadata = replace(earlier.metadata, source="ISIC 2018")
    require_unseen(earlier, scored)
    seen, unnamed = list_seen(scored, earlier)
    assert unnamed == ("ISIC 2018",)
    earlier.metadata = replace(earlier.metadata, source="PH2", seen=seen, seen_unnamed=unnamed)
    with pytest.raises(InputError, match="trained on ISIC 2018, perhaps under another split"):
        require_unseen(earlier, scored.assign(source="ISIC 2018", image_sha256="f" * 64, split_hash="abc"))


@pytest.mark.parametrize(
    ("source", "split_hash", "refused"),
    [("PH2", "abc", True), ("ISIC 2018 and PH2", "abc", True), ("", "abc", True), ("PH2", "def", False),
     ("ISIC 2018", "abc", False)],
)  # fmt: skip
def test_file_without_a_list_of_training_images_needs_the_same_split(earlier, scored, source, split_hash, refused):
    earlier.metadata = replace(earlier.metadata, source=source, split_hash=split_hash)
    if refused:
        with pytest.raises(InputError, match="does not list the cases"):
            require_unseen(earlier, scored)
    else:
        require_unseen(earlier, scored)


@pytest.mark.long
@pytest.mark.after_a_run
def test_run_is_initialized_from_a_file_or_an_mlflow_run(run, project, monkeypatch):
    weights_file = project / "data" / "demo" / "06_models" / "network.safetensors"
    first = load_network(weights_file)
    assert len(first.metadata.seen) == 12  # 60 percent of 20
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (tracked,) = client.search_runs([client.get_experiment_by_name("ph2-segnet-demo").experiment_id])
    mlflow.set_tracking_uri(f"sqlite:///{project / 'other.db'}")  # as another run in this process may have set it
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    small = {"training.epochs": 1, "training.learning_rate": 1e-12}
    run(params={"training.init_from": tracked.info.run_id, **small}, pipeline_names=["training"])
    assert load_network(weights_file).metadata.initialized_from == tracked.info.run_id
    copy = project / "initial weights.safetensors"
    save_network(first, copy)
    run(params={"training.init_from": str(copy), **small}, pipeline_names=["training"])
    second = load_network(weights_file)
    assert second.metadata.initialized_from == tracked.info.run_id
    weights = (dict(network.named_parameters()) for network in (first, second))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*(w.values() for w in weights), strict=True))
    with pytest.raises(InputError, match="was trained on"):
        run(params={"training.init_from": str(copy), "split.seed": 1})


@pytest.mark.parametrize("name", ["nothing.safetensors", "0123456789abcdef0123456789abcdef"])
def test_missing_initial_network_is_refused_before_the_run(run, project, name):
    with pytest.raises(InputError, match=r"no such file|MLflow has no such network"):
        run(params={"training.init_from": name})
    assert not (project / "data").exists()


def test_path_with_tilde_is_found(earlier, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_network(earlier, tmp_path / "mine.safetensors")
    assert TrainedNetworks().load()("~/mine.safetensors").metadata.source == "PH2"
