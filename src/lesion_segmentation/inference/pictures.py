"""Which pictures are asked for, and reading one of them."""

import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lesion_segmentation.data.pictures import to_rgb
from lesion_segmentation.data.sources.folder import ENDINGS
from lesion_segmentation.errors import InputError

MOST_PIXELS = 150_000_000
"""A picture of more is refused: it would take gigabytes."""
OUTPUT = re.compile(r"_(mask|overlay|probability)$")


@dataclass(frozen=True)
class PictureFile:
    """A picture to be predicted.

    Attributes:
        path: Where it is.
        name: Its place below the folder that was asked for, with /; of a single picture its file name.
    """

    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The name without its ending: what its outputs are called by."""
        return self.name.removesuffix(Path(self.name).suffix)


def list_pictures(source: Path) -> list[PictureFile]:
    """A picture, or all pictures of a folder at any depth, by name.

    Raises:
        InputError: There is nothing, or two pictures would have one mask.
    """
    if source.is_file():
        return [PictureFile(source, source.name)]
    if not source.is_dir():
        raise InputError(f"{source} is not there. Expected a picture or a folder with pictures.")
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    pictures = [PictureFile(path, path.relative_to(source).as_posix()) for path in files]
    if not pictures:
        raise InputError(f"{source}: no picture found; expected {', '.join(ENDINGS)}")
    alike = defaultdict(list)
    for picture in pictures:
        alike[picture.stem].append(picture.name)
    problems = [f"{' and '.join(names)}" for names in alike.values() if len(names) > 1]
    if problems:
        raise InputError.from_problems(
            "Some pictures differ in their ending alone, and their masks would have one name",
            problems,
            "Rename one of each, or put them into different folders.",
        )
    return pictures


def take_part(pictures: Sequence[PictureFile], part: str | None) -> list[PictureFile]:
    """Every n-th picture for `k/n`, k from 1 to n; all of them for None.

    Raises:
        InputError: It is not of this form.
    """
    if part is None:
        return list(pictures)
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--part is {part!r}, expected k/n with k from 1 to n, such as 2/8")
    return list(pictures[int(found[1]) - 1 :: int(found[2])])


def read_picture(path: Path) -> np.ndarray:
    """As it is looked at, uint8 (H, W, 3).

    Raises:
        ValueError: It is no picture, damaged, of a kind that is not read, or too large; in words.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS:
                    raise ValueError(f"it has {width} x {height} pixels, {MOST_PIXELS:,} are read at most")
                pages = getattr(picture, "n_frames", 1)
                if pages > 1:
                    raise ValueError(f"it has {pages} pages, one is expected")
                return to_rgb(picture)
    except Image.DecompressionBombError as error:
        raise ValueError(f"it is larger than {MOST_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ValueError("it is no picture that can be read") from error
    except MemoryError as error:
        raise ValueError("it needs more memory than there is") from error
    except ValueError:
        raise
    except Exception as error:  # Pillow's readers raise almost anything for damaged files
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"it is damaged ({cause[:150]})") from error
