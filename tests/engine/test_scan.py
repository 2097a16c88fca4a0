"""A scan sees all that is there, and never takes for empty what it could not see."""

import os
import shutil
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cachemig.catalog.inventory import Dimension, InventoryMetadata, Oddity, inventory_path
from cachemig.catalog.writer import inventory_writer
from cachemig.config import load
from cachemig.core.events import Notice
from cachemig.engine.scan import ScannedSite, ScanOptions, scan
from cachemig.errors import AccessError, FormatError, ScanError
from cachemig.stores.open import open_site
from tests.catalog.made import HASH, object_name, rows_in

LONG_AGO_NS = 1_700_000_000 * 10**9
NAME = object_name()
WHOLE_ARCHIVE = bytes.fromhex("28b52ffd2400010000" + "99e9d851")
INCREMENTAL, FULL = ScanOptions(), ScanOptions(full=True)


class Bench:
    """A site of real folders, scanned through real stores."""

    def __init__(self, stores, state_dir, roots):
        self.stores = stores
        self.state_dir = state_dir
        self.roots = roots
        self.told = []

    def scan(self, options=INCREMENTAL, folders=None, state_dir=None):
        """Scan all servers; the one cache lies at their roots, unless told otherwise."""
        site = ScannedSite("old", self.stores, folders or {"lmp": ""})
        return scan(site, state_dir or self.state_dir, options, self.told.append)

    def put(self, path, content=b"x", server=0):
        """Make a file, its directory long since unchanged."""
        made = self.roots[server] / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(content)
        age(self.roots[server])
        return made


def age(root):
    """Make all directories look as if nothing happened in them for long."""
    for directory, _, _ in os.walk(root):
        os.utime(directory, ns=(LONG_AGO_NS, LONG_AGO_NS))


@contextmanager
def bench(folder, servers=("a", "b")):
    """Make the folders and connect to them."""
    roots = [folder / server for server in servers]
    lines = ["[site.old]"]
    for server, root in zip(servers, roots, strict=True):
        root.mkdir()
        lines += ["[[site.old.server]]", f'name = "{server}"', f'url = "{root}"']
    (folder / "cachemig.toml").write_text("\n".join(lines))
    config = load(folder / "cachemig.toml")
    with open_site(config, config.site("old")) as stores:
        yield Bench(stores, folder / "state", roots)


@pytest.fixture
def site(tmp_path):
    """Two servers, nothing on them."""
    with bench(tmp_path) as made:
        yield made


def seen(inventory):
    """All that an inventory says, but the times of directories, as comparable text."""
    rows = rows_in(inventory.path)
    for row in rows:
        if row["kind"] == "directory":
            row["mtime_ns"] = None
    return sorted(str(row) for row in rows)


def test_every_server_and_cache_is_seen(site):
    """Files of all kinds, each under its server and cache."""
    site.put(f"one/3f/a1/{NAME}")
    site.put(f"two/3f/a1/{NAME}.siginfo", server=1)
    site.put("two/3f/a1/sigtask.x", server=1)

    result = site.scan(folders={"one": "one", "two": "two"})

    totals = result.inventory.totals(Dimension.SERVER)
    assert [(t.name, t.objects, t.signatures, t.strays) for t in totals] == [
        ("a", 1, 0, 0),
        ("b", 0, 1, 1),
    ]
    assert [t.name for t in result.inventory.totals(Dimension.CACHE)] == ["one", "two"]
    assert result.full


def test_a_new_site_may_be_empty(site):
    """Its roots exist; there was nothing to lose."""
    assert site.scan().inventory.totals(Dimension.SERVER) == []


def test_a_cache_that_has_no_folder_on_a_server_is_told(site):
    """A whole cache lives on one server; a wrong name in the configuration looks the same."""
    site.put(f"one/3f/a1/{NAME}")

    site.scan(folders={"one": "one"})

    (notice,) = [event for event in site.told if isinstance(event, Notice)]
    assert "b has no folder one" in str(notice)


def test_unchanged_directories_are_not_read_again_and_nothing_is_lost(site):
    """The second scan says the same as the first."""
    site.put(f"3f/a1/{NAME}")
    first = site.scan()
    before = seen(first.inventory)

    second = site.scan()

    assert (first.directories_unchanged, second.directories_unchanged) == (0, 1)
    assert not second.full
    assert seen(second.inventory) == before


def test_a_directory_that_changed_a_moment_ago_is_read_again(site):
    """A later change may fall into the same tick of the clock, and leave its time as it was."""
    made = site.put(f"3f/a1/{NAME}")
    now_ns = time.time_ns()
    os.utime(made.parent, ns=(now_ns, now_ns))
    site.scan()
    made.with_name(f"{NAME}.siginfo").touch()
    os.utime(made.parent, ns=(now_ns, now_ns))

    (total,) = site.scan().inventory.totals(Dimension.SERVER)

    assert total.files == 2


