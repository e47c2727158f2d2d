"""Listing of folders: what is read, what is left out with a reason, and what is skipped quietly."""

import os
import socket

from lesion_segmentation.images.listing import WRONG_SUFFIX, list_image_files


def make(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def list_names(folder):
    files, left_out = list_image_files(folder)
    return [path.relative_to(folder).as_posix() for path in files], left_out


def test_everything_that_is_no_image_is_left_out_with_reason(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    make(folder / "b.JPG", folder / "a.png", folder / "x" / "c.tif", folder / "x" / "d.gif", folder / "notes")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "null.png").symlink_to("/dev/null")
    os.mkfifo(folder / "pipe.png")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.png")
        names, left_out = list_names(folder)
    assert names == ["a.png", "b.JPG", "x/c.tif"]
    assert left_out == {
        "gone.png": "it links to nothing",
        "loop.png": "it links to nothing",
        "notes": WRONG_SUFFIX,
        "null.png": "it is not a regular file",
        "pipe.png": "it is not a regular file",
        "socket.png": "it is not a regular file",
        "x/d.gif": WRONG_SUFFIX,
    }


def test_hidden_files_are_skipped_quietly(tmp_path):
    make(tmp_path / "a.png", tmp_path / "._a.png", tmp_path / ".DS_Store", tmp_path / "Thumbs.db", tmp_path / ".png")
    make(tmp_path / ".cache" / "b.png", tmp_path / "__MACOSX" / "c.png", tmp_path / "x" / "desktop.ini")
    assert list_names(tmp_path) == (["a.png"], {})


def test_linked_folders_are_followed_once(tmp_path):
    folder = tmp_path / "parent" / "in"
    make(folder / "a.png", folder / "x" / "b.png", tmp_path / "else" / "c.png", tmp_path / "else" / "deep" / "d.png")
    (folder / "link").symlink_to(tmp_path / "else")
    (folder / "link2").symlink_to(tmp_path / "else")
    (folder / "same").symlink_to(folder / "x")
    (folder / "up").symlink_to(tmp_path / "parent")
    (folder / "x" / "self").symlink_to(folder)
    (tmp_path / "else" / "deep" / "back").symlink_to(tmp_path / "else")
    names, left_out = list_names(folder)
    assert names == ["a.png", "link/c.png", "link/deep/d.png", "x/b.png"]
    assert set(left_out) == {"link2", "same", "up", "x/self", "link/deep/back"}
    assert set(left_out.values()) == {"it links to a folder that is listed already or contains this one"}


def test_folder_that_cannot_be_opened_is_left_out(tmp_path, monkeypatch):
    make(tmp_path / "a.png", tmp_path / "closed" / "b.png")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may open every folder
    assert list_names(tmp_path) == (["a.png"], {"closed": "it cannot be opened (Permission denied)"})
