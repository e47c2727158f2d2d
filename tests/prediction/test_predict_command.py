"""The command `predict` on local folders."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageCms

from lesion_segmentation.cli import SOME_FAILED, main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation.borders import DISTANCE_METRICS
from lesion_segmentation.evaluation.scores import CASE_METRICS
from lesion_segmentation.model import NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.prediction import (
    PredictionSettings,
    PredictionStore,
    Predictor,
    list_input_images,
    load_predictor,
    predict_selected,
    select_images,
)
from lesion_segmentation.prediction.description import COLUMNS, describe_prediction
from lesion_segmentation.prediction.input_images import SelectedImages, take_shard
from lesion_segmentation.prediction.predictor import make_predictor
from lesion_segmentation.prediction.request import describe_provenance
from lesion_segmentation.prediction.stream import _read, predict_to_store
from lesion_segmentation.prediction.truth import describe_scores, find_truth, summarize_scores

SIZES = ((40, 48), (64, 96), (33, 57), (64, 96), (120, 90), (20, 200))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    network = build_network(
        NetworkMetadata("segnet", {"width": 0.0625}, (64, 96), input_mean=(120.0,) * 3, input_std=(40.0,) * 3)
    )
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    save_network(network, path)
    return path


@pytest.fixture
def images(tmp_path) -> Path:
    """Create eighteen images of several sizes, in a folder and a subfolder."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "in"
    for number in range(18):
        height, width = SIZES[number % len(SIZES)]
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        path = folder / ("ward" if number % 3 else ".") / f"case{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


def masks_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_mask.png")}


def parts_of(folder: Path) -> Iterator[Path]:
    return (folder / ".predictions").glob("*.jsonl")


def rows_in_parts(folder: Path) -> list[str]:
    """Return the image names of all undamaged rows."""
    lines = [line for path in parts_of(folder) for line in path.read_text().splitlines()]
    return [json.loads(line)["image"] for line in lines if line.endswith("}")]


def table_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv", keep_default_na=False).drop(columns="seconds")


def test_output_keeps_folder_structure_and_image_sizes(images, weights, tmp_path):
    out = tmp_path / "out"
    code, output = run("predict", images, out, "--weights", weights, "--overlays", "--probabilities")
    assert code == 0, output
    table = table_of(out)
    assert [*table, "seconds"] == list(COLUMNS)
    assert list(table["image"]) == sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    for row in table.itertuples():
        with Image.open(images / row.image) as image:
            for kind in ("mask", "overlay", "probability"):
                with Image.open(out / row.image.replace(".png", f"_{kind}.png")) as made:
                    assert made.size == image.size == (row.width, row.height)
        with Image.open(out / row.image.replace(".png", "_mask.png")) as mask:
            values = np.asarray(mask)
        assert set(np.unique(values)) <= {0, 255}
        assert (values == 255).sum() == row.lesion_area


def test_masks_do_not_depend_on_batch_size_order_or_interface(images, weights, tmp_path):
    reference = tmp_path / "reference"
    run("predict", images, reference, "--weights", weights)
    for number, options in enumerate((["--batch-size", 1], ["--batch-size", 5])):
        out = tmp_path / f"out{number}"
        run("predict", images, out, "--weights", weights, *options)
        assert masks_of(out) == masks_of(reference)
        pd.testing.assert_frame_equal(table_of(out), table_of(reference))
    files = list_input_images(images)
    predictor = load_predictor(weights, PredictionSettings(batch_size=4))
    store, settings = PredictionStore(tmp_path / "reversed"), PredictionSettings(batch_size=4)
    selected = SelectedImages(files[::-1], files)
    assert predict_selected(load_network(weights), selected, store, settings) == (18, 0)
    assert masks_of(tmp_path / "reversed") == masks_of(reference)
    (alone,) = predictor([np.asarray(Image.open(files[0].path))])
    (read,) = predictor([files[0].path])
    assert np.array_equal(read.mask, alone.mask)
    assert np.array_equal(alone.mask, np.asarray(Image.open(reference / f"{files[0].stem}_mask.png")) == 255)


