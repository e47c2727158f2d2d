"""Tables that users write: separators, encodings, and faults with their lines."""

import unicodedata
from pathlib import Path

import pytest

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.user_tables import read_user_table

KNOWN = ("case_id", "subset")


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_any_separator_with_byte_order_mark_blank_rows_and_upper_case_is_read(tmp_path, separator, newline):
    lines = ["\ufeffCase_ID|subset|Camera|", "|||", '001|"train "|NA|', "", '"a,b;c"|test|"x\ny"|', ""]
    table = read_user_table(write(tmp_path, newline.join(lines).replace("|", separator)), KNOWN)
    assert table.to_dict("list") == {
        "case_id": ["001", "a,b;c"], "subset": ["train", "test"], "Camera": ["NA", "x\ny"],
    }  # fmt: skip


def test_names_are_read_in_unicode_nfc(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Größe")
    assert read_user_table(write(tmp_path, f"case_id\n{decomposed}\n"), KNOWN)["case_id"].tolist() == ["Größe"]


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (
            "case_id,subset\na,train,\nb,test\nc\n",
            ["line 2: the number of cells is 3, expected 2", "line 4: the number of cells is 1"],
        ),
        (
            "case_id\n" + "a,b\n" * 9,
            [*(f"line {number}: the number of cells is 2, expected 1" for number in range(2, 7)), "... and 4 more"],
        ),
        ("case_id,subset,Subset,x,x\na,,,,b\n", ["2 columns are named 'subset'", "2 columns are named 'x'"]),
        ('case_id,subset\na,"train\nb,test\n', ["unexpected end of data"]),
        ("\n\n", ["it is empty"]),
    ],
)
def test_all_faults_of_a_table_are_reported_with_their_lines(tmp_path, content, problems):
    with pytest.raises(InputError) as caught:
        read_user_table(write(tmp_path, content), KNOWN)
    assert len(caught.value.problems) == len(problems)
    assert all(words in found for words, found in zip(problems, caught.value.problems, strict=True))


def test_files_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="can't decode byte 0xf6"):
        read_user_table(write(tmp_path, "case_id\nGröße\n".encode("latin-1")), KNOWN)
    for name in ("absent", "."):
        with pytest.raises(InputError, match=r"cannot be read|is not a regular file"):
            read_user_table(tmp_path / name, KNOWN)
