"""Synthetic cases that resemble PH2, for tests and demonstrations without patients' data.

A synthetic case has textured skin with a vignette, and a lesion with an irregular border and several colours under
hairs and gel bubbles. Its mask is exact, since the border is known.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from lesion_segmentation.data.annotations import ANNOTATION_COLUMNS, format_annotations

SOURCE = "synthetic"
"""Name of the data set."""
SIZES = ((384, 288), (383, 288), (382, 286), (400, 300), (360, 270))
"""Width and height in pixels, about half of PH2's."""

SHIFT, SMOOTHING = 5.0, 12.0
"""Shift of the border by two of the synthetic annotators, and sigma of the third one's Gaussian filter, in pixels."""

_COLORS = np.array(
    [(228, 205, 195), (186, 96, 88), (172, 122, 88), (112, 70, 48), (112, 112, 128), (58, 42, 38)], float
)
"""Colours of PH2's codes 1 to 6 on the synthetic skin (RGB, 0 to 255)."""


class SyntheticCase(NamedTuple):
    """Image, uint8 (H, W, 3), mask, bool (H, W), and the cells of its row in PH2_dataset.txt by column."""

    image: np.ndarray
    mask: np.ndarray
    codes: dict[str, str]


def case_ids(count: int) -> list[str]:
    """Return SYN001, SYN002, ..."""
    return [f"SYN{number:03d}" for number in range(1, count + 1)]


class _Plan(NamedTuple):
    """Properties of a case that determine its annotations."""

    diagnosis: int
    irregularity: float
    colors: list[int]
    codes: dict[str, str]


@lru_cache(maxsize=256)
def synthesize_case(number: int, seed: int = 0) -> SyntheticCase:
    """Synthesize a case. The same number (from 1) and seed give the same pixels."""
    plan = _plan(number, seed)
    generator = np.random.default_rng([seed, number])
    width, height = SIZES[generator.integers(len(SIZES))]
    skin = _skin(generator, height, width)
    distance = _outline(generator, height, width, plan)
    lesion = _lesion(generator, skin, plan.colors)
    alpha = 1 / (1 + np.exp(distance / generator.uniform(1.0, 5.0)))
    painting = skin * (1 - alpha[..., None]) + lesion * alpha[..., None]
    painting *= _vignette(generator, height, width)[..., None]
    image = Image.fromarray(np.clip(painting, 0, 255).astype(np.uint8))
    _draw_hairs(generator, image)
    pixels = _add_bubbles(generator, np.asarray(image, dtype=np.float64))
    pixels += generator.normal(0, 2.5, pixels.shape)
    return SyntheticCase(np.clip(pixels, 0, 255).astype(np.uint8), distance < 0, plan.codes)


def annotations_text(count: int, seed: int = 0) -> str:
    """Return the annotations of the first `count` cases in the format of PH2_dataset.txt, without making images."""
    codes = [_plan(number, seed).codes for number in range(1, count + 1)]
    return format_annotations(pd.DataFrame(codes, columns=list(ANNOTATION_COLUMNS)))


