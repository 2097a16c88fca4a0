"""What cachemig.toml may say, and how a fault in it is told."""

import os
import re
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachemig.config import Cache, Server, SshSettings, SyncSettings, load
from cachemig.config.starter import STARTER
from cachemig.core.urls import ServerUrl
from cachemig.errors import ConfigError

FULL = """\
state_dir = "state"
[site.us-east-2]
group = "sstate"
retention = "15d"
[[site.us-east-2.server]]
name = "nfs-1"
url = "ssh://ops@nfs-1.example.com:22/srv/sstate"
weight = 2.0
[[site.us-east-2.server]]
name = "nfs-2"
url = "/mnt/nfs-2/sstate"
[site.us-west-1]
[[site.us-west-1.server]]
name = "nfs-9"
url = "ssh://ops@nfs-9.example.com/srv/sstate"
capacity = "4TiB"

[cache.lmp-95]
path = "v95-sstate-cache"
placement = "slots"
[cache.lmp-96]
path = "v96-sstate-cache"
placement = "whole"
[ssh]
client = "openssh"
identity_file = "~/.ssh/id_ed25519"
known_hosts_file = "keys/known_hosts"
[sync]
connections = 4
bwlimit = "400Mbit/s"
[customer.acme]
caches = ["lmp-95"]
weight = 1.5
max_extra_build_time = "10min"
"""
SMALL = '[site.a]\n[[site.a.server]]\nname = "s"\nurl = "/srv/s"\n'


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """A home with the SSH key that the examples name."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".ssh").mkdir()
    (folder / ".ssh" / "id_ed25519").touch()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOME", str(folder))
        yield folder


@pytest.fixture
def write(tmp_path):
    """Write a configuration file and give its path."""

    def write_file(content):
        path = tmp_path / "cachemig.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def refusal(path):
    """Load a file that must be refused; give the message with the folder left out."""
    with pytest.raises(ConfigError) as refused:
        load(path)
    return refused.value.what.replace(f"{path.parent}/", "")


def test_everything_that_can_be_said_is_understood(write):
    """Each key of the contract arrives as a value with its unit."""
    config = load(write(FULL))

    east = config.site("us-east-2")
    assert (east.name, east.group, east.retention_s) == ("us-east-2", "sstate", 15 * 86_400)
    assert east.servers == (
        Server("nfs-1", ServerUrl("ssh", "/srv/sstate", "nfs-1.example.com", "ops", 22), 2.0),
        Server("nfs-2", ServerUrl("path", "/mnt/nfs-2/sstate"), 1.0),
    )
    nine = config.site("us-west-1").server("nfs-9")
    assert (nine.weight, nine.capacity_bytes) == (float(4 * 1024**4), 4 * 1024**4)
    assert config.caches == (
        Cache("lmp-95", "v95-sstate-cache", "slots"),
        Cache("lmp-96", "v96-sstate-cache", "whole"),
    )
    assert config.ssh == SshSettings(
        "openssh", Path.home() / ".ssh/id_ed25519", config.path.parent / "keys/known_hosts"
    )
    assert config.sync == SyncSettings(4, 50_000_000)
    acme = config.customers["acme"]
    assert (acme.caches, acme.weight, acme.max_extra_build_time_s) == (("lmp-95",), 1.5, 600)
    assert config.state_dir == config.path.parent / "state"


def test_little_is_needed(write):
    """One server makes a site; the rest has defaults."""
    config = load(write(SMALL))

    assert config.caches == (Cache("default", "", "slots"),)
    assert config.ssh == SshSettings("auto", None, None)
    assert config.sync == SyncSettings(5, None)
    assert config.state_dir == config.path.parent / ".cachemig"


def test_the_silence_limit_is_given_in_seconds(write):
    """Nothing under a few beats of the agent is taken."""
    text = SMALL + '[ssh]\nsilence_limit = "1min"\n'

    assert load(write(text)).ssh.silence_limit_s == 60


def test_the_starter_is_valid(write):
    """What `cachemig init` writes can be used at once."""
    config = load(write(STARTER))

    assert set(config.sites) == {"old", "new"}


def test_what_the_starter_offers_in_comments_is_valid(write):
    """A comment that is a table or a key can be taken out of its comment."""
    key_or_table = re.compile(r"^# (\[[a-z.0-9-]+\]|[a-z_]+ = .*)$", re.MULTILINE)

    config = load(write(key_or_table.sub(r"\1", STARTER)))

    assert config.customers["acme"].caches == ("release-5",)
    assert config.sync.bwlimit_bytes_per_s == 50_000_000
    assert config.site("old").retention_s == 15 * 86_400


def replaced(old, new):
    """Spoil one place of the full example."""
    assert FULL.count(old) >= 1
    return FULL.replace(old, new, 1)


FAULTS = [
    (replaced("weight = 2.0", "weight = 0"), 8, "above 0"),
    (replaced("weight = 2.0", "weight = -1.0"), 8, "above 0"),
    (replaced("weight = 2.0", "weight = nan"), 8, "above 0"),
    (replaced("weight = 2.0", "weight = inf"), 8, "above 0"),
    (replaced("weight = 2.0", 'weight = "8"'), 8, "valid number (it is a text)"),
    (replaced("weight = 2.0", "weight = true"), 8, "valid number (it is a boolean)"),
    (replaced('capacity = "4TiB"', 'capacity = "4TiB"\nweight = 1'), 16, "both"),
    (replaced('capacity = "4TiB"', 'capacity = "0B"'), 16, "capacity of 0"),
    (replaced("weight = 2.0", 'capacity = "4TiB"'), 9, '"nfs-2" has no capacity'),
    (replaced('"nfs-2"', '"nfs-1"'), 10, 'two servers named "nfs-1"'),
    (replaced('"nfs-2"', '"a b"'), 10, "not a plain name"),
    (replaced('name = "nfs-2"\n', ""), 9, '[[site.us-east-2.server]] has no "name"'),
    (replaced('"/mnt/nfs-2/sstate"', '"mnt"'), 11, "not absolute"),
    (
        replaced('"/mnt/nfs-2/sstate"', '"ssh://nfs-1.example.com/srv/sstate/x"'),
        11,
        'the roots of "nfs-2" and "nfs-1" of site "us-east-2" overlap',
    ),
    (
        replaced('"ssh://ops@nfs-9.example.com/srv/sstate"', '"/mnt/nfs-2/sstate"'),
        15,
        'the roots of "nfs-9" and "nfs-2" of site "us-east-2" overlap',
    ),
    (replaced('"15d"', "15"), 4, "text in quotes"),
    (replaced('"15d"', "2026-01-01"), 4, "text in quotes"),
    (replaced('"slots"', '"slot"'), 20, 'did you mean "slots"?'),
    (replaced('"v96-sstate-cache"', '"v95-sstate-cache"'), 22, "overlap"),
    (replaced('"v96-sstate-cache"', '"v95-sstate-cache/x"'), 22, "overlap"),
    (replaced('"v96-sstate-cache"', '""'), 22, "overlap"),
    (replaced('"v96-sstate-cache"', '"../x"'), 22, ". or .."),
    (replaced('"v96-sstate-cache"', '"/x"'), 22, "relative"),
    (replaced('"v96-sstate-cache"', '".cachemig"'), 22, "own files"),
    (replaced('"openssh"', '"openssh"\nsilence_limit = "4s"'), 26, "5s to 600s"),
    (replaced('"openssh"', '"openssh"\nsilence_limit = "30"'), 26, "90s, 10min"),
    (replaced("~/.ssh/id", "~nobody-at-all/.ssh/id"), 26, "no user"),
    (replaced('"openssh"', '"putty"'), 25, 'not "auto" or "openssh" or "paramiko"'),
    (replaced("connections = 4", "connections = 0"), 29, "greater than or equal to 1"),
    (replaced("connections = 4", "connections = 1000000000"), 29, "less than or equal to"),
    (replaced("connections = 4", "connections = 4.5"), 29, "valid integer (it is a float)"),
    (replaced("400Mbit/s", "400Mb"), 30, "write 400Mbit/s or 50MB/s"),
    (replaced('["lmp-95"]', '["lmp-9"]'), 32, 'there is no cache "lmp-9"; did you mean "lmp-9'),
    (replaced("[sync]", "[synk]"), 28, 'unknown key "synk" in the file; did you mean "sync"?'),
    (replaced("[sync]", "[sync]\nconnections = 4"), 30, "overwrite"),
    (replaced("[ssh]", "[ssh"), 24, "expected"),
    (FULL + "[site.b]\n", 35, 'site "b" has no server'),
    (FULL + 'x = "a\0b"\n', 35, "illegal character"),
    ("", 1, "there is no site"),
    ("# only words\n", 1, "there is no site"),
    ("site = 3\n", 1, "should be a valid table (it is an integer)"),
    (SMALL + 'x = """\n\n', 5, "unterminated"),
    (f"# {'1' * 5000}\n{SMALL}x = {'1' * 5000}\n", 6, "too many digits"),
    (replaced("connections = 4", "connections = 0x" + "f" * 9000), 29, '"connections" in [sync]'),
    (replaced("weight = 2.0", "weight = 0x" + "f" * 9000), 8, '"weight" in [[site'),
    (replaced('"openssh"', "0x" + "f" * 9000), 25, '"client" in [ssh]: it should be'),
    ('state_dir = ""\n' + SMALL, 1, "empty"),
    ('state_dir = "a\\u0000b"\n' + SMALL, 1, "NUL"),
    (replaced("~/.ssh/id_ed25519", ""), 26, "empty"),
    (replaced("~/.ssh/id_ed25519", "/keys/\\u0000id"), 26, "NUL"),
    (replaced('"openssh"', '"openssh"\ndirect_config_file = ""'), 26, "empty"),
    (replaced("v96-sstate-cache", "v96/" + "a" * 256), 22, "longer than 255 bytes"),
    (replaced("v96-sstate-cache", "é" * 128), 22, "longer than 255 bytes"),
    (replaced("v96-sstate-cache", "a" * 255 + "/" + "é" * 127 + "/.."), 22, ". or .."),
]


