"""What goes over the wire, and what does not."""

from tests.e2e.sites import Sites, fill
from tests.servers.proxy import NewProxy
from tests.servers.sshd import NewSshd

OBJECTS = 40
SIZE_BYTES = 100_000


def test_a_proof_brings_nothing_but_digests(tmp_path, new_sshd: NewSshd, new_proxy: NewProxy):
    """The new site's files are read where they lie, however many terabytes that are."""
    sshd = new_sshd()
    proxy = new_proxy(sshd)
    sites = Sites(tmp_path)
    fill(sites.add("old", "nfs-1"), range(OBJECTS), SIZE_BYTES)
    sites.add("new", "nfs-9", sshd=proxy.behind(sshd))
    sites.write()
    assert sites.sync().code == 0
    copied_bytes = proxy.passed_bytes
    assert copied_bytes > OBJECTS * SIZE_BYTES

    ran = sites.run("verify", "integrity", "new")

    assert ran.code == 0, ran.err.decode()
    assert 0 < proxy.passed_bytes - copied_bytes < OBJECTS * SIZE_BYTES / 10
