"""What it means when a disk refuses us: full, or something that only its owner can mend.

Decided by the number of the error, in this one place; its words differ between systems.
"""

import errno

from cachemig.errors import CachemigError, NoSpaceError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(number: int | None) -> bool:
    """Tell whether an errno says that bytes, inodes or a quota are used up."""
    return number in _FULL


def own_file_refused(
    refusal: OSError, path: str, what: str, otherwise: type[CachemigError]
) -> CachemigError:
    """Make the error for a file of our own that the disk refused.

    Args:
        refusal: what the system said.
        path: the file, or the nearest that is known of it.
        what: what could not be done.
        otherwise: the kind of error when the disk is not simply full.
    """
    if is_full(refusal.errno):
        kind: type[CachemigError] = NoSpaceError
        remedy = "free space or inodes there, or raise the quota"
    else:
        kind, remedy = otherwise, "let this account read and write there"
    return kind(
        what,
        path=path,
        cause=refusal.strerror or str(refusal),
        next_step=f"{remedy}, or set another state_dir in cachemig.toml; then run it again",
    )
