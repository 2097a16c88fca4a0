"""Move Yocto shared-state caches between sites, and prove that they arrived."""

__version__ = "0.1.0"
