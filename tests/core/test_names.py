"""What a path tells: every real name is understood, and no name can do harm."""

import os
from collections import Counter
from posixpath import normpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cachemig.core.names import LONGEST_NAME_BYTES, FileKind, ObjectName, classify
from tests.real_lists import paths_of, unpack_subset

SHA256 = "3fa1" + "0" * 60
MD5 = "3fa1" + "0" * 28
ZLIB = f"sstate:zlib:core2-64-poky-linux:1.3.1:r0:core2-64:14:{SHA256}_package"
NATIVE = f"sstate:zlib-native:x86_64-linux:1.3.1:r0:x86_64:12:{SHA256}_populate_sysroot"
OLD = f"sstate:zlib:core2-64-poky-linux:1.2.11:r0:core2-64:3:{SHA256}_package"

field = st.text("abcXYZ019+~.-_", max_size=12)
names = st.builds(
    ObjectName,
    pn=field.filter(bool),
    target=field,
    pv=field,
    pr=field,
    arch=field,
    version=st.sampled_from(["3", "7", "10", "11", "12", "13", "14"]),
    hash=st.text("0123456789abcdef", min_size=64, max_size=64)
    | st.text("0123456789abcdef", min_size=32, max_size=32),
    task=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    extension=st.sampled_from([".tar.zst", ".tgz"]),
)
kinds = st.sampled_from([FileKind.ARCHIVE, FileKind.SIGINFO, FileKind.SIG])
natives = st.sampled_from(["", "universal", "debian-12", "ubuntu-22.04", "a/b", "universal-4.9"])
any_text = st.text(st.characters(codec=None))
hostile = st.lists(
    st.sampled_from(["..", ".", "", "3f", "a1", "universal", "\0", "\n", "\udcff", "\u202e"])
    | st.sampled_from([ZLIB + ".tar.zst", "x" * 255, "é" * 127, "é" * 128])
    | any_text
).map("/".join)


@given(names, kinds, natives)
def test_a_name_printed_and_read_again_is_the_same_name(name, kind, native):
    """Also in every native directory, and for every companion."""
    file_name = name.file_name_of(kind)

    assert ObjectName.parse(file_name) == (name, kind)
    assert classify(f"{name.directory(native)}/{file_name}") == (kind, name, native, False)


@given(hostile | any_text | st.binary().map(os.fsdecode))
@example("")
@example("/")
@example("../sstate:")
@example(f"3f/a1/\ud800{ZLIB}.tar.zst")
def test_no_path_crashes_and_none_that_is_taken_leaves_the_cache(path):
    """What is not REJECTED is relative, plain, printable UTF-8 and fits every file system."""
    kind = classify(path).kind

    if kind is not FileKind.REJECTED:
        assert normpath(path) == path
        assert not path.startswith(("/", "../"))
        assert path not in {".", ".."}
        assert path.isprintable()
        assert max(len(part.encode()) for part in path.split("/")) <= LONGEST_NAME_BYTES


@pytest.mark.parametrize(
    ("path", "native"),
    [
        (f"3f/a1/{ZLIB}.tar.zst", ""),
        (f"universal/3f/a1/{NATIVE}.tar.zst", "universal"),
        (f"debian-12/3f/a1/{NATIVE}.tar.zst", "debian-12"),
        (f"distro/9.1/3f/a1/{NATIVE}.tar.zst", "distro/9.1"),
        (f"3f/a1/{OLD}.tgz", ""),
        (f"3f/{OLD}.tgz", ""),
        (f"Ubuntu-18.04/3f/{OLD}.tgz", "Ubuntu-18.04"),
        (f"3f/sstate:zlib:x:1:r0:x:3:{MD5}_package.tgz", ""),
        (f"3f/a1/sstate:zlib::1.3.1:r0::14:{SHA256}_populate_lic.tar.zst", ""),
        (f"3f/a1/sstate:gtk+3::::x:14:{SHA256}_gcc_stash_builddir.tar.zst", ""),
        (f"3f/a1/sstate:foo:t:1.0+git0+ab~rc1:r0:a:14:{SHA256}_my-task.tar.zst", ""),
    ],
)
def test_an_object_of_any_release_is_understood(path, native):
    """From the one-level layout before dunfell to today's, wherever it lies."""
    found = classify(path)

    assert found.kind is FileKind.ARCHIVE
    assert (found.native, found.misplaced) == (native, False)
    assert found.name is not None
    assert found.name.slot == "3f"


