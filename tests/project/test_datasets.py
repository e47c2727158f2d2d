import base64
import io

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from lesion_project.datasets import CaseArrays, NetworkDataset, SyntheticCases, TrainedNetworks, TrainingCheckpoint
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.cases import PackedMasks
from lesion_segmentation.model import SegNet


def test_saved_arrays_load_by_case(tmp_path):
    dataset = CaseArrays(filepath=str(tmp_path / "new" / "masks.npz"))
    data = {"SYN001": np.eye(4, dtype=bool), "SYN002": np.zeros((4, 4), bool)}
    assert not dataset.exists()
    dataset.save(data)
    loaded = dataset.load()
    assert dataset.exists()
    assert list(loaded) == list(data)
    assert all(np.array_equal(loaded[case_id], data[case_id]) for case_id in data)


def test_arrays_are_read_on_access(tmp_path):
    path = str(tmp_path / "masks.npz")
    masks = PackedMasks()
    for number in range(3):
        masks.add(f"case {number}", np.random.default_rng(number).random((5, 7 + number)) > 0.5)
    CaseArrays(filepath=path).save(masks)
    loaded = CaseArrays(filepath=path).load()
    assert list(loaded) == list(masks)
    assert all(np.array_equal(loaded[name], masks[name]) for name in masks)
    assert {array.dtype for array in loaded.values()} == {np.dtype(np.uint8)}
    with pytest.raises(KeyError):
        loaded["case 3"]
    damaged = bytearray((tmp_path / "masks.npz").read_bytes())
    damaged[damaged.index(b"case 1") + 60] ^= 255
    (tmp_path / "masks.npz").write_bytes(damaged)
    loaded = CaseArrays(filepath=path).load()
    assert np.array_equal(loaded["case 0"], masks["case 0"])
    with pytest.raises(InputError, match="damaged"):
        loaded["case 1"]


@pytest.mark.parametrize(
    "array", [np.zeros((8, 10, 3), np.uint8), np.ones((8, 10), np.uint8), np.ones((8, 10), np.float32)]
)
def test_preview_is_an_image(tmp_path, array):
    dataset = CaseArrays(filepath=str(tmp_path / "arrays.npz"))
    dataset.save({"a": array, "b": array})
    image = Image.open(io.BytesIO(base64.b64decode(dataset.preview())))
    assert image.size == (20, 8)


def test_failed_save_leaves_the_former_file(tmp_path):
    dataset = NetworkDataset(filepath=str(tmp_path / "network.safetensors"))
    dataset.save(SegNet(0.0625))
    before = (tmp_path / "network.safetensors").read_bytes()
    with pytest.raises(DatasetError, match="own_state"):
        dataset.save(object())
    assert (tmp_path / "network.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]


def test_synthetic_cases_load_like_ph2():
    images, masks = (SyntheticCases(part=part, cases=2).load() for part in ("images", "masks"))
    assert list(images) == list(masks) == ["SYN001", "SYN002"]
    assert (images["SYN001"]().mode, masks["SYN001"]().mode) == ("RGB", "1")
    assert images["SYN001"]().size == masks["SYN001"]().size
    assert "SYN002" in SyntheticCases(part="annotations", cases=2).load()


@pytest.mark.parametrize("dataset", [SyntheticCases("images", 2), TrainedNetworks(), TrainingCheckpoint("any")])
def test_read_only_datasets_refuse_to_save(dataset):
    assert dataset.exists()
    with pytest.raises(DatasetError, match=f"{type(dataset).__name__} is read-only"):
        dataset.save({})
