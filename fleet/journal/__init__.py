"""How did the fleet's tasks end? One record per run, in a stream that outlives its readers and writers."""

from fleet.journal.reader import JournalReader, tail
from fleet.journal.record import Outcome
from fleet.journal.writer import JournalWriter

__all__ = ["JournalReader", "JournalWriter", "Outcome", "tail"]
