"""What was asked of this host? One request is read, and one line of JSON written for each answer."""

import json
import os
from typing import IO, Any

from provisioning.hosts.agent.change import Apply, Contents
from provisioning.hosts.agent.keeping import read_audit
from provisioning.hosts.agent.look import fingerprint, free_bytes, look
from provisioning.hosts.agent.places import Places, Refused, told


def main(stdin: IO[bytes], stdout: IO[bytes]) -> None:
    """Answer one request; what is not done is an answer, too."""

    def say(line: dict[str, Any]) -> None:
        stdout.write(json.dumps(line).encode() + b"\n")
        stdout.flush()

    # Whatever is made open to few is made so by name; directories of a release are open to all.
    os.umask(0o022)
    request = json.loads(stdin.read(int(stdin.readline())))
    try:
        _answer(request, Contents(stdin), say)
    except Refused as error:
        say({"event": "refused", "reason": str(error), **error.details})
    except OSError as error:
        say({"event": "refused", "reason": told(error)})


def _answer(request: dict[str, Any], contents: Contents, say: Any) -> None:
    places = Places(request["root"])
    match request["verb"]:
        case "observe":
            seen = look(places, request["asked"])
            say({"event": "seen", **seen, "fingerprint": fingerprint(seen), "free": free_bytes(places)})
        case "apply":
            Apply(places, request, contents).run(say)
        case "audit":
            say({"event": "audit", "entries": read_audit(places, request["limit"])})
