"""What was asked of this host? One request is read, and one line of JSON written for each answer."""

import json
import os
from typing import IO, Any

from provisioning.hosts.agent.keeping import read_audit
from provisioning.hosts.agent.look import fingerprint, free_bytes, holders, look, runtime
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
        _answer(request, stdin, say)
    except Refused as error:
        say({"event": "refused", "reason": str(error), **error.details})
    except OSError as error:
        say({"event": "refused", "reason": told(error)})


def _answer(request: dict[str, Any], stdin: IO[bytes], say: Any) -> None:
    places = Places(request["root"])
    match request["verb"]:
        case "observe":
            say({"event": "seen", **_seen(places, request["asked"])})
        case "apply":
            # Not sent along, and not loaded, where nothing is changed.
            from provisioning.hosts.agent.change import Apply, Contents

            Apply(places, request, Contents(stdin)).run(say)
        case "audit":
            say({"event": "audit", "entries": read_audit(places, request["limit"])})


def _seen(places: Places, asked: dict[str, Any]) -> dict[str, Any]:
    seen = look(places, asked)
    holding = {each: holders(places, each, file) for each, file in asked.get("holding", {}).items()}
    besides = {"free": free_bytes(places), "runtime": runtime(), "holding": holding}
    return {**seen, **besides, "fingerprint": fingerprint(seen)}
