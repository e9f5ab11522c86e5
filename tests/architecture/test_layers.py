"""The layer table of docs/explanation/architecture.md, as a test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: module prefix → layer; the longest prefix wins.
#: L0 words, L1 pure, L2 doors, L3 runtime, L4 verbs, L5 command line.
LAYERS = {
    "fleet": 0,
    "fleet.errors": 0,
    "fleet.model": 0,
    "fleet.secrets": 0,
    "fleet.config": 1,
    "fleet.adopt": 1,
    "fleet.doctor": 1,
    "fleet.doctor.command": 2,
    "fleet.doctor.endpoints": 2,
    "fleet.doctor.management": 2,
    "fleet.routes": 1,
    "fleet.roles": 1,
    "fleet.topology": 1,
    "fleet.rights": 1,
    "fleet.schedule": 1,
    "fleet.backup": 1,
    "fleet.mail": 1,
    "fleet.metrics": 1,
    "fleet.fleetfile": 2,
    "fleet.backup.child": 2,
    "fleet.backup.compare": 2,
    "fleet.backup.destination": 2,
    "fleet.backup.disk": 2,
    "fleet.backup.launch": 2,
    "fleet.backup.lock": 2,
    "fleet.backup.mirror": 2,
    "fleet.backup.owners": 2,
    "fleet.backup.part": 2,
    "fleet.backup.restore": 2,
    "fleet.backup.run": 2,
    "fleet.backup.snapshot": 2,
    "fleet.backup.sources": 2,
    "fleet.backup.store": 2,
    "fleet.backup.transfer": 2,
    "fleet.mail.files": 2,
    "fleet.mail.smtp": 2,
    "fleet.mail.esp": 2,
    "fleet.mail.send": 2,
    "fleet.metrics.registry": 2,
    "fleet.metrics.tasks": 2,
    "fleet.metrics.http": 2,
    "fleet.metrics.server": 2,
    "fleet.metrics.collectors": 2,
    "fleet.login": 2,
    "fleet.certificates": 2,
    "fleet.connection": 2,
    "fleet.publish": 2,
    "fleet.publish.message": 1,
    "fleet.publish.compose": 1,
    "fleet.results": 2,
    "fleet.journal": 2,
    "fleet.journal.record": 1,
    "fleet.ledger": 2,
    "fleet.outbox": 2,
    "fleet.outbox.record": 1,
    "fleet.outbox.schema": 1,
    "fleet.letters": 1,
    "fleet.letters.look": 2,
    "fleet.letters.outcomes": 2,
    "fleet.urls": 2,
    "fleet.daemons": 2,
    "fleet.hosts": 1,
    "fleet.hosts.material": 2,
    "fleet.hosts.release": 2,
    "fleet.hosts.own": 2,
    "fleet.hosts.install": 2,
    "fleet.worker": 3,
    "fleet.worker.delay": 1,
    "fleet.worker.message": 1,
    "fleet.worker.notify": 2,
    "fleet.worker.wire": 2,
    "fleet.beat": 3,
    "fleet.ops": 4,
    "fleet.client": 4,
    "fleet.cli": 5,
}

#: foreign package → the lowest module prefixes that may import it; every other import of it is a leak
DOORS = {
    "celery": ("fleet.worker", "fleet.beat"),
    "kombu": ("fleet.publish", "fleet.journal", "fleet.worker", "fleet.beat"),
    "amqp": (
        "fleet.connection",
        "fleet.publish",
        "fleet.journal",
        "fleet.letters.look",
        "fleet.worker",
        "fleet.beat",
    ),
    "redis": ("fleet.publish.redis", "fleet.results", "fleet.worker"),
    "billiard": ("fleet.worker",),
    "fabric": ("provisioning.hosts.ssh",),
    "prometheus_client": ("fleet.metrics", "fleet.worker.run", "fleet.beat"),
    "requests": (
        "fleet.mail.esp",
        "fleet.urls",
        "provisioning.broker.http_api",
        "fleet.doctor.management",
        "fleet.ops",
    ),
    "smtplib": ("fleet.mail.smtp",),
    "jinja2": ("fleet.mail.templates",),
    "click": ("fleet.cli", "provisioning.__main__"),
    "rich": ("fleet.cli",),
    "pydantic": ("fleet.config",),
    "sqlite3": ("fleet.ledger", "fleet.outbox.database"),
}

PURE_FORBIDDEN = {
    "os",
    "subprocess",
    "socket",
    "time",
    "random",
    "threading",
    "urllib.request",
    "shutil",
    "tempfile",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in ("fleet", "provisioning"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that ``tree`` imports, outside ``if TYPE_CHECKING``."""
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module: str) -> int:
    matching = [prefix for prefix in LAYERS if module == prefix or module.startswith(prefix + ".")]
    return LAYERS[max(matching, key=len)]


def is_under(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


#: read once: parsing every module takes a second
MODULES = tuple(modules())


@pytest.mark.parametrize(
    ("module", "tree"), MODULES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_imports_point_downward_only(module: str, tree: ast.Module) -> None:
    if is_under(module, "provisioning"):
        assert not [name for name in imports(tree) if is_under(name, "fleet")]
        return
    upward = [
        name
        for name in imports(tree)
        if is_under(name, "fleet") and name != "fleet" and layer(name) > layer(module)
    ]
    # ``fleet.__init__`` offers Client lazily, on first use.
    assert not [name for name in upward if module != "fleet"]


@pytest.mark.parametrize(
    ("module", "tree"), MODULES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_foreign_package_has_its_doors(module: str, tree: ast.Module) -> None:
    leaks = [
        name
        for name in imports(tree)
        for package, allowed in DOORS.items()
        if is_under(name, package) and not any(is_under(module, prefix) for prefix in allowed)
    ]
    assert not leaks


@pytest.mark.parametrize(
    ("module", "tree"), MODULES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_pure_rooms_import_no_clock_environment_or_input(module: str, tree: ast.Module) -> None:
    if is_under(module, "provisioning") or layer(module) != 1:
        return
    assert not [name for name in imports(tree) if name in PURE_FORBIDDEN]


def test_beat_and_workers_never_use_the_outbox() -> None:
    # Beat's time is now: what it cannot send, it sends late or not at all, as the entry's grace says.
    assert not [
        module
        for module, tree in MODULES
        for name in imports(tree)
        if (is_under(module, "fleet.beat") or is_under(module, "fleet.worker"))
        and (is_under(name, "fleet.outbox") or is_under(name, "fleet.client"))
    ]


def test_every_module_stands_in_the_table() -> None:
    named = [prefix for prefix in LAYERS if prefix != "fleet"]
    for module, _ in MODULES:
        if is_under(module, "fleet") and module != "fleet":
            assert any(is_under(module, prefix) for prefix in named), module
