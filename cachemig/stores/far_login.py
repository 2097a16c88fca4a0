"""What it means that a mover can not log in to a server: what to mend lies on the mover's host.

The mover runs as the account that logs in there, with that machine's ssh, keys and known hosts;
`identity_file`, `known_hosts_file` and the ssh-agent of this machine are of no use to it.
"""

import shlex
from collections.abc import Sequence

from cachemig.errors import CachemigError
from cachemig.stores.diagnosis import Trouble, diagnose, trouble_of

_OTHER_WAY = "or send the bytes through this machine, with --via-here"
_SETTINGS = "~/.ssh/config"
_KEPT_OPTIONS = ("User=", "Port=")


def diagnose_far(
    told: tuple[int, str], server: str, mover_host: str, argv: Sequence[str]
) -> CachemigError:
    """Make the error for a pipe from the mover's host to a server.

    Args:
        told: the exit status of the child there, and what it said on stderr.
        server: the end that was not reached, by its name in cachemig.toml.
        mover_host: where the child ran.
        argv: of that child.
    """
    error = diagnose(*told, server)
    trouble = trouble_of(*told)
    settings = argv[list(argv).index("-F") + 1] if "-F" in argv else _SETTINGS
    step = error.next_step
    if trouble in _STEPS:
        step = _STEPS[trouble].format(by_hand=_by_hand(argv), server=server, settings=settings)
    elif trouble is Trouble.HOST_UNKNOWN and settings != _SETTINGS:
        step += f" there, or to the UserKnownHostsFile that {settings} names"
    error.what = f"{mover_host} could not reach {server}: {_WHAT.get(trouble, error.what)}"
    note = _NOTES.get(trouble, "")
    error.next_step = f"on {mover_host}{note}: {step}; {_OTHER_WAY}"
    return error


def _by_hand(argv: Sequence[str]) -> str:
    """Write the login as a person would try it on that host; `ssh` alone if it was none."""
    if "--" not in argv:
        return "ssh"
    kept = [option for option in argv if option.startswith(_KEPT_OPTIONS)]
    settings = ["-F", argv[argv.index("-F") + 1]] if "-F" in argv else []
    options = [word for option in kept for word in ("-o", option)]
    host = argv[list(argv).index("--") + 1]
    return shlex.join(["ssh", *settings, "-o", "BatchMode=yes", *options, "--", host, "true"])


_NOTES = dict.fromkeys(
    (Trouble.AUTH_REFUSED, Trouble.HOST_UNKNOWN, Trouble.HOST_CHANGED, Trouble.BAD_SETTINGS),
    " (not here), as the account that its url names",
)
_WHAT = {
    Trouble.AUTH_REFUSED: "it was refused the login",
    Trouble.BAD_SETTINGS: "the ssh settings of the account there can not be used",
}
_STEPS = {
    Trouble.AUTH_REFUSED: (
        "`{by_hand}` has to work; it takes a key without a passphrase in ~/.ssh there, or the"
        " IdentityFile of {settings} there, whose public half is in ~/.ssh/authorized_keys on"
        " {server}; `identity_file` in cachemig.toml and the ssh-agent of this machine do not"
        " count there"
    ),
    Trouble.BAD_SETTINGS: "mend the named line of {settings} there, until `{by_hand}` works",
    Trouble.NAME_UNKNOWN: (
        "`{by_hand}` has to work; the host name in the url of {server} must be known there too,"
        " to the name service or by a Host line in {settings} there"
    ),
    Trouble.LOST: (
        "`{by_hand}` has to work; look whether {server} is up, and whether a firewall lets that"
        " host through to it"
    ),
}