def annotate(mask: np.ndarray) -> dict[str, np.ndarray]:
    """Return the boolean masks (H, W) of three synthetic annotators, whose styles are known, given the exact mask.

    `grown` and `shrunk` move the border SHIFT pixels outwards and inwards, and `smoothed` draws a smooth one.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    smooth = gaussian_filter(mask.astype(np.float64), SMOOTHING, mode="nearest")
    grown, shrunk = distance_transform_edt(~mask) <= SHIFT, distance_transform_edt(mask) > SHIFT
    return {"grown": grown, "shrunk": shrunk, "smoothed": smooth > 0.5}


def write_annotated_cases(folder: Path, count: int, seed: int = 0) -> None:
    """Write synthetic cases with three annotators as images/<case_id>.png and masks/<annotator>/<case_id>.png."""
    for number, case_id in enumerate(case_ids(count), start=1):
        case = synthesize_case(number, seed)
        masks = {f"masks/{name}": mask for name, mask in annotate(case.mask).items()}
        for name, pixels in {"images": case.image, **masks}.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{case_id}.png")


def _plan(number: int, seed: int) -> _Plan:
    generator = np.random.default_rng([seed, number, 1])  # independent of the stream for the image
    diagnosis = (0, 1, 0, 1, 2)[number % 5]  # PH2's proportions: 40, 40 and 20 percent
    irregularity = float(generator.uniform(0.03, 0.09) + 0.05 * diagnosis)
    more = {0: [2], 1: [2, 6, 5], 2: [1, 2, 5, 6]}[diagnosis]
    extra = generator.permutation(more)[: generator.integers(0, 2 + diagnosis)]
    colors = [3, 4, *(int(code) for code in extra)]
    atypical = diagnosis > 0

    def present(probability: float) -> str:
        return "P" if generator.uniform() < probability else "A"

    codes = {
        "case_id": f"SYN{number:03d}",
        "histological_diagnosis": "Melanoma" if diagnosis == 2 else "",
        "diagnosis": str(diagnosis),
        "asymmetry": str(int(np.digitize(irregularity, (0.08, 0.14)))),
        "pigment_network": "AT" if atypical else "T",
        "dots_globules": str(generator.choice(["A", "AT"] if atypical else ["A", "T"])),
        "streaks": present(0.1 + 0.2 * diagnosis),
        "regression_areas": present(0.2 * diagnosis),
        "blue_whitish_veil": "P" if 5 in colors else "A",
        "colors": "  ".join(str(code) for code in sorted(colors)),
    }
    return _Plan(diagnosis, irregularity, colors, codes)


def _noise(generator: np.random.Generator, height: int, width: int, scale: float) -> np.ndarray:
    """Return smooth noise (H, W) of mean 0 and standard deviation 1, whose grain is `scale` pixels wide.

    Coarse noise is filtered on a coarse grid and enlarged, since the cost of the filter grows with the grain.
    """
    from scipy.ndimage import gaussian_filter

    step = max(1, int(scale / 4))
    grid = generator.standard_normal((-(-height // step), -(-width // step)))
    field = gaussian_filter(grid, scale / step, mode="wrap")
    if step > 1:
        enlarged = Image.fromarray(field.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        field = np.asarray(enlarged, dtype=np.float64)
    return (field - field.mean()) / field.std()


def _skin(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    tone = np.array([205, 160, 140]) + generator.normal(0, 14) + generator.normal(0, 6, 3)
    blotches = 7 * _noise(generator, height, width, 28)
    furrows = 4 * _noise(generator, height, width, 1.6)
    flush = [np.zeros((height, width)), *(5 * _noise(generator, height, width, 40) for _ in range(2))]
    return tone + (blotches + furrows)[..., None] + np.stack(flush, axis=-1)


def _outline(generator: np.random.Generator, height: int, width: int, plan: _Plan) -> np.ndarray:
    """Return the approximate distance to the lesion's border in pixels (H, W), negative inside."""
    radius = height * float(np.exp(generator.normal(np.log(0.3 + 0.05 * plan.diagnosis), 0.33)))
    center = np.array([height, width]) * (0.5 + generator.uniform(-0.16, 0.16, 2))
    aspect, turn = generator.uniform(0.72, 1.0), generator.uniform(0, np.pi)
    rows, columns = np.mgrid[:height, :width] - center[:, None, None]
    along = columns * np.cos(turn) + rows * np.sin(turn)
    across = (-columns * np.sin(turn) + rows * np.cos(turn)) / aspect
    angles = np.linspace(-np.pi, np.pi, 721)
    waves = [
        generator.normal(0, 1 / order) * np.cos(order * angles + generator.uniform(0, 2 * np.pi))
        for order in range(2, 9)
    ]
    wave = np.interp(np.arctan2(across, along), angles, np.sum(waves, axis=0))
    border = radius * (1 + plan.irregularity * wave + 0.02 * _noise(generator, height, width, 4))
    return np.hypot(along, across) - np.maximum(border, 0.06 * height)


def _lesion(generator: np.random.Generator, skin: np.ndarray, colors: list[int]) -> np.ndarray:
    """Return the colours of the lesion (H, W, 3), some of which are close to those of the skin."""
    height, width = skin.shape[:2]
    fields = np.stack([_noise(generator, height, width, 18) for _ in colors])
    weights = np.exp(2.2 * fields)
    weights[2:] *= 0.35  # light and dark brown are the most frequent colours
    weights /= weights.sum(axis=0)
    palette = _COLORS[np.array(colors) - 1]
    painted = np.einsum("chw,cr->hwr", weights, palette) + 6 * _noise(generator, height, width, 2.5)[..., None]
    strength = generator.uniform(0.5, 0.95)  # the faintest lesion keeps half of the skin's colour
    return skin * (1 - strength) + painted * strength


def _vignette(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    offset = generator.normal(0, 0.05, 2)
    radius = np.hypot(rows / height - 0.5 - offset[0], columns / width - 0.5 - offset[1])
    return 1 - generator.uniform(0.25, 0.75) * np.clip((radius - 0.42) / 0.3, 0, 1) ** 1.3


def _draw_hairs(generator: np.random.Generator, image: Image.Image) -> None:
    pen = ImageDraw.Draw(image)
    width, height = image.size
    for _ in range(generator.integers(0, 14)):
        start = generator.uniform(0, 1, 2) * (width, height)
        direction, bend = generator.uniform(0, 2 * np.pi), generator.normal(0, 0.012)
        steps = np.arange(0, generator.uniform(60, 220), 4)
        angles = direction + bend * np.arange(len(steps))
        points = start + 4 * np.cumsum(np.stack([np.cos(angles), np.sin(angles)], axis=1), axis=0)
        shade = int(generator.uniform(25, 70))
        color, thickness = (shade + 12, shade, shade - 8), int(generator.integers(1, 4))
        pen.line([(float(x), float(y)) for x, y in points], fill=color, width=thickness)


def _add_bubbles(generator: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Add gel bubbles, each a bright ring with a highlight, to pixels (H, W, 3)."""
    height, width = pixels.shape[:2]
    light = np.zeros((height, width))
    for _ in range(generator.integers(0, 7)):
        row, column = generator.uniform(0, height), generator.uniform(0, width)
        radius = generator.uniform(3, 12)
        reach = radius + 6  # beyond, the light is weaker than one grey value
        top, left = max(0, int(row - reach)), max(0, int(column - reach))
        rows, columns = np.mgrid[top : min(height, int(row + reach)), left : min(width, int(column + reach))]
        away = np.hypot(rows - row, columns - column)
        glow = 45 * np.exp(-(((away - radius) / 1.5) ** 2))
        glow += 90 * np.exp(-((np.hypot(rows - row + radius / 2, columns - column + radius / 2) / 1.8) ** 2))
        light[top : top + len(rows), left : left + rows.shape[1]] += glow
    return pixels + light[..., None]