@pytest.mark.parametrize(("content", "line", "phrase"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_told_with_its_line(write, content, line, phrase):
    """What is wrong is told in one line that starts with file and line."""
    what = refusal(write(content))

    assert what.startswith(f"cachemig.toml:{line}:")
    assert phrase in what
    assert "\n" not in what


@pytest.mark.parametrize(
    ("named", "seen_as", "cause"),
    [
        ("~/.ssh/id_rsa", "{home}/.ssh/id_rsa", "No such file or directory"),
        ("keys/id_rsa", "keys/id_rsa", "No such file or directory"),
        ("~/.ssh", "{home}/.ssh", "it is not a regular file"),
        ("~/.ssh/id_ed25519/x", "{home}/.ssh/id_ed25519/x", "Not a directory"),
        ("/", "/", "it is not a regular file"),
        (r"a\nb", r"a\nb", "No such file or directory"),
    ],
)
def test_an_ssh_key_that_is_not_there_is_refused(write, home, named, seen_as, cause):
    """Before ssh would pass over it at a login, and blame the server's account."""
    assert refusal(write(replaced("~/.ssh/id_ed25519", named))) == (
        f'cachemig.toml:26: "identity_file" in [ssh]: {seen_as.format(home=home)} can not be used: '
        f"{cause}; name a private key, or leave the line out and let ssh choose"
    )


def test_the_public_half_of_a_key_is_enough(write, tmp_path):
    """The other one may be in an agent only, as with a key that lives on a token."""
    (tmp_path / "token.pub").touch()

    config = load(write(replaced("~/.ssh/id_ed25519", "token")))

    assert config.ssh.identity_file == tmp_path / "token"


def test_an_unknown_key_is_told_with_table_and_nearest_word(write):
    """The whole message, as people see it."""
    assert refusal(write(replaced("weight = 2.0", "weigth = 2.0"))) == (
        'cachemig.toml:8: unknown key "weigth" in [[site.us-east-2.server]]; did you mean "weight"?'
    )


def test_deep_nesting_is_refused(write):
    """A parser's recursion limit is no traceback of ours."""
    for depth in (100_000, *range(60, 340, 20)):
        assert "a" in refusal(write(SMALL + "a = " + "[" * depth + "]" * depth))
    assert "nested too deeply" in refusal(write("a = " + "[" * 100_000))


def test_several_faults_are_counted_by_line(write):
    """One message, the first by line, and where to look next."""
    spoilt = FULL.replace("weight = 2.0", "weigth = 2.0").replace('"whole"', '"hole"')

    with pytest.raises(ConfigError, match=":8:") as refused:
        load(write(spoilt))

    assert "line 23" in refused.value.next_step
    assert "weigth" in refused.value.what


def test_many_faults_are_told_soon_and_shortly(write):
    """The same slip for each of many servers: lines are looked up in one pass."""
    server = SMALL.splitlines(keepends=True)[1:]
    lines = "".join("".join([*server, "weigth = 2\n"]) for _ in range(500))
    began = time.process_time()

    with pytest.raises(ConfigError, match=":4:") as refused:
        load(write(lines))

    assert time.process_time() - began < 4
    assert "line 8, 12, 16" in refused.value.next_step
    assert "479 other lines" in refused.value.next_step
    assert len(refused.value.next_step) < 300


def test_a_fault_is_found_behind_a_long_array(write):
    """An array of many lines is taken as one, and is not read again for each of them."""
    array = "".join(f'"{"a" * 60}",\n' for _ in range(1900))
    began = time.process_time()

    what = refusal(write(f"{SMALL}[customer.x]\ncaches = [\n{array}]\n[sync]\nlanes = 3\n"))

    assert what.startswith("cachemig.toml:1909:")
    assert time.process_time() - began < 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf" + SMALL.encode(), "byte order mark"),
        (SMALL.encode("utf-16"), "byte order mark"),
        (SMALL.encode() + b"# caf\xe9\n", ":5: it is not UTF-8"),
        (SMALL.encode() + b"#" * 1_100_000, "can not be read"),
    ],
)
def test_only_plain_utf8_of_a_sane_size_is_read(write, content, message):
    """Other encodings are named, not guessed."""
    assert message in refusal(write(content))


