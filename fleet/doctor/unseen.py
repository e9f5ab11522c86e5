"""How does a door say that it could not see something?"""

from collections.abc import Iterator
from contextlib import contextmanager

from provisioning.errors import ProvisioningError


class Unseen(Exception):
    """One fact could not be seen; the text says why."""


@contextmanager
def unseen_otherwise(who: str) -> Iterator[None]:
    """Turn an error of the door, and an answer of another form than ``who`` gives, into Unseen."""
    try:
        yield
    except ProvisioningError as error:
        raise Unseen(error.message) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unseen(f"{who} answers in a form that is not known") from error
