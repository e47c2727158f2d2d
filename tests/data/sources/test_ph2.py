"""Import of a small PH2 of synthetic cases with its own manifest. tests/test_real_ph2.py uses the real PH2."""

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
    rows = [describe_images(*make_images(number)) for number in range(1, 8)]
    return pd.DataFrame(rows, index=pd.Index(IDS, name="case_id"))


def make_images(number: int) -> tuple[Image.Image, Image.Image]:
    case = synthesize_case(number)
    return Image.fromarray(case.image), Image.fromarray(case.mask)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    root = tmp_path / "download" / "PH2Dataset"
    for number, case_id in enumerate(IDS, start=1):
        image, mask = make_images(number)
        for suffix, content, name in (
            ("Dermoscopic_Image", image, case_id),
            ("lesion", mask, f"{case_id}_lesion"),
            ("roi", mask, f"{case_id}_R1_Label3"),
        ):
            folder = root / "PH2 Dataset images" / case_id / f"{case_id}_{suffix}"
            folder.mkdir(parents=True)
            content.save(folder / f"{name}.bmp")
    rows = [f"|| {case_id} ||  || 0 || 0 | T | A | A | A | A || 4 ||" for case_id in IDS]
    (root / "PH2_dataset.txt").write_text("\n".join([HEADER, *rows]))
    return root.parent


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    root = tmp_path / "kaggle"
    for folder in ("trainx", "trainy"):
        (root / folder).mkdir(parents=True)
    for number in range(1, 8):
        image, mask = make_images(number)
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
    assert [path.name for path in target.parent.iterdir()] == ["ph2"]  # no temporary files


def test_official_layout_is_imported(official, target, manifest):
    assert "7 cases checked" in import_ph2(official, target, manifest)
    assert_flat(target)


def test_kaggle_layout_is_identified_by_pixels_and_has_no_annotations(kaggle, target, manifest):
    for folder, letter in (("trainx", "X"), ("trainy", "Y")):  # another order than the case ids
        swap(kaggle / folder / f"{letter}_img_0.bmp", kaggle / folder / f"{letter}_img_6.bmp")
    assert "no annotations" in import_ph2(kaggle, target, manifest)
    assert_flat(target)


def test_zip_is_imported(official, target, manifest, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "ph2"), "zip", official)
    import_ph2(Path(archive), target, manifest)
    assert_flat(target)


def test_written_layout_can_be_imported_again(official, target, manifest, tmp_path):
    import_ph2(official, tmp_path / "first" / "ph2", manifest)
    import_ph2(tmp_path / "first", target, manifest)
    assert_flat(target)


def test_zip_with_backslashes_is_imported(official, target, manifest, tmp_path):
    path = tmp_path / "ph2.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(official.rglob("*")):
            if file.is_file():
                archive.writestr(str(file.relative_to(official)).replace("/", "\\"), file.read_bytes())
    import_ph2(path, target, manifest)
    assert_flat(target)


def test_zip_with_rar_is_refused_with_remedy(target, tmp_path):
    with zipfile.ZipFile(tmp_path / "ph2.zip", "w") as archive:
        archive.writestr("PH2Dataset.rar", b"Rar!")
    with pytest.raises(InputError, match=r"PH2Dataset\.rar is a RAR archive"):
        import_ph2(tmp_path / "ph2.zip", target)


@pytest.mark.parametrize("kind", ["other files", "file", "link", "same", "inside", "around"])
def test_target_with_other_files_is_not_replaced(official, manifest, tmp_path, kind):
    target = tmp_path / "target"
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


def test_temporary_folder_of_killed_import_is_removed(official, target, manifest):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = target.parent / f".ph2-{int(dead.stdout)}-abc"
    (left / "images").mkdir(parents=True)
    import_ph2(official, target, manifest)
    assert_flat(target)


FUZZED = int(os.environ.get("FUZZED", "60"))


