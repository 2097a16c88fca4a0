"""Run the program as ``python -m cachemig``."""

import sys

from cachemig.cli.app import main

sys.exit(main())
