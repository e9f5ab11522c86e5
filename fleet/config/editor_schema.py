"""What does an editor need to complete and check a fleet file?"""

from typing import Any

from fleet.config.schema import FleetFile


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a fleet file (draft 2020-12)."""
    schema = FleetFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