def test_command_line_options_override_weights(images, tmp_path):
    """The released weights store test-time augmentation over four flips and the threshold 0.5."""
    image, recorded = images / "case0.png", []
    for number, options in enumerate(([], ["--no-tta", "--threshold", "0.3"])):
        out = tmp_path / str(number)
        result = CliRunner().invoke(main, ["predict", str(image), str(out), "--device", "cpu", *options])
        assert result.exit_code == 0, result.output
        recorded.append(json.loads((out / "predictions.json").read_text()))
    assert [(each["test_time_augmentation"], each["threshold"]) for each in recorded] == [("four", 0.5), ("none", 0.3)]
    expected = [pd.read_csv(tmp_path / number / "predictions.csv")["expected_dice"].iloc[0] for number in "01"]
    assert 0 < expected[0] <= 1
    assert np.isnan(expected[1])  # the estimate holds only at the network's own threshold


def test_provenance_depends_on_values_of_weights(weights):
    import torch

    network = load_network(weights)
    predictor = make_predictor(network, PredictionSettings(device="cpu"))
    before = describe_provenance(network, predictor)["weights"]
    assert describe_provenance(load_network(weights), predictor)["weights"] == before
    with torch.no_grad():
        next(network.parameters()).mul_(1.001)
    assert describe_provenance(network, predictor)["weights"] != before


def test_shards_share_folder_and_equal_single_run(images, weights, tmp_path):
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    run("predict", images, whole, "--weights", weights)
    for shard in ("2/3", "1/3", "3/3"):
        run("predict", images, shared, "--weights", weights, "--shard", shard)
    assert masks_of(shared) == masks_of(whole)
    pd.testing.assert_frame_equal(table_of(shared), table_of(whole))
    for wrong in ("0/3", "4/3", "x", "1/0"):
        code, output = run("predict", images, shared, "--weights", weights, "--shard", wrong)
        assert (code, "expected K/N" in output) == (1, True)
    files = list_input_images(images)
    halves = [take_shard(files, shard) for shard in ("1/2", "2/2")]
    assert sorted(file.name for half in halves for file in half) == [file.name for file in files]


def test_unreadable_file_fails_alone_and_is_retried(images, weights, tmp_path):
    bad = {
        "empty.png": b"",
        "text.jpg": b"no image",
        "truncated.png": (images / "case0.png").read_bytes()[:200],
    }
    for name, content in bad.items():
        (images / name).write_bytes(content)
    Image.fromarray(np.zeros((4, 4, 4), dtype=np.uint8)).save(images / "clear.png")
    out = tmp_path / "out"
    code, output = run("predict", images, out, "--weights", weights)
    assert code == SOME_FAILED
    assert "4 images could not be predicted" in output
    failures = pd.read_csv(out / "failures.csv").set_index("image")["reason"]
    assert set(failures.index) == {*bad, "clear.png"}
    assert "transparent" in failures["clear.png"]
    assert len(table_of(out)) == 18
    for name in failures.index:
        Image.fromarray(np.full((30, 30, 3), 90, dtype=np.uint8)).save(images / name)
    assert run("predict", images, out, "--weights", weights)[0] == 0
    assert len(table_of(out)) == 22
    assert pd.read_csv(out / "failures.csv").empty


def test_invalid_requests_are_refused_before_prediction(images, weights, tmp_path):
    out = tmp_path / "out"
    run("predict", images, out, "--weights", weights)
    before = masks_of(out)
    output = run("predict", images, out, "--weights", weights, "--threshold", 0.3)[1]
    assert "threshold: 0.5 there, 0.3 now" in output
    assert masks_of(out) == before
    assert "lies in" in run("predict", images, images / "out", "--weights", weights)[1]
    assert "does not exist" in run("predict", tmp_path / "nowhere", out, "--weights", weights)[1]
    assert "no such file" in run("predict", images, tmp_path / "new", "--weights", tmp_path / "no.safetensors")[1]
    Image.new("RGB", (9, 9)).save(images / "case0.bmp")
    output = run("predict", images, tmp_path / "new", "--weights", weights)[1]
    assert "case0.bmp and case0.png" in output
    assert not (tmp_path / "new" / "predictions.csv").exists()
    assert "batch_size" in run("predict", images, out, "--weights", weights, "--batch-size", 0)[1]


