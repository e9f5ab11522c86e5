from fleet.config.parse import parse

REST = """
[broker]
url = "amqp://mq1"
password = "env:P"
[hosts.alpha]
[broker.management]
user = "admin"
password = "env:A"
"""


def test_the_management_api_of_each_node_is_tried_in_turn() -> None:
    urls = 'urls = ["https://mq1:15671/", "https://mq2:15671"]\n'
    shown = 'cert = "/etc/fleet/admin.crt"\nkey = "/etc/fleet/admin.key"\n'
    management = parse(REST + urls + shown, source="fleet.toml").broker.management
    assert management is not None
    assert management.urls == ("https://mq1:15671", "https://mq2:15671")
    assert (management.cert, management.key) == ("/etc/fleet/admin.crt", "/etc/fleet/admin.key")
