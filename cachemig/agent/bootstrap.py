"""How the agent gets to the other end: a constant command, then its own source over stdin."""

from __future__ import annotations

import functools
import json
import os
import zlib

from .protocol import MARKER

MODULES = (
    "protocol",
    "bootstrap",
    "frames",
    "archive",
    "deep",
    "tree",
    "walk",
    "durable",
    "root",
    "place",
    "idle",
    "source",
    "files",
    "publish",
    "intake",
    "peer",
    "mover",
    "serve",
)

PYTHON_FLAGS = ("-I", "-S", "-X", "utf8")
"""Nothing of the account's own is imported, and its locale does not change what a name is."""

_READ = 'exec("while len(b)<n: b+=os.read(0,n-len(b)) or sys.exit(0)")'
BOOTSTRAP = (
    f'import os,sys,zlib;os.write(1,b"{MARKER.decode().strip()}"+bytes([10]));'
    f'b=b"";n=8;{_READ};n=int(b);b=b"";{_READ};exec(zlib.decompress(b))'
)
"""Python source for ``python3 -c``: one line, no single quote, nothing a shell would expand."""

_LOADER = """
import types
from importlib.machinery import ModuleSpec
if sys.version_info < (3, 9):
    sys.stderr.write("cachemig: python3 is too old here: the agent needs Python 3.9 or newer\\n")
    sys.exit(1)

class Sources:
    @staticmethod
    def find_spec(name, path=None, target=None):
        ours = name.partition("cachemig_agent.")[2] in sources
        return ModuleSpec(name, Sources) if ours else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        name = module.__name__.partition(".")[2]
        exec(compile(sources[name], "cachemig_agent/" + name + ".py", "exec"), module.__dict__)

package = types.ModuleType("cachemig_agent")
package.__path__ = []
sys.modules["cachemig_agent"] = package
sys.meta_path.insert(0, Sources)
from cachemig_agent import bootstrap, serve
bootstrap.received = b
serve.main()
"""

received: bytes | None = None


def bundle() -> bytes:
    """The agent's source with an 8-digit length before it, as `BOOTSTRAP` reads it.

    An agent that dials a further one hands on the very bytes that it was sent.
    """
    body = received if received is not None else _pack()
    return b"%08d" % len(body) + body


@functools.cache
def _pack() -> bytes:
    folder = os.path.dirname(os.path.abspath(__file__))
    sources = {}
    for name in MODULES:
        with open(os.path.join(folder, name + ".py"), encoding="utf-8") as file:
            sources[name] = file.read()
    text = f"import json\nsources = json.loads({json.dumps(json.dumps(sources))})\n{_LOADER}"
    return zlib.compress(text.encode("utf-8"))
