"""Scan, sync and verify: what next, in which order, and what came of it."""