def test_predict_resumes_after_kill(images, weights, tmp_path):
    reference, out = tmp_path / "reference", tmp_path / "out"
    run("predict", images, reference, "--weights", weights)
    slow = f"""
import time, sys
from lesion_segmentation.prediction import store
store.MAX_ROWS = 2
add = store.PredictionStore.add
def add_slowly(self, *given):
    add(self, *given); time.sleep(0.15)
store.PredictionStore.add = add_slowly
from lesion_segmentation.cli import main
main(["predict", {str(images)!r}, {str(out)!r}, "--weights", {str(weights)!r}, "--batch-size", "2"])
"""
    seen = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            if len(rows_in_parts(out)) > seen + 1:
                break
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        seen = len(rows_in_parts(out))
    assert 3 < seen < 18
    assert set(rows_in_parts(out)) <= {name.replace("_mask", "") for name in masks_of(out)}
    damaged = next(parts_of(out))
    os.truncate(damaged, damaged.stat().st_size - 20)  # as if the disk had lost the end of a line
    assert run("predict", images, out, "--weights", weights)[0] == 0
    assert masks_of(out) == masks_of(reference)
    pd.testing.assert_frame_equal(table_of(out), table_of(reference))
    assert sorted(rows_in_parts(out)) == [file.name for file in list_input_images(images)]
    assert not list(out.rglob("*unfinished*")) + list(out.rglob("*.partial*"))


def test_truth_is_scored_at_image_size(images, weights, tmp_path):
    truth, out = tmp_path / "truth", tmp_path / "out"
    truth.mkdir()
    run("predict", images, out, "--weights", weights)
    for path in images.rglob("*.png"):
        mask = np.asarray(Image.open(out / path.relative_to(images).with_name(f"{path.stem}_mask.png")))
        Image.fromarray(mask).save(truth / f"{path.stem}_segmentation.png")
    code, output = run("predict", images, out, "--weights", weights, "--truth", truth)
    assert (code, "FutureWarning" in output) == (0, False)
    assert "Mean scores: dice 100.00%, iou 100.00%, accuracy 100.00%" in output
    assert "scoring: 100%" in output
    scores = pd.read_csv(out / "scores.csv")
    assert len(scores) == 18
    assert (scores["dice"] == 1).all()
    summary = pd.read_csv(out / "score_summary.csv").set_index("metric")
    assert summary.loc["dice", ["n", "score", "low", "high"]].tolist() == [18, 1, 1, 1]
    (truth / "case1_segmentation.png").unlink()
    assert "case1.png" in run("predict", images, out, "--weights", weights, "--truth", truth)[1]