def test_companions_share_the_name_of_their_archive():
    """Archive, siginfo and sig are one object, so that they can be joined by it."""
    found = [classify(f"3f/a1/{ZLIB}.tar.zst{tail}") for tail in ("", ".siginfo", ".sig")]

    assert [f.kind for f in found] == [FileKind.ARCHIVE, FileKind.SIGINFO, FileKind.SIG]
    assert len({f.name for f in found}) == 1


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"3f/a1/{ZLIB}.tar.zst.AbCd1234", FileKind.WRITER_TEMP),
        (f"3f/a1/{OLD}.tgz.x_1234Zz", FileKind.WRITER_TEMP),
        (f"3f/a1/{ZLIB}.tar.zstab_d1234", FileKind.WRITER_TEMP),
        (f"3f/a1/{ZLIB}.tar.zst.sigAbCd1", FileKind.WRITER_TEMP),
        (f"3f/a1/{ZLIB}.tar.zst.sigAbCd", FileKind.OTHER),
        (f"3f/a1/tmpab_d1234/{ZLIB}.tar.zst", FileKind.SIGNING_TEMP),
        (f"3f/a1/tmpab_d1234/{ZLIB}.tar.zst.sig", FileKind.SIGNING_TEMP),
        (f"3f/a1/tmpab_d1234/{ZLIB}.tar.zst.sig.part", FileKind.SIGNING_TEMP),
        ("3f/a1/sigtask.1732347600.12345678abcdefgh", FileKind.SIGINFO_TEMP),
        (f"3f/a1/{ZLIB}.tar.zst.tmp", FileKind.DOWNLOAD_TEMP),
        (f"3f/a1/{ZLIB}.tar.zst.siginfo.tmp", FileKind.DOWNLOAD_TEMP),
        (f"3f/a1/{ZLIB}.tar.zst.lock", FileKind.LOCK),
        (f"3f/a1/{ZLIB}.tar.zst.siginfo.lock", FileKind.LOCK),
        (f"3f/a1/{ZLIB}.tar.zst.done", FileKind.DONE),
        (f"3f/a1/{ZLIB}.tar.zst.siginfo.done", FileKind.DONE),
        ("3f/a1/.nfs000000000123abcd00000001", FileKind.NFS_REMOVED),
        (f"3f/a1/{ZLIB}.tar.zst_bad-checksum_{SHA256}", FileKind.BAD_CHECKSUM),
        ("hashserv.db", FileKind.HASH_DATABASE),
        ("hashserv.db-wal", FileKind.HASH_DATABASE),
        ("hashserv.db-shm", FileKind.HASH_DATABASE),
        ("3f/a1/.cm-0123456789abcdef", FileKind.OWN_TEMP),
        ("3f/a1/.cm-aside-0123456789abcdef", FileKind.OWN_ASIDE),
        (".cachemig/lock", FileKind.OWN_STATE),
        (".cachemig/receipts/1.jsonl", FileKind.OWN_STATE),
        ("IN/VA/" + ZLIB.replace(SHA256, "INVALID") + ".tar.zst", FileKind.INVALID_HASH),
        ("IN/VA/" + ZLIB.replace(SHA256, "INVALID") + ".tar.zst.siginfo", FileKind.INVALID_HASH),
        (f"3f/a1/{ZLIB}.tar.zst.orig", FileKind.OTHER),
        (f"3f/a1/{ZLIB}.tar.xz", FileKind.OTHER),
        (f"3f/a1/{ZLIB.replace(SHA256, SHA256.upper())}.tar.zst", FileKind.OTHER),
        (f"3f/a1/{ZLIB.replace('zlib', '')}.tar.zst", FileKind.OTHER),
        ("README.txt", FileKind.OTHER),
    ],
)
def test_every_kind_of_stray_is_told_and_belongs_to_no_object(path, kind):
    """A naive pattern would take some of these for objects, half written as they are."""
    assert classify(path) == (kind, None, "", False)
    assert kind.is_stray


