"""Users of a lab host who are not root."""

from tests.hosts.lab import Host


def add_user(host: Host, name: str, *, sudoers: str = "", password: str = "") -> None:
    """Make a user who is let in with the lab's key, and who may become root as ``sudoers`` says."""
    host.run(
        "sh",
        "-c",
        f"id {name} 2>/dev/null || useradd --create-home --shell /bin/bash {name};"
        f"install -d -o {name} /home/{name}/.ssh;"
        f"install -o {name} -m 600 /root/.ssh/authorized_keys /home/{name}/.ssh/",
    )
    if password:
        host.run("chpasswd", stdin=f"{name}:{password}\n".encode())
    host.put(f"/etc/sudoers.d/{name}", f"{sudoers}\n" if sudoers else "", mode=0o440)
