"""What does an editor need to complete and check a fleet file?"""

from typing import Any

from fleet.config.schema import FleetFile
from fleet.config.schema_docs import describe


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a fleet file (draft 2020-12)."""
    schema = _for_toml(describe(FleetFile.model_json_schema(by_alias=True), FleetFile))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "fleet.toml", **schema}


def _for_toml(schema: Any) -> Any:
    """Return ``schema`` without what no TOML file can hold (null) and no editor shows (made-up titles)."""
    if isinstance(schema, list):
        return [_for_toml(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: _for_toml(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }
    if len(found.get("anyOf", ())) == 1:
        found |= found.pop("anyOf")[0]
    if "patternProperties" in found:
        # pydantic refuses names that match no pattern; JSON Schema lets them pass unless told.
        found["additionalProperties"] = False
    return found
