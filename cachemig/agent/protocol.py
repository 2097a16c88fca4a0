"""What the two ends of a pipe say to each other: frame kinds, operations, outcomes.

A frame is a 9-byte header (kind, request number, payload length; big endian) and a
payload. A request is one JSON frame, for some operations followed by file frames; its
answer is any number of ROWS or file frames and then exactly one REPLY or ERROR.
Either side sends a BEAT when it had nothing else to say for a while, so that silence
always means a dead peer.
"""

from enum import Enum

PROTOCOL_VERSION = 1
MARKER = b"cachemig-agent-ready\n"
BEAT_INTERVAL_S = 1.0
SILENCE_LIMIT_S = 60.0
PART_BYTES = 256 * 1024
OWN_DIRECTORY = ".cachemig"
TEMP_PREFIX = ".cm-"
ASIDE_PREFIX = ".cm-aside-"


class Kind(bytes, Enum):
    """The first byte of a frame."""

    REQUEST = b"Q"
    ROWS = b"W"
    REPLY = b"R"
    ERROR = b"E"
    BEAT = b"B"
    PART = b"P"
    LAST = b"L"


class Outcome(str, Enum):
    """What became of one file that a sync planned to bring; one list for all stores."""

    PUBLISHED = "published"
    PRESENT = "present"
    FOREIGN = "foreign"
    VANISHED = "vanished"
    CHANGED = "changed"
    DAMAGED = "damaged"
    REJECTED = "rejected"
    FAILED = "failed"
    NOT_ATTEMPTED = "not_attempted"
