"""A server's URL is a root that can be one, or is refused before anything is opened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.core.urls import ServerUrl
from cachemig.errors import UsageError

parts = st.text("abcxyz09_-+.é ", min_size=1, max_size=8).filter(lambda p: p not in {".", ".."})
paths = st.lists(parts, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
hosts = st.from_regex(r"[a-z0-9_]([a-z0-9_.-]{0,10}[a-z0-9_])?", fullmatch=True) | st.ip_addresses(
    v=6
).map(str)
users = st.just("") | st.from_regex(r"[a-z_][a-z0-9_.-]{0,8}", fullmatch=True)
ports = st.none() | st.integers(1, 65_535)
urls = st.builds(ServerUrl, st.just("path"), paths) | st.builds(
    ServerUrl, st.just("ssh"), paths, hosts, users, ports
)


@given(urls)
def test_a_printed_url_is_the_same_url(url):
    """What cachemig prints can be written into cachemig.toml."""
    assert ServerUrl.parse(str(url)) == url


@given(st.text(max_size=40) | st.text("ssh3:/@.[]-\x00 0", max_size=30).map("ssh://".__add__))
def test_any_text_is_a_url_or_refused(text):
    """No text makes anything but a clean root or a UsageError."""
    try:
        url = ServerUrl.parse(text)
    except UsageError:
        return
    assert url.scheme == "s3" or url.path.startswith("/")
    assert ".." not in url.path.split("/")
    assert not url.host.startswith("-")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("/srv//sstate/", ServerUrl("path", "/srv/sstate")),
        ("ssh://h/srv/s", ServerUrl("ssh", "/srv/s", "h")),
        (
            "ssh://ops@nfs-1.example.com.:2222/srv",
            ServerUrl("ssh", "/srv", "nfs-1.example.com.", "ops", 2222),
        ),
        ("ssh://[::1]:22/srv", ServerUrl("ssh", "/srv", "::1", "", 22)),
        ("s3://bucket", ServerUrl("s3", "", "bucket")),
        ("s3://bucket/a/b/", ServerUrl("s3", "/a/b", "bucket")),
    ],
)
def test_all_forms_are_understood(text, url):
    """A path, a host with or without user and port, an IPv6 address, a bucket."""
    assert ServerUrl.parse(text) == url


BAD = [
    "",
    "srv/sstate",
    "~/sstate",
    ".",
    "/",
    "//",
    "/srv/../etc",
    "/srv/./s",
    "/srv/a\nb",
    "/a\0b",
]
BAD += ["ssh://-oProxyCommand=x/srv", "ssh://h:0/srv", "ssh://h:65536/srv", "ssh://h:22x/srv"]
BAD += ["ssh://h:/srv", "ssh://h", "ssh://h/", "ssh:///srv", "ssh://::1/srv", "ssh://[::1/srv"]
BAD += ["ssh://[zz]/srv", "ssh://-u@h/srv", "ssh://u@/srv", "ssh://a@b@h/srv", "ssh://@h/srv"]
BAD += ["http://h/srv", "file:///srv", "nfs://h/srv", "s3://b", "s3://UPPER/x", "s3:///x"]
BAD += ["s3://bucket/../x", "/srv/\udc80", "ssh://h\u200b/srv", "ssh://h/srv\u202e", "ssh://h:٢٢/s"]


@pytest.mark.parametrize("text", BAD)
def test_what_can_not_be_a_root_is_refused(text):
    """The refusal says what can be written instead."""
    with pytest.raises(UsageError) as refused:
        ServerUrl.parse(text)
    assert "ssh://user@host:22/srv/sstate" in refused.value.next_step


@pytest.mark.parametrize("text", ["ssh://ops:hunter2@h/srv", "http://ops:hunter2@h/srv"])
def test_a_password_is_refused_and_not_repeated(text):
    """No secret is printed, not even in the message that refuses it."""
    with pytest.raises(UsageError) as refused:
        ServerUrl.parse(text)
    error = refused.value
    assert "hunter2" not in f"{error.what} {error.cause} {error.next_step}"


def test_the_place_tells_hosts_apart_as_ssh_does():
    """Port 22 is the default; the case of a host and its final dot mean nothing."""
    one, other, third = (
        ServerUrl.parse(f"ssh://{host}/srv").place for host in ("Nfs-1.", "x@nfs-1:22", "nfs-1:23")
    )

    assert one == other != third


@pytest.mark.parametrize("tail", ["", "/", "/srv", "/srv/../x"])
def test_a_host_needs_no_path(tail: str):
    """What may follow it is not looked at."""
    host = ServerUrl("ssh", "", "hop.mid", "ops", 2222)
    assert ServerUrl.parse_host(f"ssh://ops@hop.mid:2222{tail}") == host


@pytest.mark.parametrize(
    "text",
    ["hop", "/srv", "s3://bucket", "ssh://", "ssh://-o/", "ssh://h:0", "ssh://u:p@h", "ssh://h\n"],
)
def test_what_is_no_host_is_refused(text: str):
    """As a usage error; a password is never repeated."""
    with pytest.raises(UsageError):
        ServerUrl.parse_host(text)
