"""What does the demo claim, and what was seen?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement about fleet, with what was seen on the real components."""

    claim: str
    evidence: str
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to look further, while the demo is kept running."""

    what: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """Everything the demo has shown."""

    claims: tuple[Claim, ...]
    #: from the start of the first daemon to the end of the last
    seconds: float

    @property
    def ok(self) -> bool:
        """Tell whether every claim held."""
        return all(claim.ok for claim in self.claims)
