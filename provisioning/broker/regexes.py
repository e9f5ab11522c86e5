"""Would RabbitMQ refuse this regular expression?

RabbitMQ compiles with PCRE, over bytes. Python's ``re`` differs: only what both refuse is called a fault, and
what PCRE alone refuses is listed. The rest is left to the broker.
"""

import re

#: beginnings of what Python says about faults that PCRE finds, too
_FAULTS = (
    "missing ), unterminated subpattern",
    "unbalanced parenthesis",
    "nothing to repeat",
    "bad escape (end of pattern)",
    "unterminated character set",
    "bad character range",
    "min repeat greater than max repeat",
)
#: syntax after which Python may misread what PCRE reads well: quoted text, comments, verbs, POSIX classes
_PCRE_ONLY = re.compile(r"\\[QEcgkopPxX]|\(\?[#|R&'0-9(+-]|\(\*|\[\[|\[\^?\[|\[\^?\]|\(\?\w*x")
#: escapes that PCRE knows of and refuses
_REFUSED_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\([lLuU]|N\{[^}0-9])")


def fault(expression: str) -> str | None:
    """Return why RabbitMQ would refuse ``expression``, or None if it is not known that it would."""
    if _PCRE_ONLY.search(expression):
        return None
    if found := _REFUSED_ESCAPE.search(expression):
        return f"RabbitMQ does not know the escape \\{found[1][0]}"
    try:
        re.compile(expression.encode())
    except re.error as error:
        # A class such as \\d at the end of a range makes it three characters, to PCRE.
        is_class = error.msg.startswith("bad character range") and "\\" in error.msg
        return error.msg if error.msg.startswith(_FAULTS) and not is_class else None
    except (OverflowError, RecursionError):
        return None
    return None
