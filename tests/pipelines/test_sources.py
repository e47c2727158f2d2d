"""ISIC 2018 and joint training on several sources, with synthetic cases in their layouts and under their names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from PIL import Image

from lesion_project.datasets import JoinedCases, OwnCases
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources import ph2, synthetic
from lesion_segmentation.data.sources.isic2018 import RESERVED_LIST, TOOLS, read_list, read_packaged_table
from lesion_segmentation.model import load_network

RESERVED = read_list(RESERVED_LIST)
STYLES = {"ISIC_0000000": "T3", "ISIC_0000036": "T1", "ISIC_0000013": ""}
"""Annotation styles of three cases that are not reserved; the archive has several masks of the last one."""


@pytest.fixture(scope="module")
def isic(tmp_path_factory) -> Path:
    """Twenty synthetic cases with names of ISIC 2018, four of them reserved, with three aspect ratios."""
    folder = tmp_path_factory.mktemp("isic")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    names = [*RESERVED[:4], *STYLES, *(f"ISIC_9{number:06d}" for number in range(13))]
    for number, name in enumerate(names, start=101):
        case = synthetic.synthesize_case(number)
        sides = ((288, 288), (384, 288), (200, 288))[number % 3]
        image, mask = (Image.fromarray(pixels).resize(sides) for pixels in (case.image, case.mask))
        image.save(folder / "images" / f"{name}.jpg", quality=95)
        mask.save(folder / "masks" / f"{name}_segmentation.png")
    return folder


def locate(folder: Path) -> dict[str, str]:
    return {"data.images": str(folder / "images"), "data.masks": str(folder / "masks")}


def test_reserved_list_has_300_cases():
    assert len(RESERVED) == len(set(RESERVED)) == 300
    assert all(name.startswith("ISIC_") for name in RESERVED)


@pytest.mark.long
def test_isic_2018_keeps_reserved_cases_for_the_test_and_aspect_ratios(run, project, isic):
    size = {"image_size.height": 72, "image_size.width": 96}
    run(env="isic2018", params={**locate(isic), **size, "split.validation_cases": 4, "training.epochs": 1})
    root = project / "data" / "isic2018"
    split = pd.read_csv(root / "05_model_input" / "split.csv").set_index("case_id")["subset"]
    assert set(split[split == "test"].index) == set(RESERVED[:4])
    assert split.value_counts().to_dict() == {"train": 12, "validation": 4, "test": 4}
    assert set(pd.read_csv(root / "08_reporting" / "case_metrics.csv")["subset"]) == {"train", "validation"}
    cases = pd.read_csv(root / "03_primary" / "cases.csv").set_index("case_id")
    with np.load(root / "03_primary" / "images.npz") as images:
        for name, case in cases.iterrows():
            shown = (images[name] > 8).any(axis=2)  # the padding is black
            if case["width"] / case["height"] < 1.2:
                assert not shown[:, :3].any()
                assert not shown[:, -3:].any()
                sides = shown.any(axis=0).sum() / shown.any(axis=1).sum()
                assert sides == pytest.approx(case["width"] / case["height"], rel=0.05)
            else:
                assert shown[:, [0, -1]].any(axis=0).all()
    metadata = load_network(root / "06_models" / "network.safetensors").metadata
    assert (metadata.framing, metadata.resizing, metadata.source) == ("pad", "cubic", "ISIC 2018")
    native = pd.read_csv(root / "08_reporting" / "case_metrics_native.csv")
    assert len(native) == 16


@pytest.mark.long
def test_joint_training_uses_the_folds_of_ph2_and_all_of_isic(run, project, isic, monkeypatch, caplog):
    raw = project / "data" / "01_raw" / "ph2"
    rows = {}
    for part in ("images", "masks"):
        (raw / part).mkdir(parents=True)
    for number, name in enumerate(synthetic.case_ids(25), start=1):
        case = synthetic.synthesize_case(number)
        Image.fromarray(case.image).save(raw / "images" / f"{name}.bmp")
        Image.fromarray(case.mask).save(raw / "masks" / f"{name}.bmp")
        rows[name] = ph2.describe_images(Image.fromarray(case.image), Image.fromarray(case.mask))
    (raw / "PH2_dataset.txt").write_text(synthetic.annotations_text(25))
    manifest = pd.DataFrame(rows).T.rename_axis("case_id")
    monkeypatch.setattr(ph2, "read_manifest", lambda: manifest)
    common = {"split.validation_cases": 4, "split.fold": 2, "training.epochs": 1}
    run(env="base", params={**common, "split.protocol": "folds"}, pipeline_names=["data_processing"])
    seen = {"training.source_rates.PH2": 2, "training.source_rates.ISIC 2018": 0.5}
    small = {
        "architecture": "segnet_skip", "unpooling": "indices", "logit_batch_norm": False, "encoder_weights": None,
        "scaling": "standardized", "encoder_learning_rate": None,
    }  # fmt: skip
    network = {f"training.{name}": value for name, value in small.items()}
    network["training.options.annotation_styles"] = ["PH2", "ISIC 2018", "T1", "T3"]
    run(env="isic_and_ph2", params={**locate(isic), **common, **seen, **network})
    root = project / "data" / "isic_and_ph2"
    alone, both = (pd.read_csv(folder / "05_model_input" / "split.csv") for folder in (project / "data", root))
    ours = both[both["source"] == "PH2"].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours[alone.columns], alone)
    assert set(ours["annotation_style"]) == {"PH2"}
    others = both[both["source"] == "ISIC 2018"]
    styles = pd.read_csv(root / "05_model_input" / "guarded_samples.csv").set_index("case_id")["annotation_style"]
    assert styles[others["case_id"]].value_counts().to_dict() == {"ISIC 2018": 14, "T1": 1, "T3": 1}
    assert set(others["subset"]) == {"train"}
    assert not set(others["case_id"]) & set(RESERVED)
    assert len(others) == 16
    trained = load_network(root / "06_models" / "network.safetensors")
    assert trained.metadata.source == "ISIC 2018 and PH2"
    assert trained.annotation_styles == ("PH2", "ISIC 2018", "T1", "T3")
    reporting = root / "08_reporting"
    card, page = ((reporting / name).read_text() for name in ("model_card.md", "report.html"))
    assert "trained on ISIC 2018 and PH2 cases" in card
    assert "41 ISIC 2018 and PH2 cases" in page
    table = pd.read_csv(reporting / "table_ii.csv").drop_duplicates("subset").set_index("subset")["source"]
    assert table.to_dict() == {"train": "ISIC 2018 and PH2", "validation": "PH2", "test": "PH2"}
    assert f"{2 * (alone['subset'] == 'train').sum()} of PH2" in caplog.text
    assert "8 of ISIC 2018" in caplog.text


def test_tools_of_isic_2018_are_known_for_cases_with_one_mask_in_the_archive():
    table = read_packaged_table(TOOLS)
    assert list(table) == ["case_id", "annotation_style"]
    assert table["case_id"].is_unique
    assert table["annotation_style"].value_counts().to_dict() == {"T2": 428, "T3": 377, "T1": 339}
    reserved = table[table["case_id"].isin(RESERVED)]
    assert reserved["annotation_style"].value_counts().to_dict() == {"T2": 66, "T1": 60, "T3": 40}
    with pytest.raises(InputError, match="Unknown list of cases 'tools', expected isic2018_reserved or isic2018_tools"):
        read_packaged_table("tools")


def test_table_of_a_source_gets_the_packaged_annotation_styles(isic):
    folders = {"images": str(isic / "images"), "masks": str(isic / "masks")}
    plain, styled = (OwnCases("table", **folders, annotation_styles=name).load() for name in (None, TOOLS))
    assert "annotation_style" not in plain
    pd.testing.assert_frame_equal(styled[plain.columns], plain)
    styles = styled.set_index("case_id")["annotation_style"]
    assert styles[list(STYLES)].to_dict() == STYLES
    assert (styles[styles.index.str.startswith("ISIC_9")] == "").all()


def test_ids_shared_by_two_sources_are_refused(isic):
    part = {"type": "lesion_project.datasets.OwnCases", "part": "images", "images": str(isic / "images")}
    with pytest.raises(DatasetError, match="20 case ids occur in A and in B, such as ISIC_0000000"):
        JoinedCases({"A": part, "B": part}).load()


def test_unknown_source_is_refused_with_the_known_ones(run, project, isic):
    with pytest.raises(Exception, match=r"split\.scored_source is PH3, expected one of: ISIC 2018"):
        run(env="isic2018", params={**locate(isic), "split.validation_cases": 4, "split.scored_source": "PH3"})
