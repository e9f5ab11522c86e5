"""How does a door say that it could not see something?"""


class Unseen(Exception):
    """One fact could not be seen; the text says why."""
