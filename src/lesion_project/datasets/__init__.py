"""Dataset types of the catalog. They import torch only to read or write a network, so that kedro-viz starts fast."""
# ruff: noqa: F401 (the catalog names each type by this package)

from lesion_project.datasets.arrays import CaseArrays
from lesion_project.datasets.atomic import Figure, OptionalFile, Record, Table, Text
from lesion_project.datasets.cases import JoinedCases, OwnCases, SyntheticCases
from lesion_project.datasets.mlflow_runs import RunArtifact, TrainedNetworks
from lesion_project.datasets.network import NetworkDataset, PretrainedFolder, TrainingCheckpoint
from lesion_project.datasets.predictions import PredictArguments