def test_damaged_zips_raise_input_errors(official, manifest, tmp_path):
    """FUZZED=3000 tests more files. The damage is seeded."""
    good = tmp_path / "good.zip"
    with zipfile.ZipFile(good, "w") as archive:
        for number, file in enumerate(path for path in sorted(official.rglob("*")) if path.is_file()):
            kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
            archive.writestr(str(file.relative_to(official)), file.read_bytes()[:2000], kinds[number % 4])
    whole = good.read_bytes()
    generator = np.random.default_rng(0)
    damaged = tmp_path / "damaged.zip"
    messages: Counter[str] = Counter()
    for _ in range(FUZZED):
        content = bytearray(whole)
        for position in generator.integers(0, len(content), generator.integers(1, 30)):
            content[position] = generator.integers(0, 256)
        if generator.random() < 0.2:
            del content[generator.integers(0, len(content)) :]
        damaged.write_bytes(content)
        try:
            import_ph2(damaged, tmp_path / "target", manifest)
        except InputError as error:
            messages[str(error).partition("(")[0]] += 1
    assert messages.total() == FUZZED  # each is refused, since its images are truncated
    assert len(messages) >= 2


def test_earlier_import_is_replaced_as_a_whole(official, target, manifest):
    (target / "images").mkdir(parents=True)
    (target / "images" / "old.bmp").write_bytes(b"")
    import_ph2(official, target, manifest)
    assert_flat(target)


def test_all_problems_are_in_one_report_and_nothing_is_written(official, target, manifest):
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
    assert "IMD002.bmp: it is not a readable image" in report
    assert "IMD003: the pixels of the image differ" in report
    assert "IMD004: the pixels of the mask differ" in report
    assert "IMD999: it is not a case of PH2" in report
    assert not list(target.parent.iterdir())


def test_problems_of_kaggle_layout_are_in_one_report(kaggle, target, manifest):
    (kaggle / "trainx" / "X_img_0.bmp").unlink()
    Image.new("RGB", (60, 50)).save(kaggle / "trainx" / "X_img_1.bmp")
    (kaggle / "trainy" / "Y_img_2.bmp").unlink()
    with pytest.raises(InputError) as caught:
        import_ph2(kaggle, target, manifest)
    report = str(caught.value)
    assert "Y_img_0.bmp: the image X_img_0.bmp of this mask is missing" in report
    assert "X_img_1.bmp: it is not an image of PH2" in report
    assert "IMD003: the mask is missing" in report
    assert "IMD001: the image is missing" in report


def test_case_without_annotations_is_reported(official, target, manifest):
    table = official / "PH2Dataset" / "PH2_dataset.txt"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "IMD004" not in line))
    with pytest.raises(InputError, match=r"IMD004: it is not in PH2_dataset\.txt"):
        import_ph2(official, target, manifest)


@pytest.mark.parametrize("name", ["../escaped.bmp", "/tmp/escaped.bmp", "a/../../escaped.bmp", "..\\escaped.bmp"])
def test_zip_entries_are_never_written_outside_the_temporary_folder(name, target, manifest, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr(name, b"x")
    folder = archives.open_source(tmp_path / "evil.zip", tmp_path / "unpacked")
    assert [path.is_relative_to(folder) for path in tmp_path.rglob("escaped.bmp")] == [True]
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="is not PH2"):
        import_ph2(tmp_path / "evil.zip", target, manifest)
    assert not list(tmp_path.rglob("escaped.bmp"))
    assert not Path("/tmp/escaped.bmp").exists()


@pytest.mark.parametrize(("limit", "value"), [("MAX_UNPACKED_BYTES", 9), ("MAX_ENTRIES", 1)])
def test_zip_that_unpacks_to_too_much_is_refused(limit, value, target, manifest, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as file:
        file.writestr("a.bmp", b"12345")
        file.writestr("b.bmp", b"12345")
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(InputError, match="would unpack to 2 files"):
        import_ph2(tmp_path / "large.zip", target, manifest)
    assert not target.exists()


def test_other_archives_are_refused_with_remedy(tmp_path, target, manifest):
    rar = tmp_path / "PH2Dataset.rar"
    rar.write_bytes(b"Rar!")
    with pytest.raises(InputError, match="Unpack it first"):
        import_ph2(rar, target, manifest)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK")
    with pytest.raises(InputError, match="neither a folder nor a readable"):
        import_ph2(broken, target, manifest)
    with pytest.raises(InputError, match="there is no such folder or file"):
        import_ph2(tmp_path / "nowhere", target, manifest)
