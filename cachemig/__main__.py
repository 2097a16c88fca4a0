"""Run the program as ``python -m cachemig``."""

from cachemig.cli.app import start

start()
