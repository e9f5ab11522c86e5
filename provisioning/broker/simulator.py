"""May this user do that, would a broker in this state say?

Pure: users, permissions, topic permissions and exchanges in, a verdict with its reason out. A contract test
compares the verdicts with those of real brokers.
"""

from dataclasses import dataclass, field

from provisioning.broker.expression import matches
from provisioning.broker.objects import Permission, TopicPermission
from provisioning.broker.operations import DEFAULT_EXCHANGE, Facts, Need, Operation, Refusal, Right, Step
from provisioning.broker.state import State

#: exchanges that every vhost has, and their types
BROKERS_EXCHANGES = {
    DEFAULT_EXCHANGE: "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.topic": "topic",
    "amq.rabbitmq.trace": "topic",
}
#: first version that compares the keys of CC and BCC with topic permissions (rabbitmq-server#12553)
COPIES_CHECKED_SINCE = (4, 0, 3)
#: the only type of exchange that topic permissions are for
TOPIC = "topic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the broker allows something, and the expression or rule that decides it."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What one user may do in one vhost."""

    user: str
    vhost: str
    #: None: the user may not even open the vhost
    permission: Permission | None
    #: by exchange
    topic_permissions: dict[str, TopicPermission]
    #: exchange → type
    exchanges: dict[str, str]
    queues: frozenset[str]
    version: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, state: State, user: str, vhost: str, *, version: tuple[int, ...] = ()) -> "Rights":
        """Return the rights of ``user`` on a broker in ``state``; unknown is taken as the oldest version."""
        rows = {(row.user, row.vhost): row for row in state.permissions}
        topics = (row for row in state.topic_permissions if (row.user, row.vhost) == (user, vhost))
        declared = {each.name: each.type for each in state.exchanges if each.vhost == vhost}
        return cls(
            user=user,
            vhost=vhost,
            permission=rows.get((user, vhost)),
            topic_permissions={row.exchange: row for row in topics},
            exchanges=BROKERS_EXCHANGES | declared,
            queues=frozenset(each.name for each in state.queues if each.vhost == vhost),
            version=version,
        )

    def judge(self, operation: Operation) -> Verdict:
        """Say whether the broker lets the user do this; that an object is missing is no refusal."""
        verdict = self._enter()
        facts = Facts(
            queues=self.queues,
            exchanges=self.exchanges,
            checks_copies=self.version >= COPIES_CHECKED_SINCE,
        )
        for step in operation.steps(facts):
            if not verdict.allowed:
                break
            verdict = self._take(step)
        return verdict

    def may(self, right: Right, name: str, *, key: str | None = None) -> Verdict:
        """Say whether the user has ``right`` on the queue or exchange ``name``, there by routing key ``key``.

        Without a key, topic permissions are not asked.
        """
        entered = self._enter()
        wanted = Need(right=right, name=name or DEFAULT_EXCHANGE, key=key)
        return self._has(wanted) if entered.allowed else entered

    def allows(self, operation: Operation) -> bool:
        """Tell whether the broker lets the user do this."""
        return self.judge(operation).allowed

    def limits_keys(self, exchange: str) -> bool:
        """Tell whether a topic permission limits the user's keys on ``exchange``."""
        return self.exchanges.get(exchange) == TOPIC and exchange in self.topic_permissions

    def _enter(self) -> Verdict:
        if self.permission is None:
            reason = f"user `{self.user}` has no permission in vhost `{self.vhost}`, so it cannot open it"
            return Verdict(allowed=False, reason=reason)
        return Verdict(allowed=True, reason="everybody who may open the vhost may")

    def _take(self, step: Step) -> Verdict:
        return Verdict(allowed=False, reason=step.reason) if isinstance(step, Refusal) else self._has(step)

    def _has(self, need: Need) -> Verdict:
        expression = str(getattr(self.permission, need.right))
        if not matches(expression, need.name):
            reason = f"its {need.right} permission, `{expression}`, does not match `{need.name}`"
            return Verdict(allowed=False, reason=reason)
        if need.key is not None and need.right is not Right.CONFIGURE and self.limits_keys(need.name):
            return self._has_key(need, need.key)
        return Verdict(
            allowed=True, reason=f"its {need.right} permission, `{expression}`, matches `{need.name}`"
        )

    def _has_key(self, need: Need, key: str) -> Verdict:
        row = self.topic_permissions[need.name]
        expression = self._expanded(row.write if need.right is Right.WRITE else row.read)
        allowed = matches(expression, key)
        verb = "matches" if allowed else "does not match"
        reason = f"its topic permission to {need.right} on `{need.name}`, `{expression}`, {verb} key `{key}`"
        return Verdict(allowed=allowed, reason=reason)

    def _expanded(self, expression: str) -> str:
        """Put in variables as the broker does: unescaped, so that a dot in a user's name matches anything."""
        return expression.replace("{username}", self.user).replace("{vhost}", self.vhost)
