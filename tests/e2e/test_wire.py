"""What goes over the wire, and what does not."""

from tests.e2e.sites import Sites, archive_path, fill
from tests.servers.proxy import NewProxy
from tests.servers.sshd import NewSshd

OBJECTS = 40
SIZE_BYTES = 100_000
DIGEST_BYTES = 64
FRAME_BYTES = 48


def test_a_proof_brings_nothing_but_digests(tmp_path, new_sshd: NewSshd, new_proxy: NewProxy):
    """The new site's files are read where they lie, however many terabytes that are.

    A proof of one object shows what a login costs. Each further file may cost its path and its
    digest, and little more: its name goes thrice, but compressed. 225 bytes were measured.
    """
    sshd = new_sshd()
    proxy = new_proxy(sshd)
    sites = Sites(tmp_path)
    old = sites.add("old", "nfs-1")
    sites.add("new", "nfs-9", sshd=proxy.behind(sshd))
    sites.write()

    def proof_bytes() -> int:
        """Sync, and tell what passes while the new site is proved."""
        assert sites.sync().code == 0
        before_bytes = proxy.passed_bytes
        ran = sites.run("verify", "integrity", "new")
        assert ran.code == 0, ran.err.decode()
        return proxy.passed_bytes - before_bytes

    fill(old, [0], SIZE_BYTES)
    one_bytes = proof_bytes()
    files = 2 * len(fill(old, range(1, 1 + OBJECTS), SIZE_BYTES))
    many_bytes = proof_bytes()

    assert proxy.passed_bytes > OBJECTS * SIZE_BYTES
    path_bytes = len(f"{archive_path(OBJECTS)}.siginfo")
    file_bytes = (many_bytes - one_bytes) / files
    assert DIGEST_BYTES < file_bytes < path_bytes + DIGEST_BYTES + FRAME_BYTES
