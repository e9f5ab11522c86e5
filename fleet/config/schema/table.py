"""What do all tables of a fleet file have in common?"""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of the fleet file: unknown keys are errors, values keep their type."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        defer_build=True,
    )