def test_true_masks_match_in_any_unicode_form_and_are_not_shared(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))
    for path in (f"in/a/{decomposed}.png", "in/x.png", f"truth/{composed}_mask.png", "truth/x.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 40)).save(tmp_path / path)
    found = find_truth(tmp_path / "truth", list_input_images(tmp_path / "in"))
    assert [path.name for path in found.values()] == [f"{composed}_mask.png", "x.png"]
    for path in ("in/a/x.png", "in/y.png"):
        Image.new("L", (40, 40)).save(tmp_path / path)
    with pytest.raises(InputError) as caught:
        find_truth(tmp_path / "truth", list_input_images(tmp_path / "in"))
    assert caught.value.problems == ["y.png: there is no mask", "x.png is the mask of 2 images"]


def test_scores_of_one_image_and_of_none_are_described(tmp_path):
    scores = pd.DataFrame([{"image": "a.png", **dict.fromkeys((*CASE_METRICS, *DISTANCE_METRICS), 0.5)}])
    for table, words in (
        (scores, "dice 50.00%, iou 50.00%, accuracy 50.00%"),
        (scores[:0], "no image was scored"),
    ):
        summarize_scores(table).to_csv(tmp_path / "summary.csv", index=False)
        assert words in describe_scores(tmp_path / "summary.csv")


def test_image_for_which_the_network_computes_nan_fails_alone(images, tmp_path):
    class NanForWhite(torch.nn.Module):
        def forward(self, x):
            return torch.where(x.amin((1, 2, 3), keepdim=True) > 200, torch.nan, x[:, :1])

    Image.new("RGB", (50, 40), "white").save(images / "white.png")
    predictor = Predictor.from_module(NanForWhite(), (64, 96), (0.0,) * 3, (1.0,) * 3, batch_size=4)
    selected, store = select_images(images), PredictionStore(tmp_path / "out")
    store.claim({"weights": "own"}, images=selected.files)
    predict_to_store(predictor, selected.files, store, PredictionSettings())
    assert store.finish(selected) == (18, 1)
    (failure,) = store.read_tables().failures.itertuples()
    assert failure.image == "white.png"
    assert failure.reason.startswith("the network returns values that are not finite")
    assert not (tmp_path / "out" / "white_mask.png").exists()


def test_network_with_nan_is_refused_and_writes_nothing(images, weights, tmp_path):
    network = load_network(weights)
    network.state_dict()["head.0.bias"].fill_(float("nan"))
    save_network(network, tmp_path / "nan.safetensors")
    code, output = run("predict", images, tmp_path / "out", "--weights", tmp_path / "nan.safetensors")
    assert code == 1
    assert "1 tensor with values that are not finite, such as head.0.bias" in output
    assert not (tmp_path / "out").exists()


def test_image_that_disappears_is_not_called_damaged(images):
    file = next(file for file in select_images(images).files if file.name == "case0.png")
    file.path.unlink()
    assert _read(file, None) == (file, "it cannot be opened (No such file or directory)")


def test_description_locates_lesion_and_flags_anomalies():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:11, 8:20] = True
    row = describe_prediction(np.where(mask, 0.98, 0.01), mask, image)
    assert (row["left"], row["top"], row["right"], row["bottom"]) == (8, 5, 20, 11)
    assert (row["centroid_x"], row["centroid_y"]) == (13.5, 7.5)
    assert (row["lesion_area"], row["components"], row["touches_border"], row["flag"]) == (72, 1, False, "")
    assert row["confidence"] == pytest.approx((72 * 0.98 + 528 * 0.99) / 600, abs=1e-6)
    assert row["entropy"] == pytest.approx(
        (72 * -(0.98 * np.log2(0.98) + 0.02 * np.log2(0.02)) + 528 * -(0.01 * np.log2(0.01) + 0.99 * np.log2(0.99)))
        / 600,
        abs=1e-6,
    )
    mask[19, 29] = True
    assert describe_prediction(np.where(mask, 0.98, 0.01), mask, image)["components"] == 2
    nothing = np.zeros((20, 30), dtype=bool)
    odd = describe_prediction(np.full((20, 30), 0.4), nothing, np.full((20, 30, 3), 7, dtype=np.uint8))
    assert odd["flag"].split() == ["no-lesion", "unsure", "flat", "grey"]
    assert odd["left"] == ""
    full = describe_prediction(np.full((20, 30), 0.99), ~nothing, image)
    assert full["flag"] == "fills"


@pytest.mark.parametrize(("overlap", "expected", "flag"), [(0.9, 0.9, ""), (0.6, 0.7, "unsure")])
def test_expected_dice_is_described_if_the_network_has_knots(overlap, expected, flag):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:11, 8:20] = True
    knots = ((0.4, 0.6, 0.5, 0.7), (0.8, 0.8, 0.7, 0.9), (1.0, 1.0, 0.9, 1.0))
    # Probability only in the mask, so that the expected overlap is 2 p / (p + 1).
    row = describe_prediction(np.where(mask, overlap / (2 - overlap), 0), mask, image, "", knots)
    assert row["expected_dice"] == pytest.approx(expected, abs=1e-4)
    assert row["expected_dice_low"] == pytest.approx(expected - 0.1, abs=1e-4)
    assert row["flag"] == flag
    nothing = describe_prediction(np.zeros((20, 30)), ~mask & mask, image, "", knots)
    assert (nothing["expected_dice"], nothing["flag"]) == ("", "no-lesion")
    assert describe_prediction(np.where(mask, 0.98, 0.01), mask, image)["expected_dice_high"] == ""


