"""Versions of a network in MLflow's registry, and the choice of the champion."""

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from lesion_project.datasets.mlflow_runs import find_network
from lesion_project.tracking.registry import register_network
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import find_problems
from lesion_segmentation.report.settings import ReportingSettings

pytestmark = pytest.mark.after_a_run


@pytest.fixture
def registered(project, tmp_path, monkeypatch):
    """Client of a store with one finished demo run, the run's id, and its case_metrics."""
    import mlflow

    uri = f"sqlite:///{project / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("ph2-segnet-demo")
    run = client.search_runs([experiment.experiment_id])[0]
    cases = pd.read_csv(project / "data" / "demo" / "08_reporting" / "case_metrics.csv", dtype={"mask_hash": str})
    return client, run.info.run_id, cases


def changed(cases: pd.DataFrame, by: float) -> pd.DataFrame:
    noise = np.where(np.arange(len(cases)) % 2, 0.001, -0.001)
    return cases.assign(dice=cases["dice"] + by + noise)


def test_champion_changes_only_for_a_better_network_on_the_same_cases(registered):
    client, run_id, cases = registered
    name = "lesions-of-a-test"

    def champion() -> str:
        return str(client.get_model_version_by_alias(name, "champion").version)

    register_network(client, run_id, name, {"test_dice": 0.5}, cases)
    assert champion() == "1"
    assert client.get_model_version(name, "1").tags["test_dice"] == "0.5"
    for by, expected in ((0.0, "1"), (-0.1, "1"), (0.1, "4")):
        register_network(client, run_id, name, {}, changed(cases, by))
        assert champion() == expected
    register_network(client, run_id, name, {}, changed(cases, 0.3).assign(mask_hash="others"))
    assert champion() == "4"
    verdicts = [client.get_model_version(name, str(number)).tags["compared_with_champion"] for number in range(1, 6)]
    assert verdicts[0] == "the first of its name"
    assert verdicts[1].startswith("not shown to be better than version 1")
    assert verdicts[3].startswith("better than version 1: Dice +")
    assert verdicts[4].startswith("not comparable with version 4")
    network = find_network(f"models:/{name}@champion")
    assert network.metadata.source == "synthetic"
    with pytest.raises(InputError, match="MLflow has no such network"):
        find_network("models:/nobody@champion")


@pytest.mark.parametrize("loss", ["version", "alias"])
def test_network_becomes_the_champion_if_there_is_none_any_more(registered, loss):
    client, run_id, cases = registered
    name = "lost"
    for by in (0.0, -0.1):
        register_network(client, run_id, name, {}, changed(cases, by))
    if loss == "version":
        client.delete_model_version(name, "1")
    else:
        client.delete_registered_model_alias(name, "champion")
    register_network(client, run_id, name, {}, changed(cases, -0.1))
    assert str(client.get_model_version_by_alias(name, "champion").version) == "3"
    verdict = client.get_model_version(name, "3").tags["compared_with_champion"]
    assert verdict == "there was no champion any more"


@pytest.mark.parametrize("name", ["a/b", "a:b", "", " ", ".", "..", "models:/x", "x%2Fy", "a\nb", "a@b", "a" * 257])
def test_name_that_the_registry_refuses_or_cannot_address_is_refused_by_the_settings(name):
    assert find_problems("reporting", ReportingSettings, {"register": name})
    for accepted in ("lesions", "Läsionen 2.0", "my-model_1", None):
        assert not find_problems("reporting", ReportingSettings, {"register": accepted})