def test_what_a_moment_ago_is_tells_the_clock_of_the_server(site):
    """Where that is an hour behind, a directory that changed just now has a time long past."""
    hour_ns = 3600 * 10**9
    site.put(f"3f/a1/{NAME}")
    site.stores[0].opened_at_ns -= hour_ns
    just_now_ns = time.time_ns() - hour_ns
    os.utime(site.roots[0] / "3f" / "a1", ns=(just_now_ns, just_now_ns))
    site.scan()
    (site.roots[0] / f"3f/a1/{NAME}.siginfo").touch()
    os.utime(site.roots[0] / "3f" / "a1", ns=(just_now_ns, just_now_ns))

    assert site.scan().files == 2


@pytest.mark.parametrize(
    ("age_of_full_scan", "is_full"),
    [
        (timedelta(hours=11), False),
        (timedelta(hours=13), True),
        (timedelta(hours=-1), True),
    ],
)
def test_a_scan_is_full_when_the_last_full_one_is_long_ago(site, age_of_full_scan, is_full):
    """A touch of a file does not change its directory; a clock set back proves nothing."""
    last = datetime.now(UTC) - age_of_full_scan
    with inventory_writer(site.state_dir, None) as writer:
        writer.open_part()
        writer.combine(InventoryMetadata("old", ("a", "b"), last, last))
        writer.write(inventory_path(site.state_dir, "old"))

    result = site.scan()

    assert result.full is is_full
    assert (result.inventory.metadata.full_scan_at == last) is not is_full


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda root: shutil.rmtree(root / "3f"), id="slot missing"),
        pytest.param(lambda root: shutil.rmtree(root / "3f/a1"), id="slot bare"),
        pytest.param(lambda root: shutil.rmtree(root / "universal/3f"), id="native slot missing"),
        pytest.param(
            lambda root: [path.unlink() for path in root.rglob("sstate:*")], id="no object left"
        ),
    ],
)
@pytest.mark.parametrize("options", [INCREMENTAL, FULL])
def test_a_place_that_is_suddenly_empty_fails_the_scan(site, lose, options):
    """An export may not be mounted. The inventory that was there stays, byte for byte."""
    site.put(f"3f/a1/{NAME}")
    site.put(f"universal/3f/a1/{NAME}")
    path = site.scan().inventory.path
    before = path.read_bytes()
    lose(site.roots[0])

    with pytest.raises(ScanError) as caught:
        site.scan(options)

    assert caught.value.server == "a"
    assert "--allow-empty" in caught.value.next_step
    assert path.read_bytes() == before


def test_a_place_that_was_emptied_on_purpose_can_be_accepted(site):
    """When the operator says so."""
    made = site.put(f"3f/a1/{NAME}")
    site.scan()
    made.unlink()

    assert site.scan(ScanOptions(allow_empty=True)).inventory.totals(Dimension.SERVER) == []


def test_a_slot_whose_files_were_cleaned_up_is_not_taken_for_unmounted(site):
    """The cleaner removes files and leaves directories."""
    made = site.put(f"3f/a1/{NAME}")
    site.put(f"c0/01/{object_name(HASH.replace('3fa1', 'c001'))}")
    site.scan()
    made.unlink()

    (total,) = site.scan().inventory.totals(Dimension.SERVER)

    assert total.objects == 1


def test_a_server_that_left_the_configuration_is_not_missed(tmp_path):
    """It was drained and taken out; its rows go with it."""
    with bench(tmp_path) as both:
        both.put(f"3f/a1/{NAME}", server=1)
        both.scan()
        one = ScannedSite("old", both.stores[:1], {"lmp": ""})

        result = scan(one, both.state_dir, ScanOptions(), both.told.append)

    assert result.inventory.totals(Dimension.SERVER) == []


def test_one_server_that_fails_fails_the_whole_scan(site):
    """A link in a slot's place is not followed; what the other server said is not kept."""
    site.put(f"3f/a1/{NAME}")
    path = site.scan().inventory.path
    before = path.read_bytes()
    (site.roots[1] / "3e").symlink_to(site.roots[0] / "3f")

    with pytest.raises(ScanError) as caught:
        site.scan()

    assert caught.value.server == "b"
    assert path.read_bytes() == before
    assert [entry.name for entry in site.state_dir.iterdir()] == ["inventories"]


def test_a_lost_connection_fails_the_scan(site):
    """What was not read is not empty."""
    site.put(f"3f/a1/{NAME}")
    site.stores[1]._peer.process.kill()

    with pytest.raises(AccessError):
        site.scan()

    assert not inventory_path(site.state_dir, "old").exists()


def test_a_damaged_inventory_is_not_scanned_over(site):
    """It may be the last word of a site; the operator moves it away."""
    path = site.scan().inventory.path
    path.write_bytes(b"PAR1")

    with pytest.raises(FormatError):
        site.scan(FULL)


