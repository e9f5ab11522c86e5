"""Where does everything lie on a host?"""

USER = "fleet"
ETC = "/etc/fleet"
FLEET_FILE = f"{ETC}/fleet.toml"
CREDENTIALS = f"{ETC}/credentials"
CA = f"{ETC}/ca.pem"
CLIENT_CERT = f"{ETC}/client.pem"
CLIENT_KEY = f"{ETC}/client.key"
SMTP_CA = f"{ETC}/smtp-ca.pem"
TEMPLATES = f"{ETC}/mail"
OPT = "/opt/fleet"
RELEASES = f"{OPT}/releases"
#: archives on their way in
INCOMING = f"{OPT}/incoming"
CURRENT = f"{OPT}/current"
#: link to the release that was current before, and to the one that a rollback has left
PREVIOUS = f"{OPT}/previous"
UNDONE = f"{OPT}/undone"
#: is there while the host's workers shall not run
DRAINED = f"{ETC}/drained"
COMMAND = "/usr/local/bin/fleet"
UNITS = "/etc/systemd/system"
VAR_LIB = "/var/lib"
#: the home of the user ``fleet``; also where ``StateDirectory=`` puts things by default
HOME = f"{VAR_LIB}/fleet"


def release_directory(release: str) -> str:
    """Return the directory of the release of this name."""
    return f"{RELEASES}/{release}"


def kept_file(release: str) -> str:
    """Return the file that says with what the release of this name ran."""
    return f"{release_directory(release)}/bundle.json"


def credential_file(name: str) -> str:
    """Return the file that systemd loads credential ``name`` from."""
    return f"{CREDENTIALS}/{name}"
