"""A program that behaves like ``ssh HOST COMMAND`` for us, where there is no ssh.

    python -m cachemig.stores.paramiko_pipe --host nfs-1 [--user ops] [--port 22] -- COMMAND

Standard input and output are the command's; its exit status is passed on. What goes wrong
on the way is told in one line on standard error, for `cachemig.stores.diagnosis`.
"""

import argparse
import os
import sys
import threading
from pathlib import Path

import paramiko

from cachemig.stores.diagnosis import PipeTrouble, Trouble
from cachemig.stores.paramiko_login import log_in
from cachemig.stores.paramiko_target import LoginRefusedError, Wishes, resolve

LOGIN_LIMIT_S = 90.0
SILENCE_LIMIT_S = 120.0
END_LIMIT_S = 30.0
_PIECE_BYTES = 256 * 1024
_FAILED = 255


def main() -> int:
    """Log in, run the command, and return its exit status; 255 for a failure of ours."""
    arguments = _arguments()
    wishes = Wishes(
        arguments.host,
        arguments.port,
        arguments.user,
        arguments.identity,
        arguments.known_hosts,
    )
    watchdog = _end_after(LOGIN_LIMIT_S)
    try:
        target = resolve(wishes, Path("~/.ssh/config").expanduser())
        transport = log_in(target)
        channel = transport.open_session(timeout=END_LIMIT_S)
        channel.settimeout(SILENCE_LIMIT_S)
        channel.exec_command(arguments.command)
    except LoginRefusedError as refusal:
        return _give_up(refusal.trouble)
    except (paramiko.SSHException, EOFError, OSError) as problem:
        return _give_up(PipeTrouble(Trouble.LOST, cause=str(problem) or type(problem).__name__))
    watchdog.cancel()
    return _pump(channel)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cachemig.stores.paramiko_pipe")
    parser.add_argument("--host", required=True)
    parser.add_argument("--user")
    parser.add_argument("--port", type=int)
    parser.add_argument("--identity", type=Path)
    parser.add_argument("--known-hosts", type=Path)
    parser.add_argument("command")
    return parser.parse_args()


def _pump(channel: paramiko.Channel) -> int:
    """Carry bytes both ways until the command ends."""
    threading.Thread(target=_send_input, args=(channel,), daemon=True).start()
    errors = threading.Thread(target=_copy_errors, args=(channel,), daemon=True)
    errors.start()
    try:
        while piece := channel.recv(_PIECE_BYTES):
            _write(sys.stdout.fileno(), piece)
    except TimeoutError:
        silence = f"the server said nothing for {SILENCE_LIMIT_S:.0f} s"
        return _give_up(PipeTrouble(Trouble.LOST, cause=silence))
    except OSError as problem:
        return _give_up(PipeTrouble(Trouble.LOST, cause=str(problem)))
    errors.join(END_LIMIT_S)
    if not channel.status_event.wait(END_LIMIT_S) or channel.exit_status < 0:
        cause = "the remote process died by a signal, or the session was lost"
        return _give_up(PipeTrouble(Trouble.LOST, cause=cause))
    return channel.exit_status


def _send_input(channel: paramiko.Channel) -> None:
    """Send what comes in; at its end the command has a while to end by itself."""
    try:
        while piece := os.read(sys.stdin.fileno(), _PIECE_BYTES):
            channel.sendall(piece)
        channel.shutdown_write()
    except OSError:
        channel.close()
    _end_after(END_LIMIT_S)


def _copy_errors(channel: paramiko.Channel) -> None:
    try:
        while piece := channel.recv_stderr(_PIECE_BYTES):
            _write(sys.stderr.fileno(), piece)
    except OSError:
        return


def _write(fd: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


def _end_after(limit_s: float) -> threading.Timer:
    """End this process when it is still there after a while: no wait is without a bound."""
    timer = threading.Timer(limit_s, os._exit, (_FAILED,))
    timer.daemon = True
    timer.start()
    return timer


def _give_up(trouble: PipeTrouble) -> int:
    sys.stderr.write(trouble.as_line() + "\n")
    sys.stderr.flush()
    return _FAILED


if __name__ == "__main__":
    sys.exit(main())
