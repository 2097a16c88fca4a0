"""Roots are known again: one that is not mounted is not filled, nor is another one in its place.

The first run that locks a root leaves an id there, and keeps it in the state directory as well.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from cachemig.errors import AccessError
from cachemig.files import write_atomically


def roots_path(state_dir: Path, site: str) -> Path:
    """Where a state directory keeps what the roots of a site are known by."""
    return state_dir / "roots" / f"{site}.json"


def known_roots(path: Path) -> dict[str, str]:
    """The ids of roots by server; none where they were not kept or can not be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(told, dict):
        return {}
    return {server: word for server, word in told.items() if isinstance(word, str)}


def remember_roots(path: Path, found: Mapping[str, str]) -> None:
    """Keep the ids of roots for the next run; those of other servers stay."""
    known = known_roots(path)
    ids = {server: word for server, word in found.items() if word}
    if known | ids != known:
        text = json.dumps(known | ids, indent=1, sort_keys=True)
        write_atomically(path, text.encode())


def other_root(server: str, found_id: str, known: Mapping[str, str]) -> AccessError | None:
    """Why a server must not be written to: its root is not the one that it had."""
    if known.get(server, found_id) == found_id:
        return None
    cause = (
        "another directory or disk is in its place"
        if found_id
        else "it holds nothing of earlier runs: not mounted, or emptied"
    )
    return AccessError(
        "the server's root is not the one that earlier runs wrote to",
        server=server,
        cause=cause,
        next_step="mount it, or correct the url; if a new or emptied root is meant, run the"
        " sync once with --allow-empty",
    )