@pytest.mark.parametrize(
    ("path", "native"),
    [
        (f"{ZLIB}.tar.zst", ""),
        (f"3f/{ZLIB}.tar.zst", ""),
        (f"3f/a2/{ZLIB}.tar.zst", ""),
        (f"a1/3f/{ZLIB}.tar.zst", ""),
        (f"universal/00/00/{NATIVE}.tar.zst.siginfo", "universal"),
        (f"universal/{NATIVE}.tar.zst", "universal"),
        (f"00/{OLD}.tgz", ""),
    ],
)
def test_an_object_in_a_wrong_directory_is_misplaced(path, native):
    """Bitbake would never find it there, so a copy to the same path is worth nothing."""
    found = classify(path)

    assert found.name is not None
    assert (found.native, found.misplaced) == (native, True)


def test_a_cache_copied_into_a_slot_of_itself_is_misplaced():
    """``3f`` is a slot, never a native directory."""
    assert classify(f"3f/3f/a1/{ZLIB}.tar.zst").misplaced
    assert classify(f"a1/3f/{OLD}.tgz").misplaced


@pytest.mark.parametrize(
    "path",
    [
        f"/3f/a1/{ZLIB}.tar.zst",
        f"3f//a1/{ZLIB}.tar.zst",
        f"../3f/a1/{ZLIB}.tar.zst",
        f"universal/../3f/a1/{ZLIB}.tar.zst",
        f"./3f/a1/{ZLIB}.tar.zst",
        f"3f/a1/{ZLIB}.tar.zst/",
        f"3f/a1/{ZLIB}.tar.zst\n",
        f"3f/a1/{ZLIB.replace('zlib', 'z' * 200)}.tar.zst",
        f"{'u' * 255}/3f/a1/{ZLIB}.tar.zst",
        "/".join(["u" * 200] * 6),
        "3f/a1/caf\udce9",
        "3f/a1/\x1b[2J",
        "3f/a1/\u202egpj.exe",
        "..",
    ],
)
def test_a_path_that_is_not_safe_everywhere_is_rejected(path):
    """It is reported, quoted, and never opened, copied or stored under that name."""
    assert classify(path) == (FileKind.REJECTED, None, "", False)


def test_the_longest_real_name_is_taken():
    """Bitbake keeps a siginfo's name within 254 bytes."""
    room = LONGEST_NAME_BYTES - len(f"{ZLIB}.tar.zst.siginfo")
    path = f"3f/a1/{ZLIB.replace('zlib', 'zlib' + 'z' * room)}.tar.zst.siginfo"

    assert classify(path).kind is FileKind.SIGINFO
    assert classify(path.replace("zlib", "zlibz")).kind is FileKind.REJECTED


@pytest.mark.parametrize(
    ("name", "kinds_and_natives"),
    [
        (
            "rig-all-cache",
            {("archive", ""): 372, ("siginfo", ""): 550}
            | {("archive", "universal"): 51, ("siginfo", "universal"): 102},
        ),
        ("rig-all-wanted", {("archive", ""): 372, ("archive", "universal"): 51}),
        ("core-image-minimal-wanted", {("archive", ""): 1804, ("archive", "debian-12"): 1093}),
    ],
)
def test_every_name_that_a_real_build_made_is_an_object(name, kinds_and_natives):
    """All of them parse, none is misplaced, and each prints as it was."""
    paths = paths_of(name)
    found = [classify(path) for path in paths]

    assert Counter((f.kind, f.native) for f in found) == kinds_and_natives
    assert not any(f.misplaced for f in found)
    assert [
        f"{f.name.directory(f.native)}/{f.name.file_name_of(f.kind)}" for f in found if f.name
    ] == list(paths)


def test_the_real_files_are_part_of_the_real_cache(tmp_path):
    """31 archives with their siginfo and 6 signatures, as the README of the data says."""
    paths = unpack_subset(tmp_path)
    found = [classify(path) for path in paths]

    assert set(paths) <= set(paths_of("rig-all-cache"))
    assert all((tmp_path / path).is_file() for path in paths)
    assert Counter(f.kind for f in found) == {FileKind.ARCHIVE: 31, FileKind.SIGINFO: 37}
    assert len({f.name for f in found}) == 37
