"""How is a file written that nobody else may read? As provisioning writes its own."""

from provisioning.private_file import write_private

__all__ = ["write_private"]