def test_changed_image_is_predicted_again(images, weights, tmp_path):
    out = tmp_path / "out"
    run("predict", images, out, "--weights", weights)
    Image.fromarray(np.zeros((31, 77, 3), dtype=np.uint8)).save(images / "case0.png")
    assert run("predict", images, out, "--weights", weights)[0] == 0
    assert Image.open(out / "case0_mask.png").size == (77, 31)
    table = table_of(out).set_index("image")
    assert (len(table), table.loc["case0.png", "width"]) == (18, 77)


def test_overlays_can_be_requested_later(images, weights, tmp_path):
    out = tmp_path / "out"
    run("predict", images, out, "--weights", weights)
    run("predict", images, out, "--weights", weights, "--overlays")
    assert len(list(out.rglob("*_overlay.png"))) == 18
    assert len(table_of(out)) == 18


def test_other_files_are_not_overwritten(images, weights, tmp_path):
    truth = tmp_path / "truth"
    (truth / "ward").mkdir(parents=True)
    for path in images.rglob("*.png"):
        mask = truth / path.relative_to(images).with_name(f"{path.stem}_mask.png")
        Image.fromarray(np.full(np.asarray(Image.open(path)).shape[:2], 255, dtype=np.uint8)).save(mask)
    before = masks_of(truth)
    output = run("predict", images, truth, "--weights", weights)[1]
    assert "would be overwritten" in output
    for out in (truth, truth / "below", tmp_path):
        output = run("predict", images, out, "--weights", weights, "--truth", truth)[1]
        assert "would mix" in output
    assert masks_of(truth) == before


def test_each_shard_scores_all_finished_images(images, weights, tmp_path):
    truth, out = tmp_path / "truth", tmp_path / "out"
    truth.mkdir()
    for path in images.rglob("*.png"):
        Image.fromarray(np.full(np.asarray(Image.open(path)).shape[:2], 255, dtype=np.uint8)).save(truth / path.name)
    for shard in ("1/2", "2/2"):
        assert run("predict", images, out, "--weights", weights, "--truth", truth, "--shard", shard)[0] == 0
    assert len(pd.read_csv(out / "scores.csv")) == 18


def test_failures_of_removed_images_are_dropped(images, weights, tmp_path):
    out = tmp_path / "out"
    (images / "bad.png").write_bytes(b"no")
    assert run("predict", images, out, "--weights", weights, "--shard", "1/2")[0] == SOME_FAILED  # bad.png is in it
    assert run("predict", images, out, "--weights", weights, "--shard", "2/2")[0] == 0
    (images / "bad.png").unlink()
    assert run("predict", images, out, "--weights", weights)[0] == 0
    assert pd.read_csv(out / "failures.csv").empty


def test_files_that_are_left_out_are_listed_with_reason(images, weights, tmp_path):
    out = tmp_path / "out"
    (images / "scan.gif").write_bytes(b"")
    (images / "gone.png").symlink_to("nowhere.png")
    (images / "._case0.png").write_bytes(b"hidden")
    code, output = run("predict", images, out, "--weights", weights)
    assert code == 0
    assert f"2 files of IN left out, with the reasons in {out}/left_out.csv" in output
    assert list(pd.read_csv(out / "left_out.csv")["image"]) == ["gone.png", "scan.gif"]
    (images / "scan.gif").unlink()
    (images / "gone.png").unlink()
    assert "left out" not in run("predict", images, out, "--weights", weights)[1]
    assert pd.read_csv(out / "left_out.csv").empty
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "scan.gif").write_bytes(b"")
    assert "contains no image. Expected files" in run("predict", empty, out)[1]


