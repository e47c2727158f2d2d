"""Predictions of anyone's pictures into a folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from lesion_segmentation.cli import SOME_FAILED, main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.prediction import (
    PredictionFolder,
    RunSettings,
    list_input_images,
    load_predictor,
    take_shard,
)
from lesion_segmentation.prediction.description import COLUMNS, describe_prediction
from lesion_segmentation.prediction.input_images import SelectedImages
from lesion_segmentation.prediction.loading import describe_masks, make_predictor
from lesion_segmentation.prediction.predictions import prepare

SIZES = ((40, 48), (64, 96), (33, 57), (64, 96), (120, 90), (20, 200))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    import torch

    torch.manual_seed(1)
    network = build_network(
        NetworkMetadata("segnet", {"width": 0.0625}, (64, 96), input_mean=(120.0,) * 3, input_std=(40.0,) * 3)
    )
    place = tmp_path_factory.mktemp("weights") / "network.safetensors"
    save_network(network, place)
    return place


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Eighteen of several sizes at two depths."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "in"
    for number in range(18):
        height, width = SIZES[number % len(SIZES)]
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        place = folder / ("ward" if number % 3 else ".") / f"case{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    return folder


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


def masks_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_mask.png")}


def table_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv", keep_default_na=False).drop(columns="seconds")


def test_a_folder_keeps_its_structure_and_masks_have_their_pictures_size(pictures, weights, tmp_path):
    out = tmp_path / "out"
    code, told = run("predict", pictures, out, "--weights", weights, "--overlays", "--probabilities")
    assert code == 0, told
    table = table_of(out)
    assert [*table, "seconds"] == list(COLUMNS)
    assert list(table["picture"]) == sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    for row in table.itertuples():
        with Image.open(pictures / row.picture) as picture:
            for kind in ("mask", "overlay", "probability"):
                with Image.open(out / row.picture.replace(".png", f"_{kind}.png")) as made:
                    assert made.size == picture.size == (row.width, row.height)
        with Image.open(out / row.picture.replace(".png", "_mask.png")) as mask:
            values = np.asarray(mask)
        assert set(np.unique(values)) <= {0, 255}
        assert (values == 255).sum() == row.lesion_area


def test_the_same_bytes_whatever_the_batch_the_order_and_the_way(pictures, weights, tmp_path):
    reference = tmp_path / "reference"
    run("predict", pictures, reference, "--weights", weights)
    for number, options in enumerate((["--batch-size", 1], ["--batch-size", 5])):
        out = tmp_path / f"out{number}"
        run("predict", pictures, out, "--weights", weights, *options)
        assert masks_of(out) == masks_of(reference)
        pd.testing.assert_frame_equal(table_of(out), table_of(reference))
    files = list_input_images(pictures)
    predictor = load_predictor(weights, RunSettings(batch_size=4))
    turned = prepare(load_network(weights), SelectedImages(files[::-1], files), RunSettings(batch_size=4))
    assert turned.write_to(tmp_path / "reversed") == (18, 0)
    assert masks_of(tmp_path / "reversed") == masks_of(reference)
    (alone,) = predictor([np.asarray(Image.open(files[0].path))])
    (read,) = predictor([files[0].path])
    assert np.array_equal(read.mask, alone.mask)
    assert np.array_equal(alone.mask, np.asarray(Image.open(reference / f"{files[0].stem}_mask.png")) == 255)


def test_the_options_of_the_command_go_over_the_weights(pictures, tmp_path):
    """The record names what the predictions depend on; the released weights ask for four flips and 0.5."""
    image, recorded = pictures / "case0.png", []
    for number, options in enumerate(([], ["--no-tta", "--threshold", "0.3"])):
        out = tmp_path / str(number)
        result = CliRunner().invoke(main, ["predict", str(image), str(out), "--device", "cpu", *options])
        assert result.exit_code == 0, result.output
        recorded.append(json.loads((out / "predictions.json").read_text()))
    assert [(each["test_time_augmentation"], each["threshold"]) for each in recorded] == [("four", 0.5), ("none", 0.3)]


def test_provenance_names_the_weights_by_their_values(weights):
    import torch

    network = load_network(weights)
    predictor = make_predictor(network, RunSettings(device="cpu"))
    before = describe_masks(network, predictor)["weights"]
    assert describe_masks(load_network(weights), predictor)["weights"] == before
    with torch.no_grad():
        next(network.parameters()).mul_(1.001)
    assert describe_masks(network, predictor)["weights"] != before


def test_parts_share_a_folder_and_make_the_whole(pictures, weights, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run("predict", pictures, whole, "--weights", weights)
    for part in ("2/3", "1/3", "3/3"):
        run("predict", pictures, parts, "--weights", weights, "--part", part)
    assert masks_of(parts) == masks_of(whole)
    pd.testing.assert_frame_equal(table_of(parts), table_of(whole))
    for wrong in ("0/3", "4/3", "x", "1/0"):
        code, told = run("predict", pictures, parts, "--weights", weights, "--part", wrong)
        assert (code, "expected k/n" in told) == (1, True)
    files = list_input_images(pictures)
    assert sorted(file.name for part in ("1/2", "2/2") for file in take_shard(files, part)) == [f.name for f in files]


def test_a_bad_file_costs_itself_only_and_is_tried_again(pictures, weights, tmp_path):
    bad = {
        "empty.png": b"",
        "text.jpg": b"no picture",
        "cut.png": (pictures / "case0.png").read_bytes()[:200],
    }
    for name, content in bad.items():
        (pictures / name).write_bytes(content)
    Image.fromarray(np.zeros((4, 4, 4), dtype=np.uint8)).save(pictures / "clear.png")
    out = tmp_path / "out"
    code, told = run("predict", pictures, out, "--weights", weights)
    assert code == SOME_FAILED
    assert "4 could not be read" in told
    failures = pd.read_csv(out / "failures.csv").set_index("picture")["reason"]
    assert set(failures.index) == {*bad, "clear.png"}
    assert "transparent" in failures["clear.png"]
    assert len(table_of(out)) == 18
    for name in failures.index:
        Image.fromarray(np.full((30, 30, 3), 90, dtype=np.uint8)).save(pictures / name)
    assert run("predict", pictures, out, "--weights", weights)[0] == 0
    assert len(table_of(out)) == 22
    assert pd.read_csv(out / "failures.csv").empty


def test_what_cannot_be_is_refused_before_any_work(pictures, weights, tmp_path):
    out = tmp_path / "out"
    run("predict", pictures, out, "--weights", weights)
    before = masks_of(out)
    told = run("predict", pictures, out, "--weights", weights, "--threshold", 0.3)[1]
    assert "threshold: 0.5 there, 0.3 now" in told
    assert masks_of(out) == before
    assert "lies in" in run("predict", pictures, pictures / "out", "--weights", weights)[1]
    assert "not there" in run("predict", tmp_path / "nowhere", out, "--weights", weights)[1]
    assert "no such file" in run("predict", pictures, tmp_path / "new", "--weights", tmp_path / "no.safetensors")[1]
    Image.new("RGB", (9, 9)).save(pictures / "case0.bmp")
    told = run("predict", pictures, tmp_path / "new", "--weights", weights)[1]
    assert "case0.bmp and case0.png" in told
    assert not (tmp_path / "new" / "predictions.csv").exists()
    assert "batch_size" in run("predict", pictures, out, "--weights", weights, "--batch-size", 0)[1]


def test_whatever_kills_it_the_next_call_does_what_is_left(pictures, weights, tmp_path):
    reference, out = tmp_path / "reference", tmp_path / "out"
    run("predict", pictures, reference, "--weights", weights)
    slow = f"""
