"""What an ordinary account may not read, enter, write or own, at either end.

The agents run as somebody who owns nothing: root passes every permission test.
"""

import grp
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachemig.demo.sshd import Sshd, start
from tests.e2e import oracle
from tests.e2e.sites import Sites, archive_path, contents, fill, temps
from tests.nobody import (
    AS_NOBODY,
    NOBODY,
    give_to_nobody,
    needs_root,
    open_folder,
    python_for_nobody,
)

OBJECTS = 40


@pytest.fixture(scope="module")
def nobodys_sshd() -> Iterator[Sshd]:
    """A real sshd in a folder that everybody can enter."""
    with open_folder() as folder:
        server = start(folder / "sshd", python=python_for_nobody())
        yield server
        server.stop()


@pytest.fixture
def sites(nobodys_sshd) -> Iterator[Sites]:
    """One server on each side, both worked on by an ordinary user, who owns the new one."""
    with open_folder() as folder:
        sites = Sites(folder)
        fill(sites.add("old", "nfs-1", sshd=nobodys_sshd), range(OBJECTS))
        give_to_nobody(sites.add("new", "nfs-9", sshd=nobodys_sshd))
        make_ordinary(nobodys_sshd)
        yield sites


def make_ordinary(sshd: Sshd, groups: str = "--clear-groups") -> None:
    """Let all who log in be nobody, by a forced command for every key."""
    if os.geteuid() != 0:
        return
    session = shlex.join([*AS_NOBODY[:-1], groups, "sh", "-c"]) + r" \"$SSH_ORIGINAL_COMMAND\""
    keys = sshd.folder / "authorized_keys"
    bare = [line[line.index("ssh-") :] for line in keys.read_text().splitlines()]
    keys.write_text("".join(f'command="{session}" {key}\n' for key in bare))


def roots(sites: Sites) -> tuple[Path, Path]:
    """Where the files of the old and of the new server lie."""
    return sites.servers["old"][0].root, sites.servers["new"][0].root


def test_a_forbidden_file_is_one_file(sites):
    """Exit 3: the object is named with server and cause, and all others arrive."""
    old, new = roots(sites)
    forbidden = archive_path(5)
    (old / forbidden).chmod(0)

    ran = sites.sync()

    assert ran.code == 3
    (failed,) = ran.objects("failed")
    assert (failed["path"], failed["cause"]) == (forbidden, "Permission denied")
    assert (failed["source"], failed["server"]) == ("nfs-1", "nfs-9")
    assert forbidden in ran.err.decode()
    assert ran.counts == {"published": OBJECTS - 1, "failed": 1}
    assert contents(old).keys() - contents(new).keys() == {forbidden}
    (old / forbidden).chmod(0o664)
    assert sites.sync().counts == {"published": 1, "present": OBJECTS - 1}
    assert contents(new) == contents(old)


@pytest.mark.parametrize("directory", ["slot", "pair"])
def test_a_forbidden_directory_is_never_taken_for_empty(directory, sites):
    """The scan fails with the directory's name, and nothing is copied by half a list."""
    old, new = roots(sites)
    path = Path(archive_path(5)).parent
    path = path.parent if directory == "slot" else path
    (old / path).chmod(0)

    ran = sites.sync()

    assert ran.code == 3
    assert (ran.error["slug"], ran.error["server"]) == ("scan", "nfs-1")
    assert (ran.error["path"], ran.error["cause"]) == (str(path), "Permission denied")
    assert not contents(new)
    (old / path).chmod(0o775)
    assert sites.sync().code == 0


def test_a_destination_directory_that_is_closed_fails_what_belongs_there(sites):
    """Other objects arrive; what failed is told with the cause, and comes once it is open."""
    old, new = roots(sites)
    slot = Path(archive_path(5)).parts[0]
    (new / slot).mkdir(mode=0o755)

    ran = sites.sync()

    assert ran.code == 3
    failed = ran.objects("failed")
    assert {Path(event["path"]).parts[0] for event in failed} == {slot}
    assert {event["cause"].rpartition(": ")[2] for event in failed} == {"Permission denied"}
    assert ran.counts == {"published": OBJECTS - len(failed), "failed": len(failed)}
    assert oracle.faults(contents(old), [new]) == []
    assert not temps(new)
    (new / slot).chmod(0o777)
    assert sites.sync().code == 0
    assert contents(new) == contents(old)


