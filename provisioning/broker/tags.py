"""Which tags of users and vhosts does RabbitMQ keep as they are written?

It turns each into an atom of Erlang: without the blanks around it, each byte taken as a character, and of no
more than so many characters. Measured on 3.10.8 and 4.0.5.
"""

LONGEST_TAG = 255


def is_kept(tag: str) -> bool:
    """Tell whether the broker gives ``tag`` back as it was set."""
    return tag.isascii() and tag == tag.strip() and len(tag) <= LONGEST_TAG
