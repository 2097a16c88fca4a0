"""Do the objects of a cache lie where its root says?"""

from typing import NamedTuple

from cachemig.catalog.database import query
from cachemig.catalog.inventory import Inventory


class Rooting(NamedTuple):
    """How the objects of one cache lie on one server.

    Attributes:
        objects: objects, signatures and links.
        all_below: the one folder that all of them lie below, or empty; of a cache that lies
            where builds look for it, some lie directly below slots.
    """

    server: str
    cache: str
    objects: int
    misplaced: int
    all_below: str


def rootings(inventory: Inventory) -> list[Rooting]:
    """Say how objects lie, one line per server and cache that holds any."""
    with inventory.session() as connection:
        return [Rooting(*row) for row in connection.execute(query("rooting")).fetchall()]