def test_a_root_that_is_closed_is_refused_before_the_first_byte(sites):
    """Exit 7, with server, cause and what to do."""
    _, new = roots(sites)
    os.chown(new, 0, 0)

    ran = sites.sync()

    assert ran.code == 7
    assert (ran.error["server"], ran.error["cause"]) == ("nfs-9", "Permission denied")
    assert ran.error["next_step"]
    assert not list(new.iterdir())


@pytest.mark.parametrize("group", ["daemon", "no-such-group"])
def test_a_group_that_can_not_be_given_fails_before_the_first_byte(group, sites):
    """Exit 7: a cache that its builders can not write would be found out too late."""
    _, new = roots(sites)
    sites.group = group

    ran = sites.sync()

    assert ran.code == 7
    assert ran.error["server"] == "nfs-9"
    assert "group" in ran.error["message"]
    assert not contents(new)


def test_a_wrong_group_at_one_server_stops_all_before_the_first_byte(sites):
    """The servers of a site are proved before any of them is written to."""
    other = sites.add("new", "nfs-8")  # local, so by the account that runs the test
    sites.group = "daemon"

    ran = sites.sync()

    assert (ran.code, ran.error["server"]) == (7, "nfs-9")
    assert not contents(other)
    assert not contents(roots(sites)[1])


def test_a_hit_moves_the_time_of_what_another_account_brought(sites):
    """Only its owner may give a file any time, so it gets the present one."""
    needs_root("a file is given to another account")
    old, new = roots(sites)
    assert sites.sync().code == 0
    path = archive_path(3)
    os.chown(new / path, 0, 0)
    (new / path).chmod(0o666)
    used_ns = (old / path).stat().st_mtime_ns + 10**12
    os.utime(old / path, ns=(used_ns, used_ns))

    ran = sites.sync("--full")

    assert (ran.code, ran.counts) == (0, {"present": OBJECTS}), ran.err.decode()
    assert (new / path).stat().st_mtime_ns >= used_ns


def test_two_accounts_of_the_group_may_share_a_root(sites, nobodys_sshd):
    """What one of them made is no obstacle for the other."""
    needs_root("two accounts work on one root")
    old, new = roots(sites)
    sites.group = "daemon"
    there = Sites(sites.folder, group="daemon", state_dir=str(sites.folder / "state-2"))
    there.add("old", "nfs-1", root=old)
    there.add("new", "nfs-9", root=new)
    assert there.sync().code == 0
    fill(old, range(100, 103))
    make_ordinary(nobodys_sshd, groups="--groups=daemon")

    ran = sites.sync()

    assert (ran.code, ran.counts) == (0, {"published": 3, "present": OBJECTS}), ran.err.decode()


def test_files_and_directories_get_the_configured_group(tmp_path):
    """Everything that is new belongs to it, and directories hand it on."""
    needs_root("files are given to a group of others")
    sites = Sites(tmp_path, group="daemon")
    old, new = sites.add("old", "nfs-1"), sites.add("new", "nfs-9")
    fill(old, range(3))

    assert sites.sync().code == 0

    made = [path for path in new.rglob("*") if path.parts[len(new.parts)] != ".cachemig"]
    assert {path.stat().st_gid for path in made} == {grp.getgrnam("daemon").gr_gid}
    assert {path.stat().st_mode & 0o7777 for path in made if path.is_dir()} == {0o2775}
    assert {path.stat().st_mode & 0o7777 for path in made if path.is_file()} == {0o664}


def test_what_an_ordinary_user_brought_is_his(sites):
    """The forced command really changed the user, so the refusals above mean something."""
    assert sites.sync().code == 0

    owners = {path.stat().st_uid for path in roots(sites)[1].rglob("sstate:*")}
    assert owners == {NOBODY if os.geteuid() == 0 else os.geteuid()}
