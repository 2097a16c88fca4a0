"""A walk tells every file below a subtree, once, or fails; it never takes unread for empty."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachemig.agent.tree import Tree
from cachemig.agent.walk import ENTRIES_AT_ONCE, Links, Listing, WalkFailed, walk
from tests.cache_files import OLD_NS, put

names = st.sampled_from(["3f", "a1", "universal", "x", "sstate:a", ".hidden", "é"])
trees: st.SearchStrategy[Any] = st.recursive(
    st.binary(max_size=3), lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=15
).filter(lambda made: isinstance(made, dict))


def make(folder: Path, made: Mapping[str, Any]) -> dict[str, int]:
    """Write a tree of dictionaries and bytes; the size of each file by path."""
    files = {}
    for name, inner in made.items():
        path = folder / name
        if isinstance(inner, bytes):
            path.write_bytes(inner)
            files[name] = len(inner)
        else:
            path.mkdir()
            files |= {f"{name}/{below}": size for below, size in make(path, inner).items()}
    return files


def walked(root: Path, subtree: str = "", known: dict[str, int] | None = None) -> list[Listing]:
    """A whole walk."""
    tree = Tree(str(root))
    return list(walk(tree, Links([tree]), subtree, known or {}))


def files_of(listings: list[Listing]) -> dict[str, int]:
    """The size of each file by path; no path comes twice."""
    pairs = [
        (f"{listing.path}/{entry[0]}".lstrip("/"), entry[2])
        for listing in listings
        for entry in listing.entries
    ]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@given(made=trees)
@settings(max_examples=60, deadline=None)
def test_any_tree_is_told_whole_and_in_order(tmp_path_factory: pytest.TempPathFactory, made: Any):
    """Each directory once, its files sorted."""
    root = tmp_path_factory.mktemp("walk")
    files = make(root, made)

    listings = walked(root)

    assert files_of(listings) == files
    assert len({listing.path for listing in listings}) == len(listings)
    for listing in listings:
        entries = [entry[0] for entry in listing.entries]
        assert entries == sorted(entries)


@given(made=trees, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_second_walk_reads_what_changed_and_only_leaves_are_passed_over(
    tmp_path_factory: pytest.TempPathFactory, made: Any, data: st.DataObject
):
    """Old listings of the unchanged and new ones of the rest are the whole again."""
    root = tmp_path_factory.mktemp("walk")
    make(root, made)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        os.utime(folder, ns=(OLD_NS, OLD_NS))
    first = {listing.path: listing for listing in walked(root)}
    where = data.draw(st.sampled_from(folders))
    (where / "added").write_bytes(b"new")

    second = walked(root, known={path: listing.mtime_ns for path, listing in first.items()})

    told = [first[listing.path] if listing.unchanged else listing for listing in second]
    assert files_of(told) == files_of(walked(root))
    for listing in second:
        is_leaf = not any(path.is_dir() for path in (root / listing.path).iterdir())
        assert listing.unchanged == (is_leaf and root / listing.path != where)


def test_a_known_leaf_that_is_gone_is_not_told(tmp_path: Path):
    """A cleaner removes empty directories; that is no failure."""
    put(tmp_path, "3f/a1/x", b"1")
    known = {listing.path: listing.mtime_ns for listing in walked(tmp_path)}
    (tmp_path / "3f/a1/x").unlink()
    (tmp_path / "3f/a1").rmdir()

    assert {listing.path for listing in walked(tmp_path, known=known)} == {"", "3f"}


@pytest.mark.parametrize("name", ["3f", "a-folder"])
def test_a_link_to_a_directory_fails_the_walk(tmp_path: Path, name: str):
    """What lies behind it would be missing without a word."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / name).symlink_to("elsewhere")

    with pytest.raises(WalkFailed) as caught:
        walked(tmp_path)

    assert caught.value.path == name
    assert "elsewhere" in caught.value.why


def test_a_known_leaf_that_became_a_link_fails_the_walk(tmp_path: Path):
    """Even with the same time, it is not taken for the old one."""
    put(tmp_path, "3f/a1/x", b"1")
    put(tmp_path, "other/x", b"2")
    os.utime(tmp_path / "3f/a1", ns=(OLD_NS, OLD_NS))
    known = {listing.path: listing.mtime_ns for listing in walked(tmp_path)}
    (tmp_path / "3f/a1").rename(tmp_path / "kept")
    (tmp_path / "3f/a1").symlink_to(tmp_path / "kept")

    with pytest.raises(WalkFailed):
        walked(tmp_path, known=known)


def test_a_root_inside_another_fails_the_walk(tmp_path: Path):
    """What a run brings there would be brought again by the next, one level deeper each time."""
    put(tmp_path, ".cachemig/lock", b"")
    put(tmp_path, "v95/3f/sstate:a", b"x")
    assert files_of(walked(tmp_path)) == {"v95/3f/sstate:a": 1}
    put(tmp_path, "v95/sub/.cachemig/lock", b"")

    for subtree in ("", "v95", "v95/sub"):
        with pytest.raises(WalkFailed, match="another root") as failed:
            walked(tmp_path, subtree)
        assert failed.value.path == "v95/sub"


def test_a_huge_directory_comes_in_parts(tmp_path: Path):
    """Each fits into a message, whatever the length of its names; an empty one has one part."""
    count = ENTRIES_AT_ONCE + 1
    for number in range(count):
        (tmp_path / f"{number:05}").touch()

    parts = walked(tmp_path)

    assert [(part.path, len(part.entries)) for part in parts] == [("", count - 1), ("", 1)]
    assert len(files_of(parts)) == count


def test_a_tree_without_end_fails_the_walk(tmp_path: Path):
    """A cache is a few levels deep."""
    (tmp_path / "/".join("d" * 20)).mkdir(parents=True)

    with pytest.raises(WalkFailed, match="deep"):
        walked(tmp_path)


def test_a_link_is_followed_below_known_roots_only(tmp_path: Path):
    """Through several links too; never out by one of them."""
    roots = [tmp_path / name for name in ("one", "two")]
    for root in roots:
        put(root, "file", b"12345")
    put(tmp_path, "outside", b"1")
    (roots[0] / "sstate:chain").symlink_to("sstate:over")
    (roots[0] / "sstate:over").symlink_to("../two/file")
    (roots[0] / "sstate:out").symlink_to("../outside")
    (roots[0] / "sstate:out-and-in").symlink_to("../../" + tmp_path.name + "/one/file")
    (roots[0] / "sstate:root").symlink_to(".")
    (roots[0] / "sstate:prefix").symlink_to(f"{roots[0]}-more")
    (tmp_path / "one-more").write_bytes(b"1")
    trees_ = [Tree(str(root)) for root in roots]

    (listing,) = walk(trees_[0], Links(trees_), "", {})

    assert {entry[0]: entry[2] for entry in listing.entries if entry[1] == "l"} == {
        "sstate:chain": 5,
        "sstate:over": 5,
        "sstate:out": -1,
        "sstate:out-and-in": 5,
        "sstate:root": -1,
        "sstate:prefix": -1,
    }
