"""Write what Prometheus needs to see and judge this fleet: targets, configuration, rules."""

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import FleetError
from fleet.metrics.rule import rule_file
from fleet.metrics.rules import GROUPS
from fleet.metrics.scrape import ScrapePlan, scrape_file, target_file, targets
from fleet.metrics.yaml import Plain, render
from fleet.model import Fleet

_HEADER = "# Written by `fleet prometheus {verb}`; changes made here are lost.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file for Prometheus."""

    #: as plain data
    content: Plain
    #: as the file holds it
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a file."""

    path: str
    #: False when the file held this text already
    changed: bool


def target_document(fleet: Fleet) -> Document:
    """Return the file_sd file with every worker of the inventory."""
    content = target_file(targets(fleet))
    return Document(content=content, text=json.dumps(content, indent=2) + "\n")


def scrape_document(fleet: Fleet, plan: ScrapePlan) -> Document:
    """Return a Prometheus configuration that scrapes the fleet and its broker."""
    content = scrape_file(fleet, plan)
    return Document(content=content, text=_HEADER.format(verb="config") + render(content))


def rule_document(*, runbook_url: str) -> Document:
    """Return the alert rules; ``{alert}`` in ``runbook_url`` stands for an alert's name."""
    content = rule_file(GROUPS, runbook_url=runbook_url)
    return Document(content=content, text=_HEADER.format(verb="rules") + render(content))


def write(document: Document, path: Path) -> Written:
    """Replace the file at ``path`` in one step, so that Prometheus never reads half of it.

    Raises FleetError when the directory cannot be written.
    """
    try:
        if path.exists() and path.read_text(encoding="utf-8") == document.text:
            return Written(path=str(path), changed=False)
        _replace(path, document.text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds something that is not text"
        raise FleetError(
            f"cannot write {path}: {reason}", hint=f"check `ls -ld -- {path.parent} {path}`"
        ) from error
    return Written(path=str(path), changed=True)


def _replace(path: Path, text: str) -> None:
    # The name ends in .new, so that a pattern such as targets/*.json does not find the unfinished file.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            # Nothing in it is secret, and Prometheus runs as a user of its own.
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
