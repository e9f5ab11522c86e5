"""What does the broker itself say about the demo's queues? Read from its HTTP API."""

import base64
import http.client
import json
from urllib.parse import quote

from fleet.daemons.process import LOOPBACK
from fleet.ops.demo.sandbox import Sandbox, StepFailed
from fleet.ops.private_broker import VHOST


def queue_depth(sandbox: Sandbox, queue: str) -> int:
    """Return how many messages ``queue`` holds. Raises StepFailed when the broker does not tell."""
    node = sandbox.node
    login = f"{node.admin_user}:{node.admin_password.reveal()}".encode()
    connection = http.client.HTTPConnection(LOOPBACK, node.management_port, timeout=10)
    try:
        path = f"/api/queues/{quote(VHOST, safe='')}/{quote(queue, safe='')}"
        connection.request(
            "GET", path, headers={"Authorization": f"Basic {base64.b64encode(login).decode()}"}
        )
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise StepFailed(f"the broker does not know queue `{queue}`: HTTP {response.status}")
    return int(json.loads(body).get("messages", 0))
