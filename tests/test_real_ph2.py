"""Known facts about the real PH2, which make ph2 FROM=... imports."""

import io
import shutil
from pathlib import Path

import damage
import numpy as np
import pandas as pd
import pytest
from kedro_datasets.partitions import PartitionedDataset
from PIL import Image, ImageEnhance
from sklearn.model_selection import train_test_split

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.cases import Cases, DataSettings, ImageSize, read_cases, resize_masks
from lesion_segmentation.data.leakage import LeakGuardSettings, guard_samples, list_near_duplicates
from lesion_segmentation.data.perceptual_hash import HASH_BITS, find_similar_pairs, hash_views
from lesion_segmentation.data.samples import AugmentationSettings, make_samples
from lesion_segmentation.data.splits import SplitSettings, split_cases
from lesion_segmentation.data.summary import describe_dataset
from lesion_segmentation.evaluation import score_case
from lesion_segmentation.evaluation.borders import score_distances
from lesion_segmentation.images.resize import resize_image
from lesion_segmentation.paper import legacy_scores
from lesion_segmentation.paper.split import TEST_CASES
from lesion_segmentation.prediction import predict
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.samples import TrainingData
from lesion_segmentation.training.settings import TrainingSettings

pytestmark = pytest.mark.ph2

SIZE = ImageSize(height=192, width=256, resizing="lanczos")
PH2 = Path(__file__).parents[1] / "data" / "01_raw" / "ph2"


def list_images(part: str):
    return {path.stem: (lambda path=path: Image.open(path)) for path in (PH2 / part).glob("*.bmp")}


@pytest.fixture(scope="module")
def read() -> Cases:
    annotations = (PH2 / "PH2_dataset.txt").read_text()
    return read_cases(list_images("images"), list_images("masks"), annotations, SIZE, DataSettings())


@pytest.fixture(scope="module")
def cases(read) -> pd.DataFrame:
    return read.cases


@pytest.fixture(scope="module")
def images(read) -> dict[str, np.ndarray]:
    return read.images


@pytest.fixture(scope="module")
def masks(read) -> dict[str, np.ndarray]:
    return resize_masks(read.native_masks, SIZE)


@pytest.fixture(scope="module")
def hashes(read) -> dict[str, np.ndarray]:
    return read.perceptual_hashes


@pytest.fixture(scope="module")
def near_duplicates(cases, hashes) -> pd.DataFrame:
    return list_near_duplicates(cases, hashes, LeakGuardSettings())


def test_summary_has_known_facts_of_ph2(cases, near_duplicates):
    summary = describe_dataset(cases, near_duplicates)
    assert summary["source"] == "PH2"
    assert summary["diagnoses"] == {"common nevus": 80, "atypical nevus": 80, "melanoma": 40}
    assert (len(summary["sizes"]), summary["sizes"]["767 x 576"], summary["sizes"]["765 x 572"]) == (24, 94, 3)
    assert summary["lesion_area"]["mean"] == pytest.approx(0.323, abs=0.001)
    assert summary["touches_border"] == 50
    assert summary["histological_diagnosis_missing"] == 159
    assert summary["near_duplicates"] == 0
    assert summary["nearest_pair"] == {"cases": ["IMD020", "IMD171"], "differing_bits": 56, "of_bits": 256}


def test_paper_protocol_has_known_test_cases(cases):
    split = split_cases(cases, SplitSettings(protocol="paper"))
    test = cases[cases["case_id"].isin(split.loc[split["subset"] == "test", "case_id"])]
    assert tuple(test["case_id"]) == TEST_CASES
    assert test["diagnosis"].value_counts().to_dict() == {"common nevus": 20, "atypical nevus": 19, "melanoma": 11}


@pytest.mark.parametrize(
    ("value", "test_only", "iou", "dice", "precision", "recall", "accuracy"),
    [
        (0.0, False, 64.83, 0.04, 0, 0, 67.73),
        (0.0, True, 65.32, 0.04, 0, 0, 68.63),
        (0.5, False, 67.82, 38.11, 0, 0, 67.73),
        (0.5, True, 67.69, 38.33, 0, 0, 68.63),
        (1.0, True, 50.65, 47.55, 31.37, 100, 31.37),
    ],
)
def test_legacy_scores_of_constant_predictions(masks, value, test_only, iou, dice, precision, recall, accuracy):
    """The expected values, in percent, are those of the paper's code on these masks."""
    case_ids = sorted(masks)
    if test_only:  # in the order of the paper's code, since Dice is pooled over batches of 18
        _, case_ids = train_test_split(case_ids, test_size=0.25, random_state=101)
    chosen = np.stack([masks[case_id] for case_id in case_ids])
    scores = {name: 100 * score for name, score in legacy_scores(np.full(chosen.shape, value), chosen).items()}
    expected = {"iou": iou, "dice": dice, "precision": precision, "recall": recall, "accuracy": accuracy}
    assert scores == pytest.approx(expected, abs=0.1)


