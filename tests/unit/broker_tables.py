"""The tables of a fleet file about its broker: a management API, and users that watch and that send."""

WATCHED_BROKER = """\
[broker]
url = "amqp://mq1"
password = "env:P"
[broker.management]
url = "http://mq1:15672"
user = "admin"
password = "env:A"
[broker.users.eyes]
role = "observer"
password = "env:P"
[broker.users.hands]
role = "operator"
password = "env:P"
"""
BROKER = f"""\
{WATCHED_BROKER}[broker.users.shop]
role = "publisher"
password = "env:P"
queues = ["email"]
[broker.users.app]
role = "publisher"
password = "env:P"
"""
