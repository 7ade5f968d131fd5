"""Which files of a folder are taken for photographs."""

from pathlib import Path

import pytest

from rlrestore.errors import DataError
from rlrestore.imaging.io.files import list_photos


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_photos_are_listed_recursively_and_sorted(tmp_path: Path) -> None:
    _touch(tmp_path, "b.png", "a/z.JPG", "a/b/c.webp", "a/notes.txt", "c_restored.png", "a.tiff", "Z.pgm")
    listed = [str(path.relative_to(tmp_path)) for path in list_photos(tmp_path)]
    assert listed == ["Z.pgm", "a/b/c.webp", "a/z.JPG", "a.tiff", "b.png", "c_restored.png"]


def test_hidden_files_and_folders_are_not_listed(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "._a.png", ".cache/b.png")
    assert list_photos(tmp_path) == [tmp_path / "a.png"]


def test_loops_of_links_end_and_no_folder_is_listed_twice(tmp_path: Path) -> None:
    _touch(tmp_path, "in/a.png", "in/deep/b.png")
    (tmp_path / "in" / "deep" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "self").symlink_to(".", target_is_directory=True)
    (tmp_path / "in" / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    names = [path.name for path in list_photos(tmp_path / "in")]
    assert sorted(names) == ["a.png", "b.png", "dangling.png"]


def test_linked_folders_are_listed(tmp_path: Path) -> None:
    _touch(tmp_path, "elsewhere/a.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert list_photos(tmp_path / "in") == [tmp_path / "in" / "link" / "a.png"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder of photographs, but '.*nowhere' is none; check"):
        list_photos(tmp_path / "nowhere")


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "notes.txt", "sub/readme.md")
    with pytest.raises(DataError, match=r"expected photographs .* in the folder '.*', but it has none"):
        list_photos(tmp_path)


@pytest.mark.parametrize("name", ["a.HIF", "a.apng", "a.jpf", "a.psd", "a.btf"])
def test_less_common_names_are_listed(tmp_path: Path, name: str) -> None:
    _touch(tmp_path, name)
    assert list_photos(tmp_path) == [tmp_path / name]


@pytest.mark.parametrize("installed", [True, False])
def test_raw_files_are_listed_or_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, installed: bool
) -> None:
    monkeypatch.setattr("rlrestore.imaging.io.files.can_develop", lambda: installed)
    _touch(tmp_path, "a.png", "b.NEF", "c/d.dng")
    listed = [path.name for path in list_photos(tmp_path)]
    assert listed == (["a.png", "b.NEF", "d.dng"] if installed else ["a.png"])
    assert [record.getMessage() for record in caplog.records] == (
        []
        if installed
        else [f"2 camera raw files in '{tmp_path}' left out: develop first, or install the extra raw"]
    )


def test_one_raw_file_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rlrestore.imaging.io.files.can_develop", lambda: False)
    _touch(tmp_path, "a.png", "b.NEF")
    list_photos(tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"1 camera raw file in '{tmp_path}' left out: develop first, or install the extra raw"
    ]