def test_windows_line_ends_are_fine(write):
    """A file that was edited elsewhere still has the right lines."""
    assert load(write(SMALL.replace("\n", "\r\n"))).site("a").servers[0].name == "s"
    assert refusal(write(SMALL.replace("\n", "\r\n") + "x = 1\r\n")).startswith("cachemig.toml:5:")


def test_what_is_no_file_is_refused_at_once(tmp_path):
    """A FIFO would hang, a directory holds no text, a device never ends."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match="can not be read"):
            load(path)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    """The first thing a new user sees."""
    with pytest.raises(ConfigError, match="there is no") as refused:
        load(tmp_path / "cachemig.toml")
    assert "cachemig init" in refused.value.next_step


def test_a_file_that_everybody_can_write_is_refused(write):
    """It names the servers that are written to."""
    path = write(SMALL)
    path.chmod(path.stat().st_mode | stat.S_IWOTH)

    assert "everybody" in refusal(path)


def test_a_link_to_the_file_is_followed(write, tmp_path):
    """Deployed files are often links; what is relative starts at the link."""
    path = write(SMALL)
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "cachemig.toml").symlink_to(path)

    assert load(folder / "cachemig.toml").state_dir == folder / ".cachemig"


def test_neighbours_with_like_names_do_not_overlap(write):
    """/srv/s and /srv/s2 are two folders, and so are two caches side by side."""
    other = SMALL.replace("site.a", "site.b").replace("/srv/s", "/srv/s2")
    caches = '[cache.one]\npath = "v9"\n[cache.two]\npath = "v95"\n'

    config = load(write(SMALL + other + caches))

    assert [cache.path for cache in config.caches] == ["v9", "v95"]


def test_an_unknown_site_is_answered_with_the_nearest(write):
    """So are servers and caches."""
    config = load(write(FULL))

    with pytest.raises(ConfigError, match='did you mean "us-east-2"') as refused:
        config.site("us-east2")
    assert "us-west-1" in refused.value.next_step
    with pytest.raises(ConfigError, match='did you mean "nfs-1"'):
        config.site("us-east-2").server("nfs1")
    with pytest.raises(ConfigError, match='did you mean "lmp-95"'):
        config.cache("lmp95")


def test_the_same_server_name_may_occur_in_two_sites(write):
    """Names are looked up within their site."""
    other = SMALL.replace("site.a", "site.b").replace("/srv/s", "/srv/t")

    config = load(write(SMALL + other))

    assert config.site("a").server("s").url != config.site("b").server("s").url


@settings(max_examples=150)
@given(data=st.data())
def test_any_change_of_the_text_is_read_or_refused(tmp_path_factory, data):
    """Whatever was typed, nothing but a ConfigError comes out."""
    path = tmp_path_factory.getbasetemp() / "typed.toml"
    where = data.draw(st.integers(0, len(FULL)))
    length = data.draw(st.integers(0, 20))
    typed = data.draw(st.text(st.sampled_from('[]".=\n#{},a1\t\0é'), max_size=8))
    path.write_text(FULL[:where] + typed + FULL[where + length :], encoding="utf-8")

    try:
        config = load(path)
    except ConfigError as error:
        assert str(path) in error.what  # noqa: PT017  either way is right
    else:
        assert config.sites


@pytest.mark.parametrize("line", ["a = ", "[ssh]\nclient = 5", 'state_dir = ""', "[sihte]"])
def test_every_fault_of_the_file_says_what_to_do_next(write, line):
    """A message without a next step leaves a tired operator alone."""
    with pytest.raises(ConfigError) as refused:
        load(write(f"{line}\n{SMALL}"))

    assert refused.value.next_step.startswith("mend it; ")
