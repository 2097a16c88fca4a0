"""One lane between two servers: a mover with its two ends, fed with batches.

The mover runs on the old server, on a host named by the operator, or here; the bytes
flow between its two ends and never through the controlling process.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cachemig.agent.frames import Frame, PeerLost, unpack_json
from cachemig.agent.peer import AgentError, Peer, answer
from cachemig.agent.protocol import Kind
from cachemig.errors import CachemigError
from cachemig.stores import answers
from cachemig.stores.answers import NonsenseError
from cachemig.stores.base import FileReceipt, WantedFile
from cachemig.stores.far_login import diagnose_far
from cachemig.stores.refusals import Diagnose, explained, lost, senseless
from cachemig.stores.remote import Rooted

_MAY_GROW_BYTES = 1024 * 1024


class LanePlan(NamedTuple):
    """All that a lane needs to know; plain values, so that it can be handed on.

    Attributes:
        mover_argv: the child process that leads to the mover's agent.
        mover_host: the host that the mover runs on; empty for this machine.
        source: the source end; dialled by the mover unless `source_is_local` to it.
        destination: the destination end, dialled by the mover.
        silence_limit_s: how long any end may say nothing.
    """

    mover_argv: tuple[str, ...]
    mover_host: str
    source: Rooted
    source_is_local: bool
    destination: Rooted
    run_id: str
    source_site: str
    silence_limit_s: float


class BatchAnswer(NamedTuple):
    """What a lane tells: bytes sent so far of a batch, or at last its receipts."""

    number: int
    sent_bytes: int
    receipts: Sequence[FileReceipt] | None


class Lane:
    """An open lane; one thread uses it. Only `hang_up` may come from another.

    Attributes:
        root_id: what the destination's root is known by; empty if no run has locked it yet.
    """

    def __init__(self, plan: LanePlan, writer: str, diagnose: Diagnose) -> None:
        self._plan = plan
        self._diagnose = diagnose
        self._batches: dict[int, Sequence[WantedFile]] = {}
        self._peer = Peer(list(plan.mover_argv), plan.silence_limit_s, plan.silence_limit_s)
        try:
            self._open_ends(writer)
        except AgentError as error:
            self._peer.close()
            raise self._explained(error, plan.mover_host or plan.source.server) from None
        except PeerLost as error:
            raise self._lost(error) from None
        except NonsenseError as error:
            self._peer.close()
            raise senseless(error, plan.destination.server) from None

    @property
    def open_batches(self) -> int:
        """How many batches were sent and not answered."""
        return len(self._batches)

    def send(self, files: Sequence[WantedFile], rate_bytes_per_s: float) -> int:
        """Hand over a batch; returns the number that its answers will carry.

        Raises:
            CachemigError: the mover is gone.
        """
        try:
            number = self._peer.send(
                "move",
                {
                    "files": [[file.source_path, file.path] for file in files],
                    "limits_bytes": [_limit_bytes(file) for file in files],
                    "rate_bytes_per_s": rate_bytes_per_s,
                    "source_server": self._plan.source.server,
                },
            )
        except PeerLost as error:
            raise self._lost(error) from None
        self._batches[number] = files
        return number

    def answers(self) -> Iterator[BatchAnswer]:
        """Yield what the mover tells, until no batch is open.

        Raises:
            CachemigError: an end is gone or refused; what was not answered must be sent again.
        """
        while self._batches:
            try:
                yield self._taken(self._peer.channel.receive())
            except AgentError as error:
                raise self._explained(error, self._plan.destination.server) from None
            except PeerLost as error:
                raise self._lost(error) from None
            except NonsenseError as error:
                raise senseless(error, self._plan.destination.server) from None

    def hang_up(self) -> None:
        """Cut the lane; its thread is told by an error. Any thread may call."""
        self._peer.hang_up()

    def close(self) -> None:
        """End the lane; the mover and its ends go down with it. A second call does nothing."""
        self._peer.close()

    def _taken(self, frame: Frame) -> BatchAnswer:
        if frame.request not in self._batches:
            raise NonsenseError("a batch was answered that was not sent, or twice")
        if frame.kind is Kind.ROWS:
            sent_bytes = answers.sent_bytes(unpack_json(frame.payload))
            return BatchAnswer(frame.request, sent_bytes, None)
        receipts = answers.receipts(answer(frame), self._batches[frame.request])
        del self._batches[frame.request]
        return BatchAnswer(frame.request, sum(r.size_bytes for r in receipts), receipts)

    def _open_ends(self, writer: str) -> None:
        plan = self._plan
        far = {"wait_s": plan.silence_limit_s, "silence_limit_s": plan.silence_limit_s}
        source = plan.source.opening(silence_limit_s=plan.silence_limit_s)
        target = plan.destination.opening(
            writer=writer,
            run_id=plan.run_id,
            source_site=plan.source_site,
            silence_limit_s=plan.silence_limit_s,
        )
        requests: list[tuple[str, dict[str, Any]]] = [
            ("open", source)
            if plan.source_is_local
            else ("dial", {"end": "source", "argv": plan.source.argv, "open": source, **far}),
            ("dial", {"end": "destination", "argv": plan.destination.argv, "open": target, **far}),
        ]
        *_, about = self._peer.call_each(requests)
        self.root_id = answers.about(about).root_id

    def _explained(self, error: AgentError, otherwise: str) -> CachemigError:
        """Explain what an end refused; `otherwise` is the server if the answer does not say."""
        end = error.about.get("end")
        servers = {"source": self._plan.source.server, "destination": self._plan.destination.server}
        server = servers.get(str(end), otherwise)
        if error.code == "senseless":
            return senseless(NonsenseError(error.message), server)
        return explained(error, server, self._far if self._plan.mover_host else self._diagnose)

    def _far(self, returncode: int, stderr_text: str, server: str) -> CachemigError:
        """Explain why the mover's host could not dial an end."""
        plan = self._plan
        end = plan.source if server == plan.source.server else plan.destination
        return diagnose_far((returncode, stderr_text), server, plan.mover_host, end.argv)

    def _lost(self, error: PeerLost) -> CachemigError:
        server = self._plan.mover_host or self._plan.source.server
        return lost(str(error), self._peer, server, self._diagnose)


def _limit_bytes(file: WantedFile) -> int:
    """What is sent of a file at the most; room for one that was written anew since the scan."""
    return 2 * file.size_bytes + _MAY_GROW_BYTES