def test_ten_problems_of_a_copy_are_in_one_report(tmp_path):
    """The files are read with the dataset types of the catalog. Undamaged files are links to the real ones."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for path in (PH2 / part).glob("*.bmp"):
            (tmp_path / part / path.name).symlink_to(path)
    shutil.copy(PH2 / "PH2_dataset.txt", tmp_path)
    case_ids = sorted(path.stem for path in (PH2 / "images").glob("*.bmp"))
    expected = [harm(tmp_path, case_id) for harm, case_id in zip(damage.DAMAGES, case_ids[10:], strict=False)]
    images, masks = (
        PartitionedDataset(path=str(tmp_path / part), dataset="pillow.ImageDataset", filename_suffix=".bmp").load()
        for part in ("images", "masks")
    )
    with pytest.raises(InputError) as caught:
        read_cases(images, masks, (tmp_path / "PH2_dataset.txt").read_text(), SIZE, DataSettings())
    report = str(caught.value)
    assert len(expected) == 10
    assert "10 problems" in report
    assert [text for text in expected if text not in report] == []


def compress(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


def add_noise(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 8, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def crop(image: Image.Image, share: float) -> Image.Image:
    left, top = int(share * image.width), int(share * image.height)
    inner = (left, top, int((1 - share) * image.width), int((1 - share) * image.height))
    return image.crop(inner).resize(image.size)


def test_distances_of_different_cases_exceed_the_default_limit(hashes):
    distances = [bits for _, _, bits in find_similar_pairs(list(hashes.values()), HASH_BITS)]
    assert len(distances) == 19_900
    assert min(distances) == 56 > LeakGuardSettings().max_distance


@pytest.mark.parametrize(
    ("alter", "expected_max", "detected"),
    [
        (compress, 16, True),
        (lambda image: image.resize((128, 96)).resize(image.size), 8, True),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0, True),
        (lambda image: image.transpose(Image.Transpose.ROTATE_90), 8, True),
        (lambda image: ImageEnhance.Brightness(image).enhance(1.2), 30, True),
        (lambda image: ImageEnhance.Contrast(image).enhance(0.7), 6, True),
        (lambda image: ImageEnhance.Color(image).enhance(0.5), 6, True),
        (add_noise, 14, True),
        (lambda image: crop(image, 0.02), 66, False),
        (lambda image: image.rotate(2, Image.Resampling.BILINEAR), 74, False),
    ],
    ids=["jpeg", "smaller", "mirrored", "rotated 90", "brighter", "flatter", "paler", "noise", "cropped", "rotated 2"],
)
def test_altered_cases_are_detected_except_slight_crops_and_rotations(images, hashes, alter, expected_max, detected):
    """These are the rows of the table in docs/explanation/leakage.md."""
    altered = {name: hash_views(np.asarray(alter(Image.fromarray(image)))) for name, image in images.items()}
    distances = [find_similar_pairs([hashes[name], altered[name]], HASH_BITS)[0][2] for name in images]
    assert max(distances) <= expected_max
    assert (max(distances) <= LeakGuardSettings().max_distance) == detected


def test_leak_guard_refuses_the_published_protocol(cases, images, masks, near_duplicates):
    """87 of its 90 validation samples have a copy in training. PH2 has no near-duplicates."""
    split = split_cases(cases, SplitSettings(protocol="paper_leaky"))
    samples, _, _ = make_samples(images, masks, split, AugmentationSettings(copies=("rotated", "flipped")))
    with pytest.raises(InputError, match="87 problems"):
        guard_samples(samples, split, near_duplicates, LeakGuardSettings())


def test_shift_of_twelve_pixels_lowers_all_scores_except_the_papers_iou(masks):
    """The predictions are the expert masks, shifted to the right."""
    truth = np.stack([masks[case_id].astype(bool) for case_id in sorted(masks)])
    moved = np.zeros_like(truth)
    moved[:, :, 12:] = truth[:, :, :-12]
    scores = pd.DataFrame([score_case(p, y) | score_distances(p, y) for p, y in zip(moved, truth, strict=True)]).mean()
    assert scores["dice"] < 0.88
    assert scores["iou"] < 0.80
    assert 8 < scores["hd95"] < 16
    assert legacy_scores(moved, truth)["iou"] > 0.90


@pytest.fixture(scope="module")
def score_after_training(read):
    """Return a function that scores the mean mask, or a network trained on masks that are permuted by `order`."""
    small = ImageSize(height=48, width=64)
    images = {name: resize_image(image, small.height, small.width) for name, image in read.images.items()}
    truths = resize_masks(read.native_masks, small)
    split = split_cases(read.cases, SplitSettings(protocol="paper", validation_cases=0))
    train, test = (list(split.loc[split["subset"] == name, "case_id"]) for name in ("train", "test"))

    def score(order: np.ndarray | None) -> pd.Series:
        if order is None:
            predicted = [np.mean([truths[case_id] for case_id in train], axis=0) > 0.5] * len(test)
        else:
            given = {case_id: truths[train[other]] for case_id, other in zip(train, order, strict=True)}
            settings = TrainingSettings(
                architecture="segnet_skip",
                width=0.125,
                epochs=15,
                loss="bce_iou",
                online_augmentation={"enabled": False},
            )
            samples = pd.DataFrame({"sample_id": train, "subset": "train"})
            network, _ = fit(TrainingData(images, given, samples), settings)
            predicted = predict(network, np.stack([images[case_id] for case_id in test])) > 0.5
        pairs = zip(predicted, test, strict=True)
        return pd.DataFrame([score_case(p, truths[case_id] > 0) for p, case_id in pairs]).mean()

    return score


@pytest.mark.long
def test_network_trained_on_shuffled_masks_is_no_better_than_the_mean_mask(score_after_training):
    """Images and shuffled masks are unrelated, so a better score would mean that the test masks leak."""
    mean_mask = score_after_training(None)
    shuffled = score_after_training(np.random.default_rng(0).permutation(150))
    right = score_after_training(np.arange(150))
    for score in ("dice", "iou"):
        assert shuffled[score] <= mean_mask[score]
        assert right[score] > mean_mask[score] + 0.05  # shows that the comparison can fail


def test_committed_fold_table_equals_the_split(cases):
    committed = pd.read_csv(Path(__file__).parents[1] / "results" / "folds.csv").set_index("case_id")["fold"]
    for fold in range(5):
        split = split_cases(cases, SplitSettings(protocol="folds", fold=fold))
        assert set(split.loc[split["subset"] == "test", "case_id"]) == set(committed.index[committed == fold])
