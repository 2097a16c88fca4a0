"""Where a root really is: two addresses may lead to one directory."""

from collections.abc import Mapping
from typing import NamedTuple

from cachemig.errors import UsageError


class Whereabouts(NamedTuple):
    """A directory of a machine, whichever way it was reached.

    Attributes:
        machine: a number that the kernel drew when it started; empty when it does not say.
        places: device and inode of the directory, then those of the directories above it.
    """

    machine: str = ""
    places: tuple[tuple[int, int], ...] = ()

    def overlaps(self, other: "Whereabouts") -> bool:
        """Whether the two are the same directory, or one lies in the other."""
        if not self.machine or self.machine != other.machine:
            return False
        if not self.places or not other.places:
            return False
        return self.places[0] in other.places or other.places[0] in self.places


def whereabouts(value: object) -> Whereabouts:
    """Read where an agent says that its root is; what it does not say is not known."""
    told = value if isinstance(value, dict) else {}
    machine, places = told.get("machine"), told.get("places")
    if not isinstance(machine, str) or not isinstance(places, list):
        return Whereabouts()
    found = [tuple(place) for place in places if isinstance(place, list)]
    numbers = [
        (place[0], place[1])
        for place in found
        if len(place) == len(("device", "inode")) and all(isinstance(n, int) for n in place)
    ]
    return Whereabouts(machine, tuple(numbers) if len(numbers) == len(places) else ())


def refuse_overlap(old: Mapping[str, Whereabouts], new: Mapping[str, Whereabouts]) -> None:
    """Let no cache be compared with itself, or copied into itself.

    Raises:
        UsageError: a server of the old site and one of the new site have the same directory,
            or one's lies in the other's.
    """
    for source, one in old.items():
        for server, other in new.items():
            if one.overlaps(other):
                raise UsageError(
                    f"the roots of {source} and {server} are the same directory, or one lies in"
                    " the other",
                    server=server,
                    cause="both urls lead to one machine and, there, to one place",
                    next_step="correct the url of one of them in cachemig.toml; two names of one"
                    " host, or a bind mount, may be behind it",
                )
