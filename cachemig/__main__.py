"""Run the program as ``python -m cachemig``, or as the command ``cachemig``."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the program listens: no traceback

from cachemig.cli.app import start  # it takes long enough to be stopped

__all__ = ["start"]

if __name__ == "__main__":
    start()
