"""Tests of the files that are replaced: whose link is followed, what is refused before the work."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from slide._base import targets
from slide._base.files import as_path, check_replaceable, replacing

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of POSIX")
only_root = pytest.mark.skipif(not IS_ROOT, reason="changes the owners of files")
ME, STRANGER, ROOT = 1000, 1001, 0


def status(mode, owner):
    return os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))


def save(path, text="new"):
    with replacing(str(path)) as temporary, open(temporary, "w") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("maker", "folder_mode", "folder_owner", "is_trap"),
    [
        (STRANGER, 0o1777, ROOT, True),
        (ME, 0o1777, ROOT, False),
        (ROOT, 0o1777, ROOT, False),
        (STRANGER, 0o1777, STRANGER, False),
        (STRANGER, 0o777, ROOT, False),
        (STRANGER, 0o1755, ROOT, False),
    ],
)
def test_a_link_of_a_stranger_in_a_folder_for_all_is_a_trap(
    maker, folder_mode, folder_owner, is_trap
):
    link, folder = status(0o120777, maker), status(stat.S_IFDIR | folder_mode, folder_owner)
    assert targets.is_trap(link, folder, ME) == is_trap


@pytest.mark.parametrize(
    ("owner", "folder_mode", "folder_owner", "user", "is_anothers"),
    [
        (STRANGER, 0o1777, ROOT, ME, True),
        (ROOT, 0o1777, ROOT, ME, True),
        (ME, 0o1777, ROOT, ME, False),
        (STRANGER, 0o1777, ME, ME, False),
        (STRANGER, 0o777, ROOT, ME, False),
        (STRANGER, 0o1777, ROOT, ROOT, False),
        (STRANGER, 0o1777, ROOT, None, False),
    ],
)
def test_only_the_owner_replaces_a_file_in_a_sticky_folder(
    owner, folder_mode, folder_owner, user, is_anothers
):
    file, folder = status(0o100666, owner), status(stat.S_IFDIR | folder_mode, folder_owner)
    assert targets.is_anothers(file, folder, user) == is_anothers


@only_root
def test_rights_between_users(tmp_path):
    """The same with real owners, as another user."""
    shared, private = tmp_path / "shared", tmp_path / "private"
    shared.mkdir()
    private.mkdir(mode=0o755)
    shared.chmod(0o1777)
    (private / "victim").write_text("old")
    (shared / "trap").symlink_to(private / "victim")
    os.lchown(shared / "trap", STRANGER, STRANGER)
    (shared / "theirs").touch()
    os.chown(shared / "theirs", STRANGER, STRANGER)
    folder = tmp_path
    while folder != Path(tempfile.gettempdir()):
        folder.chmod(0o755)
        folder = folder.parent
    with pytest.raises(PermissionError, match="trap is a link of another user"):
        save(shared / "trap")
    assert (private / "victim").read_text() == "old"
    code = f"""
        import os
        from slide._base.files import check_replaceable, replacing
        os.seteuid({ME})
        def refused(path):
            try:
                check_replaceable(path)
            except PermissionError as error:
                return str(error)
        assert "it is another user's file" in refused({str(shared / "theirs")!r})
        assert "no right to write into" in refused({str(private / "new")!r})
        with replacing({str(shared / "mine")!r}) as temporary:
            pass
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (shared / "mine").stat().st_uid == ME


@posix
def test_a_replaced_file_keeps_its_mode(tmp_path):
    path = tmp_path / "file"
    for mode in (0o600, 0o640, 0o444, 0o666):
        path.touch()
        path.chmod(mode)
        save(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert path.read_text() == "new"
        path.unlink()


@posix
def test_nobody_else_can_enter_where_a_file_is_written(tmp_path):
    with replacing(str(tmp_path / "file")) as temporary:
        folder = os.stat(os.path.dirname(temporary))
    assert stat.S_IMODE(folder.st_mode) == 0o700


@only_root
def test_a_replaced_file_keeps_owner_and_group(tmp_path):
    path = tmp_path / "file"
    path.touch(mode=0o640)
    os.chown(path, STRANGER, ME)
    save(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (STRANGER, ME, 0o640)


def test_rights_of_a_group_that_cannot_be_kept_go_to_nobody(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse, raising=False)
    path = tmp_path / "file"
    for before, after in ((0o660, 0o600), (0o664, 0o644), (0o777, 0o777)):
        path.touch()
        path.chmod(before)
        save(path)
        assert stat.S_IMODE(path.stat().st_mode) == after


def test_own_links_are_followed_one_by_one(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "one").symlink_to("inner/two")
    (inner / "two").symlink_to("../file")
    save(tmp_path / "one")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "one").is_symlink() and (inner / "two").is_symlink()
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="its links go round in a circle"):
        check_replaceable(str(tmp_path / "a"))


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    for name in ("x" * 255, "\u4e2d" * 85):
        save(tmp_path / name)
    with pytest.raises(OSError, match="its name is too long, 256 bytes"):
        check_replaceable(str(tmp_path / ("x" * 256)))
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_replaced_is_refused_early(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind, words in (
        (tmp_path, ValueError, "it is not a plain file"),
        (tmp_path / "pipe", ValueError, "it is not a plain file"),
        (tmp_path / "none" / "file", FileNotFoundError, "there is no folder"),
        (f"{tmp_path}/", ValueError, "it is not a plain file"),
    ):
        with pytest.raises(kind, match=words):
            check_replaceable(str(path))


def test_mount_points_are_found_in_the_table_of_the_kernel(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(
        "29 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "40 29 254:0 /a /models/my\\040model rw - ext4 /dev/vda rw\n"
    )
    assert targets._is_mounted("/models/my model", str(table))
    assert not targets._is_mounted("/models/my", str(table))
    assert not targets._is_mounted("/models/my", str(tmp_path / "nothing"))


@only_root
@pytest.mark.skipif(not shutil.which("chattr"), reason="no chattr")
def test_immutable_files_and_folders_are_refused_early(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()
    for path in (folder / "file", folder):
        if subprocess.run(["chattr", "+i", path], capture_output=True).returncode:
            pytest.skip("this file system has no such flag")
        try:
            with pytest.raises(PermissionError, match=r"immutable|no right"):
                check_replaceable(str(folder / "file"))
        finally:
            subprocess.run(["chattr", "-i", path], check=True)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
def test_an_open_file_without_a_path_is_refused_before_the_work(tmp_path):
    read, write = os.pipe()
    path = tmp_path / "removed"
    with open(path, "w") as removed:
        path.unlink()
        for number in (write, removed.fileno()):
            for name in (f"/dev/fd/{number}", f"/proc/self/fd/{number}"):
                with pytest.raises(ValueError, match=f"{name} cannot be written: .* plain file"):
                    check_replaceable(name)
    os.close(read), os.close(write)


@pytest.mark.parametrize("path", [None, 3, 2.5, ["a"], "", b"", "a\0b", b"\0", "\ud800"])
def test_what_is_no_path_is_refused_by_name(path):
    with pytest.raises(ValueError, match="path must be a"):
        as_path(path)


def test_a_path_may_be_text_bytes_or_path_like(tmp_path):
    assert as_path(tmp_path) == as_path(str(tmp_path)) == as_path(os.fsencode(tmp_path))
