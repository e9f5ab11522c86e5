"""Where does a task wait while no broker answers? In a file of this machine, in order."""

from fleet.outbox.forward import Forwarded, Held, forward
from fleet.outbox.record import Backlog, KeptTask, QueueBacklog, Volume
from fleet.outbox.store import Outbox

__all__ = ["Backlog", "Forwarded", "Held", "KeptTask", "Outbox", "QueueBacklog", "Volume", "forward"]
