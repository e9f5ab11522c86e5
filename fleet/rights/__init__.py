"""What may a broker user do, in an operator's words?

Derived by the simulator from what the broker would allow, so an expression that reaches further than it looks
is found, whoever wrote it.
"""

from fleet.rights.explain import Ability, Explanation, explain

__all__ = ["Ability", "Explanation", "explain"]
