"""Functions that damage one case of a folder in the project's layout and return the expected problem."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image


def image_of(folder: Path, case_id: str) -> Path:
    return folder / "images" / f"{case_id}.bmp"


def mask_of(folder: Path, case_id: str) -> Path:
    return folder / "masks" / f"{case_id}.bmp"


def replace(path: Path, content: bytes) -> None:
    """Replace the file and not the target of a link, which may belong to another folder."""
    path.unlink()
    path.write_bytes(content)


def remove_mask(folder: Path, case_id: str) -> str:
    mask_of(folder, case_id).unlink()
    return f"{case_id}: there is an image but no mask"


def remove_image(folder: Path, case_id: str) -> str:
    image_of(folder, case_id).unlink()
    return f"{case_id}: there is a mask but no image"


def remove_both(folder: Path, case_id: str) -> str:
    image_of(folder, case_id).unlink()
    mask_of(folder, case_id).unlink()
    return f"{case_id}: it is in PH2_dataset.txt, but there is neither an image nor a mask"


def change_size(folder: Path, case_id: str) -> str:
    mask_of(folder, case_id).unlink()
    Image.new("1", (50, 40)).save(mask_of(folder, case_id))
    return f"{case_id}: the image is "


def truncate_image(folder: Path, case_id: str) -> str:
    content = image_of(folder, case_id).read_bytes()
    replace(image_of(folder, case_id), content[: len(content) // 2])
    return f"{case_id}: the image cannot be read (image file is truncated"


def empty_mask_file(folder: Path, case_id: str) -> str:
    replace(mask_of(folder, case_id), b"")
    return f"{case_id}: the mask cannot be used (empty or not an image)"


def grey_mask(folder: Path, case_id: str) -> str:
    size = Image.open(image_of(folder, case_id)).size
    mask_of(folder, case_id).unlink()
    levels = np.repeat(np.arange(size[0], dtype=np.uint8)[None] % 9 * 20, size[1], axis=0)
    Image.fromarray(levels).save(mask_of(folder, case_id))
    return (
        f"{case_id}: the mask cannot be used (9 grey values found (0, 20, 40, 60, 80, 100, ...), expected at most two)"
    )


def duplicate_image(folder: Path, case_id: str) -> str:
    original = min((folder / "images").glob("*.bmp"))
    replace(image_of(folder, case_id), original.read_bytes())
    mask_of(folder, case_id).unlink()
    mask_of(folder, case_id).write_bytes(mask_of(folder, original.stem).read_bytes())
    return f"{case_id}: the image is identical to that of {original.stem}"


def forget_annotation(folder: Path, case_id: str) -> str:
    table = folder / "PH2_dataset.txt"
    lines = [line for line in table.read_text().splitlines() if case_id not in line]
    replace(table, "\n".join(lines).encode())
    return f"{case_id}: not found in PH2_dataset.txt"


def bomb(folder: Path, case_id: str) -> str:
    """Write a header of 10,000 x 10,000 pixels, for which Pillow only warns."""
    header = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 10_000, 10_000, 1, 24, *[0] * 6
    )
    replace(image_of(folder, case_id), header)
    return f"{case_id}: the image cannot be read (Image size (100000000 pixels) exceeds limit"


DAMAGES = (
    remove_mask,
    remove_image,
    remove_both,
    change_size,
    truncate_image,
    empty_mask_file,
    grey_mask,
    duplicate_image,
    forget_annotation,
    bomb,
)
