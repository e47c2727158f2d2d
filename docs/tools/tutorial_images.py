"""Write the synthetic images, masks and table of the tutorials.

    .venv/bin/python docs/tools/tutorial_images.py [FOLDER]

The default FOLDER is docs/tutorials/own_images. The files depend on nothing but this script and the library, so a
second call writes the same pixels.
"""

import sys
from pathlib import Path

import pandas as pd
from PIL import Image

from lesion_segmentation.data.sources.synthetic import synthesize_case
from lesion_segmentation.images.resize import resize_image, resize_mask

FOLDER = Path(__file__).parents[1] / "tutorials" / "own_images"
HEIGHT, WIDTH = 192, 256
SEED = 5
NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 19)
"""Numbers of the synthetic cases: four melanomas and eight nevi."""
PATIENTS = ("p01", "p01", "p02", "p03", "p04", "p05", "p06", "p06", "p07", "p08", "p09", "p10")


def write_cases(folder: Path) -> None:
    """Write images/*.jpg, masks/*_mask.png and cases.csv with the columns case_id, diagnosis and group."""
    rows = []
    for position, (number, patient) in enumerate(zip(NUMBERS, PATIENTS, strict=True), start=1):
        case, case_id = synthesize_case(number, SEED), f"lesion_{position:02d}"
        image = Image.fromarray(resize_image(case.image, HEIGHT, WIDTH, "cubic"))
        mask = Image.fromarray(255 * resize_mask(case.mask, HEIGHT, WIDTH))
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        image.save(folder / "images" / f"{case_id}.jpg", quality=95, subsampling=0)
        mask.save(folder / "masks" / f"{case_id}_mask.png", optimize=True)
        diagnosis = "melanoma" if case.codes["histological_diagnosis"] else "nevus"
        rows.append({"case_id": case_id, "diagnosis": diagnosis, "group": patient})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)


if __name__ == "__main__":
    write_cases(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
