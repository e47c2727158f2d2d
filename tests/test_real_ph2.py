"""Facts of the real PH2, where it is in place (make ph2 FROM=...)."""

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
from lesion_segmentation.data.leakage import LeakGuardSettings, guard_samples
from lesion_segmentation.data.near_duplicates import list_near_duplicates
from lesion_segmentation.data.perceptual_hash import hash_distances, hash_views
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
from lesion_segmentation.training.settings import TrainingSettings

pytestmark = pytest.mark.ph2

SIZE = ImageSize(height=192, width=256, resizing="lanczos")
PH2 = Path(__file__).parents[1] / "data" / "01_raw" / "ph2"


def pictures(part: str):
    return {path.stem: (lambda path=path: Image.open(path)) for path in (PH2 / part).glob("*.bmp")}


@pytest.fixture(scope="module")
def read() -> Cases:
    annotations = (PH2 / "PH2_dataset.txt").read_text()
    return read_cases(pictures("images"), pictures("masks"), annotations, SIZE, DataSettings())


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
def alike(cases, hashes) -> pd.DataFrame:
    return list_near_duplicates(cases, hashes, LeakGuardSettings())


def test_the_passport_gives_ph2s_known_facts(cases, alike):
    passport = describe_dataset(cases, alike)
    assert passport["source"] == "PH2"
    assert passport["diagnoses"] == {"common nevus": 80, "atypical nevus": 80, "melanoma": 40}
    assert (len(passport["sizes"]), passport["sizes"]["767 x 576"], passport["sizes"]["765 x 572"]) == (24, 94, 3)
    assert passport["lesion_area"]["mean"] == pytest.approx(0.323, abs=0.001)
    assert passport["touches_border"] == 50
    assert passport["histological_diagnosis_missing"] == 159
    assert passport["near_duplicates"] == 0
    assert passport["most_alike"] == {"cases": ["IMD020", "IMD171"], "differing_bits": 56, "of_bits": 256}


def test_the_papers_test_cases(cases):
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
    """The figures of the paper's code on these masks, in percent."""
    case_ids = sorted(masks)
    if test_only:  # in the order in which the paper's code draws them: Dice is pooled over batches of 18
        _, case_ids = train_test_split(case_ids, test_size=0.25, random_state=101)
    chosen = np.stack([masks[case_id] for case_id in case_ids])
    scores = {name: 100 * score for name, score in legacy_scores(np.full(chosen.shape, value), chosen).items()}
    expected = {"iou": iou, "dice": dice, "precision": precision, "recall": recall, "accuracy": accuracy}
    assert scores == pytest.approx(expected, abs=0.1)


def test_ten_faults_in_a_copy_are_named_in_one_report(tmp_path):
    """Through the catalog's own types; untouched files are links to the real ones."""
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


def as_jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


def with_noise(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 8, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def cropped(image: Image.Image, share: float) -> Image.Image:
    left, top = int(share * image.width), int(share * image.height)
    inner = (left, top, int((1 - share) * image.width), int((1 - share) * image.height))
    return image.crop(inner).resize(image.size)


def test_different_cases_are_further_apart_than_the_guards_threshold(hashes):
    distances = hash_distances(list(hashes.values()))
    others = distances[~np.eye(len(hashes), dtype=bool)]
    assert others.min() == 56 > LeakGuardSettings().max_distance


@pytest.mark.parametrize(
    ("alter", "most", "seen"),
    [
        (as_jpeg, 16, True),
        (lambda image: image.resize((128, 96)).resize(image.size), 8, True),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0, True),
        (lambda image: image.transpose(Image.Transpose.ROTATE_90), 8, True),
        (lambda image: ImageEnhance.Brightness(image).enhance(1.2), 30, True),
        (lambda image: ImageEnhance.Contrast(image).enhance(0.7), 6, True),
        (lambda image: ImageEnhance.Color(image).enhance(0.5), 6, True),
        (with_noise, 14, True),
        (lambda image: cropped(image, 0.02), 66, False),
        (lambda image: image.rotate(2, Image.Resampling.BILINEAR), 74, False),
    ],
    ids=["jpeg", "smaller", "mirrored", "turned by 90", "brighter", "flatter", "paler", "noise", "cropped", "turned"],
)
def test_what_the_guard_sees_of_a_case_in_another_form(images, hashes, alter, most, seen):
    """The rows of docs/leak_guard.md; the last two are what it cannot promise to see."""
    altered = {name: hash_views(np.asarray(alter(Image.fromarray(image)))) for name, image in images.items()}
    distances = [hash_distances([hashes[name], altered[name]])[0, 1] for name in images]
    assert max(distances) <= most
    assert (max(distances) <= LeakGuardSettings().max_distance) == seen


def test_the_published_protocol_is_stopped_by_the_guard(cases, images, masks, alike):
    """87 of its 90 validation samples have a sibling in training; no other pair of PH2 looks alike."""
    split = split_cases(cases, SplitSettings(protocol="paper_leaky"))
    samples, _, _ = make_samples(images, masks, split, AugmentationSettings(copies=("rotated", "flipped")))
    with pytest.raises(InputError, match="87 problems"):
        guard_samples(samples, split, alike, LeakGuardSettings())


def test_a_shift_of_twelve_pixels_shows_in_every_score_but_the_papers(masks):
    """Sanity run: perfect masks, all moved by twelve pixels to the right."""
    truth = np.stack([masks[case_id].astype(bool) for case_id in sorted(masks)])
    moved = np.zeros_like(truth)
    moved[:, :, 12:] = truth[:, :, :-12]
    scores = pd.DataFrame([score_case(p, y) | score_distances(p, y) for p, y in zip(moved, truth, strict=True)]).mean()
    assert scores["dice"] < 0.88
    assert scores["iou"] < 0.80
    assert 8 < scores["hd95"] < 16
    assert legacy_scores(moved, truth)["iou"] > 0.90


@pytest.fixture(scope="module")
def test_scores_after_training(read):
    """Mean test scores of a network trained on the masks of other cases as `order` says, or of the mean mask."""
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
            settings = TrainingSettings(width=0.125, epochs=15, online_augmentation={"enabled": False})
            samples = pd.DataFrame({"sample_id": train, "subset": "train"})
            network, _ = fit(images, given, samples, settings)
            predicted = predict(network, np.stack([images[case_id] for case_id in test])) > 0.5
        pairs = zip(predicted, test, strict=True)
        return pd.DataFrame([score_case(p, truths[case_id] > 0) for p, case_id in pairs]).mean()

    return score


@pytest.mark.long
def test_a_network_trained_on_shuffled_masks_is_no_better_than_the_mean_mask(test_scores_after_training):
    """Sanity run at a quarter of the size: pictures then say nothing of the masks, and no path leaks the truth."""
    of_mean_mask = test_scores_after_training(None)
    shuffled = test_scores_after_training(np.random.default_rng(0).permutation(150))
    right = test_scores_after_training(np.arange(150))
    for score in ("dice", "iou"):
        assert shuffled[score] <= of_mean_mask[score]
        assert right[score] > of_mean_mask[score] + 0.05  # so the comparison can fail


def test_the_committed_fold_table_is_the_one_that_is_drawn(cases):
    committed = pd.read_csv(Path(__file__).parents[1] / "results" / "folds.csv").set_index("case_id")["fold"]
    for fold in range(5):
        split = split_cases(cases, SplitSettings(protocol="folds", fold=fold))
        assert set(split.loc[split["subset"] == "test", "case_id"]) == set(committed.index[committed == fold])