def test_link_to_the_target_is_refused(images, weights, tmp_path):
    out = tmp_path / "out"
    assert run("predict", images, out, "--weights", weights)[0] == 0
    (images / "results").symlink_to(out)
    code, output = run("predict", images, out, "--weights", weights)
    assert code == 1
    assert f"leads to {out}, so its masks would be taken for images" in output
    one = next(images.rglob("*.png"))
    assert run("predict", one, one.parent, "--weights", weights)[0] == 0  # a single image may lie beside its mask


def test_table_names_the_colour_profile(weights, tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (tmp_path / "in").mkdir()
    for name, options in {"plain": {}, "srgb": {"icc_profile": srgb}, "bad": {"icc_profile": b"bad"}}.items():
        Image.new("RGB", (40, 30), "brown").save(tmp_path / "in" / f"{name}.png", **options)
    assert run("predict", tmp_path / "in", tmp_path / "out", "--weights", weights)[0] == 0
    notes = table_of(tmp_path / "out").set_index("image")["color_profile"]
    assert dict(notes.str.partition(":")[0]) == {"bad.png": "ignored", "plain.png": "", "srgb.png": "sRGB"}
    assert len(set(masks_of(tmp_path / "out").values())) == 1


@pytest.mark.parametrize("name", ["a" * 250 + ".png", os.fsdecode(b"m\xfcller.png")])
def test_unusual_file_name_affects_no_other_image(name, weights, tmp_path):
    images, out = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    for each in (name, "plain.png"):
        Image.new("RGB", (40, 40)).save(images / each, "PNG")
    code, output = run("predict", images, out, "--weights", weights)
    assert code == (SOME_FAILED if len(name) > 200 else 0), output
    assert (out / "plain_mask.png").is_file()


def test_image_too_small_for_weights_without_input_size_fails_alone(tmp_path):
    network = build_network(NetworkMetadata("segnet", {"width": 0.0625}))
    save_network(network, tmp_path / "old.safetensors")
    images = tmp_path / "in"
    images.mkdir()
    for side in (20, 64):
        Image.new("RGB", (side, side)).save(images / f"{side}.png")
    assert run("predict", images, tmp_path / "out", "--weights", tmp_path / "old.safetensors")[0] == SOME_FAILED
    assert "32 x 32" in (tmp_path / "out" / "failures.csv").read_text()


def test_only_unreadable_images_leave_empty_tables(weights, tmp_path):
    images, truth = tmp_path / "in", tmp_path / "truth"
    images.mkdir(), truth.mkdir()
    (images / "a.png").write_bytes(b"no")
    Image.new("L", (9, 9)).save(truth / "a.png")
    code, _ = run("predict", images, tmp_path / "out", "--weights", weights, "--truth", truth)
    assert code == SOME_FAILED
    assert pd.read_csv(tmp_path / "out" / "scores.csv").empty


def test_dicom_image_gets_a_segmentation_and_its_patient_appears_nowhere_else(tmp_path, weights, caplog, recwarn):
    pytest.importorskip("highdicom", reason="the extra clinic is not installed")
    from tests.images.test_clinic_formats import HEIGHT, WIDTH, write_dicom

    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(write_dicom(pixels.tobytes(), "RGB"))
    (folder / "frames.dcm").write_bytes(write_dicom(pixels.tobytes(), "RGB", NumberOfFrames=3))
    Image.fromarray(pixels).save(folder / "b.png")
    code, output = run("predict", folder, out, "--weights", weights)
    assert code == 3
    assert "it has 3 pages" in (out / "failures.csv").read_text()
    assert (out / "a_mask.png").read_bytes() == (out / "b_mask.png").read_bytes()
    written = {path for path in out.rglob("*") if path.is_file() and b"secret-17" in path.read_bytes()}
    assert written == {out / "a_seg.dcm"}
    printed = output + caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert not re.search("secret-17|JANEDOE", printed)
