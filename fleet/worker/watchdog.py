"""Does this worker get anywhere? Two ways to hang that neither Celery nor a heartbeat notices.

The event loop may block; or it turns, the connection lives, and still nothing is delivered or nothing starts.
The second kind can only be told from having nothing to do by asking the broker, so an idle worker asks it,
once in a long while. Pure: what was seen comes in, what to do goes out.
"""

from dataclasses import dataclass

#: how long nothing may happen while there is something to do
LIMIT_SECONDS = 300.0
#: a queue that held messages is asked again after this share of the limit: they may just have come
AGAIN_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A worker at one moment, as its watchdog sees it."""

    #: monotonic seconds
    now: float
    connected: bool
    #: seconds since the event loop last turned; None where it need not turn
    loop_age_seconds: float | None
    #: grows whenever a message comes, a run begins or a run ends
    progress: int
    #: tasks that run
    running: int
    #: messages that wait for a free slot of the pool
    reserved: int
    #: messages wait on purpose: for a rate limit, for their time, for the broker to take a copy
    waits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fine:
    """Nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask the broker how many messages are ready, and tell ``answered``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """The process is to end, so that it is started again."""

    #: for a log line
    reason: str


Judgement = Fine | Ask | Stuck


class Watchdog:
    """Remembers since when nothing has happened."""

    def __init__(self, limit_seconds: float = LIMIT_SECONDS) -> None:
        self._limit = limit_seconds
        self._progress: int | None = None
        #: monotonic time from which on nothing has happened
        self._idle_since = 0.0
        self._ask_at = 0.0
        #: ready messages at the first look, when there were any
        self._suspected = 0
        self._confirmed = False

    def judge(self, sight: Sight) -> Judgement:
        """Return what follows from ``sight``."""
        if sight.connected and (sight.loop_age_seconds or 0.0) > self._limit:
            return Stuck(reason=f"the event loop has not turned for {sight.loop_age_seconds:.0f} s")
        if sight.progress != self._progress or sight.running or sight.waits:
            self._progress = sight.progress
            self._rest(sight.now)
            return Fine()
        idle = sight.now - self._idle_since
        if idle >= self._limit and sight.reserved:
            return Stuck(reason=f"{sight.reserved} messages are held and none has started for {idle:.0f} s")
        if self._confirmed:
            return Stuck(reason=f"{self._suspected} messages are ready and none has come for {idle:.0f} s")
        return Ask() if sight.now >= self._ask_at else Fine()

    def answered(self, ready: int | None, *, now: float) -> None:
        """Take the broker's answer: how many messages are ready, None where it gave none."""
        if not ready:
            self._rest(now)
        elif self._suspected:
            self._confirmed = True
        else:
            self._suspected = ready
            self._ask_at = now + self._limit * AGAIN_SHARE

    def _rest(self, now: float) -> None:
        self._idle_since = now
        self._ask_at = now + self._limit
        self._suspected, self._confirmed = 0, False
