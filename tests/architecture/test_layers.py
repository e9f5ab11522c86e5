"""The layer table of docs/explanation/architecture.md, as a test."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from provisioning.hosts.sending import AGENT
from provisioning.hosts.sending import MODULES as AGENT_MODULES

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
    "fleet.accounts": 1,
    "fleet.rotation": 1,
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
    "fleet.publish.shortfall": 1,
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
    "fleet.hosts.assembled": 2,
    "fleet.hosts.built": 2,
    "fleet.hosts.own": 2,
    "fleet.hosts.cache": 2,
    "fleet.hosts.archives": 2,
    "fleet.hosts.fetched": 2,
    "fleet.hosts.parts": 2,
    "fleet.hosts.pip": 2,
    "fleet.hosts.install": 2,
    "fleet.hosts.performing": 2,
    "fleet.worker": 3,
    "fleet.worker.delay": 1,
    "fleet.worker.message": 1,
    "fleet.worker.notify": 2,
    "fleet.worker.plain": 2,
    "fleet.worker.acks": 2,
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
    "paramiko": ("provisioning.hosts.ssh",),
    "invoke": ("provisioning.hosts.ssh",),
    "prometheus_client": ("fleet.metrics",),
    "requests": (
        "fleet.mail.esp",
        "fleet.urls",
        "provisioning.broker.http_api",
        "fleet.doctor.management",
        "fleet.ops",
    ),
    "smtplib": ("fleet.mail.smtp",),
    "jinja2": ("fleet.mail.templates",),
    "click": ("fleet.cli", "provisioning.__main__", "provisioning.options"),
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


def modules() -> dict[str, Path]:
    """Return every module's dotted name with its file."""
    found = {}
    for package in ("fleet", "provisioning"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports() -> Iterator[tuple[str, str]]:
    """Yield every module with each dotted name that it imports, outside ``if TYPE_CHECKING``."""
    for module, path in MODULES.items():
        yield from ((module, name) for name in imported(ast.parse(path.read_text())))


def imported(block: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(block):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and child.level == 0:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        # An import is a statement, so no expression need be looked into.
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case) and not is_for_types(child):
            yield from imported(child)


def is_for_types(block: ast.AST) -> bool:
    return isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"


def layer(module: str) -> int:
    matching = [prefix for prefix in LAYERS if module == prefix or module.startswith(prefix + ".")]
    return LAYERS[max(matching, key=len)]


def is_under(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


# One test a rule, not one a rule and module: a thousand tests would take longer than all they look at.
#: read once: parsing every module takes a second
IMPORTS = tuple(imports())


def test_imports_point_downward_only() -> None:
    # ``fleet.__init__`` offers Client lazily, on first use.
    assert not [
        (module, name)
        for module, name in IMPORTS
        if is_under(name, "fleet")
        and (
            is_under(module, "provisioning")
            or ("fleet" not in (module, name) and layer(name) > layer(module))
        )
    ]


def test_each_foreign_package_has_its_doors() -> None:
    assert not [
        (module, name)
        for module, name in IMPORTS
        if (package := name.partition(".")[0]) in DOORS
        and not any(is_under(module, prefix) for prefix in DOORS[package])
    ]


def test_pure_rooms_import_no_clock_environment_or_input() -> None:
    assert not [
        (module, name)
        for module, name in IMPORTS
        if name in PURE_FORBIDDEN and not is_under(module, "provisioning") and layer(module) == 1
    ]


def test_the_agent_of_a_host_imports_pythons_library_and_what_is_loaded_before_it() -> None:
    before: list[str] = []
    for name in AGENT_MODULES:
        for module, found in IMPORTS:
            if module == f"{AGENT}.{name}" and found != AGENT:
                in_order = any(is_under(found, f"{AGENT}.{each}") for each in before)
                assert in_order or found.partition(".")[0] in sys.stdlib_module_names, (module, found)
        before.append(name)
    assert set(before) == {name.removeprefix(f"{AGENT}.") for name in MODULES if name.startswith(f"{AGENT}.")}


def test_beat_and_workers_never_use_the_outbox() -> None:
    # Beat's time is now: what it cannot send, it sends late or not at all, as the entry's grace says.
    assert not [
        (module, name)
        for module, name in IMPORTS
        if (is_under(module, "fleet.beat") or is_under(module, "fleet.worker"))
        and (is_under(name, "fleet.outbox") or is_under(name, "fleet.client"))
    ]


def test_every_module_stands_in_the_table() -> None:
    named = [prefix for prefix in LAYERS if prefix != "fleet"]
    assert not [
        module
        for module in MODULES
        if is_under(module, "fleet")
        and module != "fleet"
        and not any(is_under(module, prefix) for prefix in named)
    ]


def test_imports_are_seen_wherever_they_stand() -> None:
    text = """
import a.b
if TYPE_CHECKING:
    import types_only
else:
    import never
def f():
    try:
        from c import d
    except OSError:
        with open(p):
            import e
    match x:
        case 1:
            class K:
                async def g(self):
                    for _ in y:
                        import f as h
"""
    assert set(imported(ast.parse(text))) == {"a.b", "c", "c.d", "e", "f"}
