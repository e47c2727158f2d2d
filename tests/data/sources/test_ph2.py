"""make ph2, on a small PH2 of drawn cases with a manifest of its own; the real one is in tests/test_real_ph2.py."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import HEADER
from lesion_segmentation.data.sources import archives
from lesion_segmentation.data.sources.ph2 import describe_images, import_ph2
from lesion_segmentation.data.sources.synthetic import synthesize_case

IDS = [f"IMD{number:03d}" for number in range(1, 8)]


@pytest.fixture(scope="module")
def manifest() -> pd.DataFrame:
    rows = [describe_images(*pictures(number)) for number in range(1, 8)]
    return pd.DataFrame(rows, index=pd.Index(IDS, name="case_id"))


def pictures(number: int) -> tuple[Image.Image, Image.Image]:
    case = synthesize_case(number)
    return Image.fromarray(case.image), Image.fromarray(case.mask)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    root = tmp_path / "download" / "PH2Dataset"
    for number, case_id in enumerate(IDS, start=1):
        image, mask = pictures(number)
        for suffix, picture, name in (
            ("Dermoscopic_Image", image, case_id),
            ("lesion", mask, f"{case_id}_lesion"),
            ("roi", mask, f"{case_id}_R1_Label3"),
        ):
            folder = root / "PH2 Dataset images" / case_id / f"{case_id}_{suffix}"
            folder.mkdir(parents=True)
            picture.save(folder / f"{name}.bmp")
    rows = [f"|| {case_id} ||  || 0 || 0 | T | A | A | A | A || 4 ||" for case_id in IDS]
    (root / "PH2_dataset.txt").write_text("\n".join([HEADER, *rows]))
    return root.parent


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    root = tmp_path / "kaggle"
    for folder in ("trainx", "trainy"):
        (root / folder).mkdir(parents=True)
    for number in range(1, 8):
        image, mask = pictures(number)
        image.save(root / "trainx" / f"X_img_{number - 1}.bmp")
        mask.save(root / "trainy" / f"Y_img_{number - 1}.bmp")
    return root


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ph2"


def swap(one: Path, other: Path) -> None:
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def assert_flat(target: Path) -> None:
    assert sorted(path.stem for path in (target / "images").iterdir()) == IDS
    assert sorted(path.stem for path in (target / "masks").iterdir()) == IDS
    assert (target / "PH2_dataset.txt").is_file()
    assert [path.name for path in target.parent.iterdir()] == ["ph2"]  # nothing left beside it


def test_official_layout(official, target, manifest):
    assert "7 cases checked" in import_ph2(official, target, manifest)
    assert_flat(target)


def test_kaggle_layout_knows_cases_by_pixels_and_has_no_annotations(kaggle, target, manifest):
    for folder, letter in (("trainx", "X"), ("trainy", "Y")):  # not in the order of the ids
        swap(kaggle / folder / f"{letter}_img_0.bmp", kaggle / folder / f"{letter}_img_6.bmp")
    assert "no annotations" in import_ph2(kaggle, target, manifest)
    assert_flat(target)


def test_zip(official, target, manifest, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "ph2"), "zip", official)
    import_ph2(Path(archive), target, manifest)
    assert_flat(target)


def test_what_an_import_wrote_is_a_source_too(official, target, manifest, tmp_path):
    import_ph2(official, tmp_path / "first" / "ph2", manifest)
    import_ph2(tmp_path / "first", target, manifest)
    assert_flat(target)


def test_a_zip_of_windows_is_read(official, target, manifest, tmp_path):
    """Its names may have backslashes."""
    path = tmp_path / "ph2.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(official.rglob("*")):
            if file.is_file():
                archive.writestr(str(file.relative_to(official)).replace("/", "\\"), file.read_bytes())
    import_ph2(path, target, manifest)
    assert_flat(target)


def test_a_zip_that_holds_a_rar_says_what_to_do(target, tmp_path):
    with zipfile.ZipFile(tmp_path / "ph2.zip", "w") as archive:
        archive.writestr("PH2Dataset.rar", b"Rar!")
    with pytest.raises(InputError, match=r"PH2Dataset\.rar is a RAR archive"):
        import_ph2(tmp_path / "ph2.zip", target)


@pytest.mark.parametrize("kind", ["other files", "file", "link", "same", "inside", "around"])
def test_nothing_is_replaced_but_an_earlier_import(official, manifest, tmp_path, kind):
    target = tmp_path / "place"
    if kind == "other files":
        (target / "images").mkdir(parents=True)
        (target / "thesis.tex").write_text("years of work")
    elif kind == "file":
        target.write_text("a file")
    elif kind == "link":
        (tmp_path / "real").mkdir()
        target.symlink_to(tmp_path / "real")
    else:
        target = {"same": official, "inside": official / "ph2", "around": official.parent}[kind]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="Choose another --target"):
        import_ph2(official, target, manifest)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_a_killed_import_left_beside_the_target_is_swept(official, target, manifest):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = target.parent / f".ph2-{int(dead.stdout)}-abc"
    (left / "images").mkdir(parents=True)
    import_ph2(official, target, manifest)
    assert_flat(target)


FUZZED = int(os.environ.get("FUZZED", "60"))


def test_damaged_zips_end_in_our_own_errors(official, manifest, tmp_path):
    """Seeded; FUZZED=3000 for more of them."""
    good = tmp_path / "good.zip"
    with zipfile.ZipFile(good, "w") as archive:
        for number, file in enumerate(path for path in sorted(official.rglob("*")) if path.is_file()):
            kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
            archive.writestr(str(file.relative_to(official)), file.read_bytes()[:2000], kinds[number % 4])
    whole = good.read_bytes()
    generator = np.random.default_rng(0)
    damaged = tmp_path / "damaged.zip"
    ends: Counter[str] = Counter()
    for _ in range(FUZZED):
        content = bytearray(whole)
        places = generator.integers(0, len(content), generator.integers(1, 30))
        for place in places:
            content[place] = generator.integers(0, 256)
        if generator.random() < 0.2:
            del content[generator.integers(0, len(content)) :]
        damaged.write_bytes(content)
        try:
            import_ph2(damaged, tmp_path / "target", manifest)
        except InputError as error:
            ends[str(error).partition("(")[0]] += 1
    assert ends.total() == FUZZED  # every one is refused, since its pictures are cut short
    assert len(ends) >= 2


def test_an_existing_copy_is_replaced_as_a_whole(official, target, manifest):
    (target / "images").mkdir(parents=True)
    (target / "images" / "old.bmp").write_bytes(b"")
    import_ph2(official, target, manifest)
    assert_flat(target)


def test_five_faults_are_named_and_nothing_is_written(official, target, manifest):
    cases = official / "PH2Dataset" / "PH2 Dataset images"
    shutil.rmtree(cases / "IMD001" / "IMD001_lesion")
    (cases / "IMD002" / "IMD002_Dermoscopic_Image" / "IMD002.bmp").write_bytes(b"BM")
    image = cases / "IMD003" / "IMD003_Dermoscopic_Image" / "IMD003.bmp"
    Image.open(image).point(lambda value: 255 - value).save(image)
    mask = cases / "IMD004" / "IMD004_lesion" / "IMD004_lesion.bmp"
    Image.open(mask).resize((50, 40)).save(mask)
    shutil.copytree(cases / "IMD005", cases / "IMD999")
    for path in list((cases / "IMD999").rglob("*.bmp")):
        path.rename(path.with_name(path.name.replace("IMD005", "IMD999")))
    with pytest.raises(InputError) as caught:
        import_ph2(official, target, manifest)
    report = str(caught.value)
    assert "5 problems" in report
    assert "IMD001: the mask is missing" in report
    assert "IMD002: cannot be read" in report
    assert "IMD003: the image's pixels differ" in report
    assert "IMD004: the mask's pixels differ" in report
    assert "IMD999: extra" in report
    assert not list(target.parent.iterdir())


def test_kaggle_faults_are_named(kaggle, target, manifest):
    (kaggle / "trainx" / "X_img_0.bmp").unlink()
    Image.new("RGB", (60, 50)).save(kaggle / "trainx" / "X_img_1.bmp")
    (kaggle / "trainy" / "Y_img_2.bmp").unlink()
    with pytest.raises(InputError) as caught:
        import_ph2(kaggle, target, manifest)
    report = str(caught.value)
    assert "Y_img_0.bmp: a mask without its image" in report
    assert "X_img_1.bmp: its pixels are those of no case of PH2" in report
    assert "IMD003: the mask is missing" in report
    assert "IMD001: the image is missing" in report


def test_missing_annotations_of_a_case_are_named(official, target, manifest):
    table = official / "PH2Dataset" / "PH2_dataset.txt"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "IMD004" not in line))
    with pytest.raises(InputError, match=r"IMD004: not in PH2_dataset\.txt"):
        import_ph2(official, target, manifest)


@pytest.mark.parametrize("name", ["../escaped.bmp", "/tmp/escaped.bmp", "a/../../escaped.bmp"])
def test_zip_entries_that_escape_are_refused(name, target, manifest, tmp_path):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(InputError, match="outside the target"):
        import_ph2(archive, target, manifest)
    assert not list(tmp_path.rglob("escaped.bmp"))


@pytest.mark.parametrize(("limit", "value"), [("MAX_UNPACKED_BYTES", 9), ("MAX_ENTRIES", 1)])
def test_a_zip_that_unpacks_to_too_much_is_refused(limit, value, target, manifest, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as file:
        file.writestr("a.bmp", b"12345")
        file.writestr("b.bmp", b"12345")
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(InputError, match="would unpack to 2 files"):
        import_ph2(tmp_path / "large.zip", target, manifest)
    assert not target.exists()


def test_archives_of_other_kinds_say_what_to_do(tmp_path, target, manifest):
    rar = tmp_path / "PH2Dataset.rar"
    rar.write_bytes(b"Rar!")
    with pytest.raises(InputError, match="Unpack it first"):
        import_ph2(rar, target, manifest)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK")
    with pytest.raises(InputError, match="neither a folder nor a readable"):
        import_ph2(broken, target, manifest)
    with pytest.raises(InputError, match="no such folder"):
        import_ph2(tmp_path / "nowhere", target, manifest)
