"""Outlines in the annotation tools themselves, which need an environment of their own.

ANNOTATION_TOOLS names the Python of an environment with labelme and label-studio-sdk.
"""

import json
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from lesion_segmentation.data.sources.synthetic import synthesize_case
from lesion_segmentation.prediction import list_input_images
from lesion_segmentation.prediction.annotations import make_annotations

PYTHON = os.environ.get("ANNOTATION_TOOLS")
pytestmark = pytest.mark.skipif(not PYTHON, reason="ANNOTATION_TOOLS names no Python with labelme, label-studio-sdk")

LABELME = """
import sys
from pathlib import Path
import numpy as np
from labelme.label_file import LabelFile
from labelme.utils import img_data_to_arr, shape_to_mask
from PyQt5.QtWidgets import QApplication
application = QApplication([])
for path in Path(sys.argv[1]).glob("labelme/*.json"):
    file = LabelFile(str(path))
    image = img_data_to_arr(file.imageData)
    mask = np.zeros(image.shape[:2], bool)
    for shape in file.shapes:
        assert shape["label"] == "lesion"
        mask |= shape_to_mask(image.shape[:2], shape["points"], shape["shape_type"])
    np.save(path.with_suffix(".npy"), mask)
    file.save(str(path.with_name("saved_" + path.name)), file.shapes, file.imagePath, *image.shape[:2])
"""

LABEL_STUDIO = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
interface = LabelInterface('''<View><Image name="image" value="$image"/>
<PolygonLabels name="label" toName="image"><Label value="lesion"/></PolygonLabels></View>''')
tasks = json.load(open(sys.argv[1] + "/annotations_label_studio.json"))
for task in tasks:
    assert interface.validate_task({"data": task["data"]})
    for prediction in task["predictions"]:
        assert interface.validate_prediction(prediction), prediction
        broken = json.loads(json.dumps(prediction))
        broken["result"][0]["from_name"] = "other"
        assert not interface.validate_prediction(broken)
print(len(tasks))
"""


@pytest.fixture
def out(tmp_path):
    """Write the annotations of three synthetic cases in all formats, from their true masks."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out" / "labelme").mkdir(parents=True)
    for number in (1, 2, 3):
        case = synthesize_case(number)
        Image.fromarray(case.image).save(tmp_path / "in" / f"case{number}.png")
        Image.fromarray(case.mask).save(tmp_path / "out" / f"case{number}_mask.png")
    for kind in ("labelme", "label-studio"):
        for name, content in make_annotations(kind, list_input_images(tmp_path / "in"), tmp_path / "out"):
            (tmp_path / "out" / name).write_bytes(content)
    return tmp_path / "out"


def run_tool(code: str, out) -> str:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([PYTHON, "-c", code, str(out)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_labelme_reads_the_outlines_and_saves_them_unchanged(out):
    run_tool(LABELME, out)
    for number in (1, 2, 3):
        mask, truth = np.load(out / "labelme" / f"case{number}.npy"), synthesize_case(number).mask
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) >= 0.985  # LabelMe also fills the outline
        ours, saved = (
            json.loads((out / "labelme" / f"{name}case{number}.json").read_text()) for name in ("", "saved_")
        )
        assert saved["shapes"][0]["points"] == ours["shapes"][0]["points"]


def test_label_studio_accepts_the_tasks(out):
    assert run_tool(LABEL_STUDIO, out).strip() == "3"
