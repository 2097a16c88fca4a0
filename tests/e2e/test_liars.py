"""A server that lies: nothing outside the roots is read or written, and nothing hangs or crashes.

At the far end of a real sshd, a program that speaks our frames stands for ``python3``.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachemig.demo.sshd import Sshd, start
from tests.e2e import lying_agent, oracle
from tests.e2e.sites import Ran, Sites, archive_path, contents, fill, temps, write

OBJECTS = 12


@pytest.fixture(scope="module")
def liar(tmp_path_factory) -> Iterator[Sshd]:
    """A server whose ``python3`` is set by `tell`."""
    server = start(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


def tell(liar: Sshd, lie: str) -> None:
    """Let the server's agent tell this lie from now on."""
    python3 = liar.folder / "bin" / "python3"
    python3.unlink()
    python3.write_text(
        f"#!/bin/sh\nLYING_AGENT={lie} exec {sys.executable} -P {lying_agent.__file__}\n"
    )
    python3.chmod(0o755)


class Ground:
    """Two roots deep in a folder, so that a path can lead out of them to what lies around."""

    def __init__(self, folder: Path, liar: Sshd, at: str) -> None:
        deep = folder / "a" / "b" / "c"
        deep.mkdir(parents=True)
        self.folder = folder
        self.sites = Sites(deep)
        self.old = self.sites.add("old", "nfs-1", sshd=liar if at == "old" else None)
        self.new = self.sites.add("new", "nfs-9", sshd=liar if at == "new" else None)
        self.paths = fill(self.old, range(OBJECTS))
        for place in (folder, folder / "a", folder / "a" / "b", deep):
            write(place / "x", b"outside")
            write(place / archive_path(1), b"outside")
        self.around = self._around()

    def _around(self) -> dict[str, str]:
        inside = (self.old, self.new, self.sites.state)
        return {
            path: digest
            for path, digest in contents(self.folder).items()
            if not any((self.folder / path).is_relative_to(root) for root in inside)
            and Path(path).name not in ("cachemig.toml", "known_hosts", "ssh_config")
        }

    def sync(self) -> Ran:
        """Sync; whatever is told, nothing around changes and nothing of it is copied."""
        ran = self.sites.sync()
        assert self._around() == self.around
        assert oracle.faults(contents(self.old), [self.new]) == []
        assert not temps(self.new)
        return ran


@pytest.fixture
def from_liar(tmp_path, liar) -> Ground:
    """The old server lies."""
    return Ground(tmp_path, liar, "old")


@pytest.fixture
def to_liar(tmp_path, liar) -> Ground:
    """The new server lies."""
    return Ground(tmp_path, liar, "new")


def test_names_that_lead_outside_are_counted_and_the_rest_is_copied(from_liar, liar):
    """`../x`, absolute and unprintable names become strays of the kind `rejected`."""
    tell(liar, "evil-names")

    ran = from_liar.sync()

    assert (ran.code, ran.counts) == (0, {"published": OBJECTS})
    assert ran.left_out()["stray"] > len(lying_agent.EVIL_NAMES)
    shown = from_liar.sites.run("inventory", "show", "old", "--by", "stray")
    kinds = {e["values"]["stray"]: e["values"]["files"] for e in shown.events if e["type"] == "row"}
    assert kinds == {"rejected": ran.left_out()["stray"]}


def test_sizes_that_no_file_has_are_rejected(from_liar, liar):
    """A negative size and one beyond 64 bits are no objects; a time out of range is bent."""
    tell(liar, "evil-numbers")

    ran = from_liar.sync()

    assert (ran.code, ran.counts) == (0, {"published": OBJECTS - 3})
    assert ran.left_out() == {"stray": 6}
    missing = oracle.missing(contents(from_liar.old), [from_liar.new])
    assert {path.removesuffix(".siginfo") for path in missing} == {
        archive_path(number) for number in range(3)
    }


def test_what_is_told_twice_arrives_once(from_liar, liar):
    """Every object is there, and no file is two."""
    tell(liar, "twice")

    ran = from_liar.sync()

    assert ran.code == 0
    assert contents(from_liar.new) == contents(from_liar.old)


@pytest.mark.parametrize("lie", ["elsewhere", "wrong-types", "wrong-entries", "huge-frame"])
def test_a_listing_that_makes_no_sense_is_refused_whole(lie, from_liar, liar):
    """Exit 7 names the server; nothing is copied by such a list."""
    tell(liar, lie)

    ran = from_liar.sync()

    assert (ran.code, ran.error["server"]) == (7, "nfs-1")
    assert ran.error["next_step"]
    assert not contents(from_liar.new)


def test_other_bytes_than_were_promised_fail_their_object(from_liar, liar):
    """A digest that does not fit is tried again, then told; the rest arrives."""
    tell(liar, "other-bytes")

    ran = from_liar.sync()

    assert ran.code == 3
    assert 0 < ran.counts["failed"] < OBJECTS
    assert {event["attempts"] for event in ran.objects("failed")} == {3}
    assert all("other bytes arrived" in event["cause"] for event in ran.objects("failed"))


@pytest.mark.parametrize(
    "lie",
    ["half-the-files", "cut-head", "wrong-outcome", "without-end", "nothing-without-end"],
)
def test_file_frames_that_make_no_sense_blame_the_source(lie, from_liar, liar):
    """Exit 7 names the server that sent them, within seconds."""
    tell(liar, lie)

    ran = from_liar.sync()

    assert (ran.code, ran.error["server"]) == (7, "nfs-1")


@pytest.mark.parametrize("lie", [*lying_agent.RECEIPTS, *lying_agent.ANSWERS, *lying_agent.ERRORS])
def test_answers_of_a_destination_that_make_no_sense_blame_it(lie, to_liar, liar):
    """Exit 7 names the server; nothing is taken for published that it did not prove."""
    tell(liar, lie)

    ran = to_liar.sync()

    assert (ran.code, ran.error["server"]) == (7, "nfs-9")
    assert not ran.counts.get("published")


def test_what_a_server_says_forges_no_line(to_liar, liar):
    """A cause with control characters is told, escaped, on every output."""
    tell(liar, "forged-cause")

    ran = to_liar.sync()

    assert (ran.code, ran.counts) == (3, {"failed": OBJECTS})
    assert {event["cause"] for event in ran.objects("failed")} == {lying_agent.FORGED}
    assert r"\x1b[2J\nall is well" in ran.err.decode()


def test_a_shell_that_greets_is_passed_over(from_liar, liar):
    """What a login shell prints before the agent answers is no frame."""
    tell(liar, "honest")
    python3 = liar.folder / "bin" / "python3"
    python3.write_text(python3.read_text().replace("#!/bin/sh\n", "#!/bin/sh\necho Welcome; "))

    assert from_liar.sync().code == 0
