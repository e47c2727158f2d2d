import base64
import io

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from lesion_segmentation.datasets import CaseArrays, NetworkDataset, SyntheticCases
from lesion_segmentation.model import SegNet


def test_arrays_come_back_by_case(tmp_path):
    dataset = CaseArrays(filepath=str(tmp_path / "new" / "masks.npz"))
    data = {"SYN001": np.eye(4, dtype=bool), "SYN002": np.zeros((4, 4), bool)}
    assert not dataset.exists()
    dataset.save(data)
    loaded = dataset.load()
    assert dataset.exists()
    assert list(loaded) == list(data)
    assert all(np.array_equal(loaded[case_id], data[case_id]) for case_id in data)


@pytest.mark.parametrize(
    "array", [np.zeros((8, 10, 3), np.uint8), np.ones((8, 10), np.uint8), np.ones((8, 10), np.float32)]
)
def test_previews_are_pictures(tmp_path, array):
    dataset = CaseArrays(filepath=str(tmp_path / "arrays.npz"))
    dataset.save({"a": array, "b": array})
    picture = Image.open(io.BytesIO(base64.b64decode(dataset.preview())))
    assert picture.size == (20, 8)


def test_a_save_that_fails_leaves_what_was_there(tmp_path):
    dataset = NetworkDataset(filepath=str(tmp_path / "network.safetensors"))
    dataset.save(SegNet(0.0625))
    before = (tmp_path / "network.safetensors").read_bytes()
    with pytest.raises(DatasetError, match="state_dict"):
        dataset.save(object())
    assert (tmp_path / "network.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]


def test_synthetic_cases_load_as_ph2_does():
    images, masks = (SyntheticCases(part=part, cases=2).load() for part in ("images", "masks"))
    assert list(images) == list(masks) == ["SYN001", "SYN002"]
    assert (images["SYN001"]().mode, masks["SYN001"]().mode) == ("RGB", "1")
    assert images["SYN001"]().size == masks["SYN001"]().size
    assert "SYN002" in SyntheticCases(part="annotations", cases=2).load()