import time, sys
from lesion_segmentation.prediction import folder
note = folder.PredictionFolder.note
def slowly(self, *given):
    note(self, *given); time.sleep(0.15)
folder.PredictionFolder.note = slowly
from lesion_segmentation.cli import main
main(["predict", {str(pictures)!r}, {str(out)!r}, "--weights", {str(weights)!r}, "--batch-size", "2"])
"""
    seen = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        journals = out / ".predictions"
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            done = sum(path.read_bytes().count(b"\n") for path in journals.glob("*.jsonl")) if journals.is_dir() else 0
            if done > seen + 1:
                break
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        seen = sum(path.read_bytes().count(b"\n") for path in journals.glob("*.jsonl"))
    assert 3 < seen < 18
    cut = max(journals.glob("*.jsonl"), key=lambda path: path.stat().st_size)
    os.truncate(cut, cut.stat().st_size - 20)  # as a kill in the middle of a line leaves it
    assert run("predict", pictures, out, "--weights", weights)[0] == 0
    assert masks_of(out) == masks_of(reference)
    pd.testing.assert_frame_equal(table_of(out), table_of(reference))
    lines = [line for path in journals.glob("*.jsonl") for line in path.read_text().splitlines()]
    names = [json.loads(line)["picture"] for line in lines if line.endswith("}")]
    assert sorted(names) == [file.name for file in list_input_images(pictures)]
    assert not list(out.rglob("*unfinished*")) + list(out.rglob("*.partial*"))


def test_truths_are_scored_at_the_pictures_own_size(pictures, weights, tmp_path):
    truth, out = tmp_path / "truth", tmp_path / "out"
    truth.mkdir()
    run("predict", pictures, out, "--weights", weights)
    for path in pictures.rglob("*.png"):
        mask = np.asarray(Image.open(out / path.relative_to(pictures).with_name(f"{path.stem}_mask.png")))
        Image.fromarray(mask).save(truth / f"{path.stem}_segmentation.png")
    assert run("predict", pictures, out, "--weights", weights, "--truth", truth)[0] == 0
    scores = pd.read_csv(out / "scores.csv")
    assert len(scores) == 18
    assert (scores["dice"] == 1).all()
    summary = pd.read_csv(out / "score_summary.csv").set_index("metric")
    assert summary.loc["dice", ["n", "score", "low", "high"]].tolist() == [18, 1, 1, 1]
    (truth / "case1_segmentation.png").unlink()
    assert "case1.png" in run("predict", pictures, out, "--weights", weights, "--truth", truth)[1]


def test_a_row_says_where_the_lesion_is_and_what_looks_odd():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:11, 8:20] = True
    row = describe_prediction(np.where(mask, 0.98, 0.01), mask, image)
    assert (row["left"], row["top"], row["right"], row["bottom"]) == (8, 5, 20, 11)
    assert (row["centroid_x"], row["centroid_y"]) == (13.5, 7.5)
    assert (row["lesion_area"], row["parts"], row["touches_border"], row["flag"]) == (72, 1, False, "")
    assert row["confidence"] == pytest.approx((72 * 0.98 + 528 * 0.99) / 600, abs=1e-6)
    assert row["entropy"] == pytest.approx(
        (72 * -(0.98 * np.log2(0.98) + 0.02 * np.log2(0.02)) + 528 * -(0.01 * np.log2(0.01) + 0.99 * np.log2(0.99)))
        / 600,
        abs=1e-6,
    )
    mask[19, 29] = True
    assert describe_prediction(np.where(mask, 0.98, 0.01), mask, image)["parts"] == 2
    nothing = np.zeros((20, 30), dtype=bool)
    odd = describe_prediction(np.full((20, 30), 0.4), nothing, np.full((20, 30, 3), 7, dtype=np.uint8))
    assert odd["flag"].split() == ["no-lesion", "unsure", "flat", "grey"]
    assert odd["left"] == ""
    full = describe_prediction(np.full((20, 30), 0.99), ~nothing, image)
    assert full["flag"] == "fills"


def test_only_what_a_killed_process_of_this_machine_left_is_removed(tmp_path):
    folder = PredictionFolder(tmp_path / "out", {"weights": "a"})
    folder.claim()
    host = socket.gethostname()
    left = {
        name: folder.target / ".predictions" / f"unfinished-{name}-ab-0.png"
        for name in (f"{host}-{os.getpid()}", f"{host}-{2**22 - 1}", f"{host}-2-{2**22 - 1}", f"elsewhere-{2**22 - 1}")
    }
    for path in left.values():
        path.touch()
    folder.claim()
    assert [path.exists() for path in left.values()] == [True, False, True, True]


def test_another_picture_under_the_same_name_is_predicted_anew(pictures, weights, tmp_path):
    out = tmp_path / "out"
    run("predict", pictures, out, "--weights", weights)
    Image.fromarray(np.zeros((31, 77, 3), dtype=np.uint8)).save(pictures / "case0.png")
    assert run("predict", pictures, out, "--weights", weights)[0] == 0
    assert Image.open(out / "case0_mask.png").size == (77, 31)
    table = table_of(out).set_index("picture")
    assert (len(table), table.loc["case0.png", "width"]) == (18, 77)


def test_what_is_asked_for_later_is_made_later(pictures, weights, tmp_path):
    out = tmp_path / "out"
    run("predict", pictures, out, "--weights", weights)
    run("predict", pictures, out, "--weights", weights, "--overlays")
    assert len(list(out.rglob("*_overlay.png"))) == 18
    assert len(table_of(out)) == 18


def test_files_that_are_no_predictions_are_not_written_over(pictures, weights, tmp_path):
    truth = tmp_path / "truth"
    (truth / "ward").mkdir(parents=True)
    for path in pictures.rglob("*.png"):
        place = truth / path.relative_to(pictures).with_name(f"{path.stem}_mask.png")
        Image.fromarray(np.full(np.asarray(Image.open(path)).shape[:2], 255, dtype=np.uint8)).save(place)
    before = masks_of(truth)
    told = run("predict", pictures, truth, "--weights", weights)[1]
    assert "would be written over" in told
    for out in (truth, truth / "below", tmp_path):
        told = run("predict", pictures, out, "--weights", weights, "--truth", truth)[1]
        assert "would mix" in told
    assert masks_of(truth) == before


def test_each_part_scores_all_that_is_there(pictures, weights, tmp_path):
    truth, out = tmp_path / "truth", tmp_path / "out"
    truth.mkdir()
    for path in pictures.rglob("*.png"):
        Image.fromarray(np.full(np.asarray(Image.open(path)).shape[:2], 255, dtype=np.uint8)).save(truth / path.name)
    for part in ("1/2", "2/2"):
        assert run("predict", pictures, out, "--weights", weights, "--truth", truth, "--part", part)[0] == 0
    assert len(pd.read_csv(out / "scores.csv")) == 18


def test_failures_that_are_no_longer_there_are_no_longer_told(pictures, weights, tmp_path):
    out = tmp_path / "out"
    (pictures / "bad.png").write_bytes(b"no")
    assert (
        run("predict", pictures, out, "--weights", weights, "--part", "1/2")[0] == SOME_FAILED
    )  # bad.png is its first
    assert run("predict", pictures, out, "--weights", weights, "--part", "2/2")[0] == 0
    (pictures / "bad.png").unlink()
    assert run("predict", pictures, out, "--weights", weights)[0] == 0
    assert pd.read_csv(out / "failures.csv").empty


def test_what_was_done_counts_whatever_is_said_of_it_later(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (file,) = list_input_images(tmp_path / "a.png")
    folders = [PredictionFolder(tmp_path / "out", {"weights": "a"}) for _ in range(2)]
    folders[0].claim()
    folders[0].note(file, {"lesion_area": 5, "flag": ""})
    folders[1].fail(file, "read too early")
    assert folders[1].finish([file], [file]) == (1, 0)
    assert folders[1].left([file]) == []


@pytest.mark.parametrize("name", ["a" * 250 + ".png", os.fsdecode(b"m\xfcller.png")])
def test_a_strange_name_costs_itself_at_most(name, weights, tmp_path):
    pictures, out = tmp_path / "in", tmp_path / "out"
    pictures.mkdir()
    for each in (name, "plain.png"):
        Image.new("RGB", (40, 40)).save(pictures / each, "PNG")
    code, told = run("predict", pictures, out, "--weights", weights)
    assert code == (SOME_FAILED if len(name) > 200 else 0), told
    assert (out / "plain_mask.png").is_file()


def test_a_picture_that_is_too_small_for_old_weights_costs_itself(tmp_path):
    network = build_network(NetworkMetadata("segnet", {"width": 0.0625}))
    save_network(network, tmp_path / "old.safetensors")
    pictures = tmp_path / "in"
    pictures.mkdir()
    for side in (20, 64):
        Image.new("RGB", (side, side)).save(pictures / f"{side}.png")
    assert run("predict", pictures, tmp_path / "out", "--weights", tmp_path / "old.safetensors")[0] == SOME_FAILED
    assert "32 x 32" in (tmp_path / "out" / "failures.csv").read_text()


def test_all_pictures_bad_leaves_empty_tables(weights, tmp_path):
    pictures, truth = tmp_path / "in", tmp_path / "truth"
    pictures.mkdir(), truth.mkdir()
    (pictures / "a.png").write_bytes(b"no")
    Image.new("L", (9, 9)).save(truth / "a.png")
    code, _ = run("predict", pictures, tmp_path / "out", "--weights", weights, "--truth", truth)
    assert code == SOME_FAILED
    assert pd.read_csv(tmp_path / "out" / "scores.csv").empty


def test_a_damaged_record_is_told(tmp_path):
    folder = PredictionFolder(tmp_path / "out", {"weights": "a"})
    folder.claim()
    (folder.target / "predictions.json").write_text("[")
    with pytest.raises(InputError, match="damaged"):
        folder.claim()
