"""Does each node of the broker let new users in, before anybody depends on it?"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fleet.connection import NOBODY_ANSWERED, Target, connect
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, PartlyDone
from fleet.login import Login
from fleet.model import Broker

#: for how long a node may refuse users that another node has just been told of, or be silent
PROOF_SECONDS = 15.0
PAUSE_SECONDS = 0.5
#: by which the broker's list of connections and its log know the attempts
NAME = "fleet rotate"


def prove(broker: Broker, logins: Sequence[Login], *, wait_seconds: float = PROOF_SECONDS) -> tuple[str, ...]:
    """Return when every node that answers has let each of ``logins`` in; return, in words, who does not.

    A silent node refuses nobody, and hears of the users from the others before it takes connections.
    Raises PartlyDone where a node goes on refusing, and BrokerUnreachable where none answers.
    """
    until = time.monotonic() + wait_seconds
    with ThreadPoolExecutor(max_workers=len(broker.nodes)) as pool:
        found = tuple(
            pool.map(lambda node: _ask(replace(broker, nodes=(node,)), logins, until), broker.nodes)
        )
    refused = [error.message for error in found if isinstance(error, BrokerRefused)]
    if refused:
        raise PartlyDone(
            f"a new login does not work everywhere, so nobody got it: {'; '.join(refused)}",
            hint="is that node cut off from the others? see `fleet doctor broker`; then run it again",
        )
    silent = tuple(error.message.removeprefix(NOBODY_ANSWERED) for error in found if error is not None)
    if len(silent) == len(found):
        raise BrokerUnreachable(
            f"no node says whether it lets the new users in, so nobody got a new login: {'; '.join(silent)}",
            hint="run it again when the broker answers; `--unproved` where it never does from this machine",
        )
    return silent


def _ask(broker: Broker, logins: Sequence[Login], until: float) -> FleetError | None:
    """Return why a node does not let all of ``logins`` in; it is asked again until then."""
    for login in logins:
        while (error := _attempt(broker, login)) is not None:
            if time.monotonic() >= until:
                return error
            # No node tells when it has heard of a user, but to who asks.
            time.sleep(PAUSE_SECONDS)
    return None


def _attempt(broker: Broker, login: Login) -> FleetError | None:
    try:
        connect(Target(broker=broker, login=login, name=NAME)).close()
    except (BrokerRefused, BrokerUnreachable) as error:
        return error
    except OSError:
        # It let us in, and was gone before the farewell.
        return None
    return None
