"""cachemig.toml: which sites, servers and caches there are, checked before anything else.

`load` reads the file into frozen values. Whatever is wrong with it is told with its line.
"""

from cachemig.config.reading import load
from cachemig.config.values import (
    Cache,
    Config,
    Customer,
    Server,
    Site,
    SshSettings,
    SyncSettings,
)

__all__ = ["Cache", "Config", "Customer", "Server", "Site", "SshSettings", "SyncSettings", "load"]