def test_archives_are_checked_once(site):
    """A verdict stays true while the archive has its size; a touch changes nothing."""
    whole = site.put(f"3f/a1/{NAME}", WHOLE_ARCHIVE)
    site.put(f"3f/a2/{object_name(HASH.replace('3fa1', '3fa2'))}", WHOLE_ARCHIVE[:-6])
    check = ScanOptions(check_archives=True, full=True)
    site.scan()

    results = [site.scan(check)]
    os.utime(whole)
    results += [site.scan(check), site.scan(FULL)]

    assert [result.archives_checked for result in results] == [2, 0, 0]
    for result in results:
        (damaged,) = result.inventory.entries(Oddity.DAMAGED)
        assert damaged.directory == "3f/a2"
        assert damaged.damage


def test_a_damaged_archive_that_was_replaced_is_looked_at_again(site):
    """By one of the same size, even."""
    made = site.put(f"3f/a1/{NAME}", bytes(len(WHOLE_ARCHIVE)))
    check = ScanOptions(check_archives=True)
    before = list(site.scan(check).inventory.entries(Oddity.DAMAGED))
    made.unlink()
    site.put(f"3f/a1/{NAME}", WHOLE_ARCHIVE)
    os.utime(made.parent)

    after = list(site.scan(check).inventory.entries(Oddity.DAMAGED))

    assert (len(before), after) == (1, [])


def test_hostile_names_are_reported_and_do_no_harm(site):
    """Each comes back as it was."""
    names = ["line\nend", "quo\"te,'", "-rf", "\x1b[2J", os.fsdecode(b"\xff"), "back\\slash", " "]
    for name in names:
        site.put(f"3f/a1/{name}")

    found = {entry.name for entry in site.scan().inventory.entries(Oddity.STRAYS)}

    assert found == set(names)


directories = st.sampled_from(["3f/a1", "3f/a2", "c0/01", "universal/3f/a1", "c0", ""])
changes = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add link", "remove", "rewrite", "rename", "remove all"]),
        directories,
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)
numbers = count()


def change(root, kind, directory, number):
    """Do one thing to a cache."""
    place = root / directory
    place.mkdir(parents=True, exist_ok=True)
    digest = HASH.replace("3fa1", "3fa2") if number % 2 else HASH
    path = place / (object_name(digest, task=f"t{number}") + ("" if number < 2 else ".siginfo"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "add" and not path.exists():
        path.write_bytes(b"x" * number)
    elif kind == "add link":
        path.unlink(missing_ok=True)
        path.symlink_to("/nowhere")
    elif kind == "remove":
        path.unlink(missing_ok=True)
    elif kind == "rewrite":
        path.with_name("temp").write_bytes(b"y" * 50)
        path.with_name("temp").rename(path)
    elif kind == "rename":
        path.write_bytes(b"z")
        path.rename(path.with_name(f"{path.name}.{next(numbers)}"))
    elif directory:
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def one_server(tmp_path_factory):
    """A store that many examples share; each has a cache folder of its own."""
    with bench(tmp_path_factory.mktemp("scan"), servers=("a",)) as made:
        yield made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=changes, after=changes)
@example(before=[("add", "3f/a1", 0)], after=[("add link", "3f/a1", 0)])
def test_what_an_incremental_scan_says_is_what_a_full_one_says(one_server, before, after):
    """After any changes that a directory's time can show."""
    example = f"example-{next(numbers)}"
    root = one_server.roots[0] / example
    root.mkdir()
    state = Path(one_server.state_dir) / example
    for each in before:
        change(root, *each)
    age(root)
    folders = {"lmp": example}
    one_server.scan(folders=folders, state_dir=state)
    for each in after:
        change(root, *each)

    options = ScanOptions(allow_empty=True)
    incremental = one_server.scan(options, folders, state)
    complete = one_server.scan(FULL, folders, state / "anew")

    assert not incremental.full
    assert seen(incremental.inventory) == seen(complete.inventory)


def test_a_cache_that_lies_elsewhere_now_is_read_anew(site):
    """Directories there may have the names and times of the former ones."""
    other = NAME.replace("zlib", "busybox")
    site.put(f"one/3f/a1/{NAME}")
    site.put(f"two/3f/a1/{other}")
    site.scan(folders={"lmp": "one"})

    result = site.scan(folders={"lmp": "two"})

    assert [total.name for total in result.inventory.totals(Dimension.PN)] == ["busybox"]
    assert result.full


def test_what_was_looked_for_and_where_is_kept(site):
    """A cache without any folder is told apart; once accepted, it stays so."""
    site.put(f"one/3f/a1/{NAME}")
    folders = {"lmp": "one", "next": "typo"}

    seen = [
        site.scan(options, folders=folders).inventory.metadata
        for options in (INCREMENTAL, ScanOptions(allow_empty=True), INCREMENTAL)
    ]
    moved = site.scan(folders={"lmp": "one", "next": "typo-2"}).inventory.metadata

    assert [each.folders for each in seen] == [folders] * 3
    assert [each.absent for each in (*seen, moved)] == [("next",), (), (), ("next",)]
