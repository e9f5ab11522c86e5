"""What every test shares: the private servers, and the rule that a skip in CI is a failure."""

import os
from collections.abc import Generator

import pytest

pytest_plugins = ["tests.servers", "tests.hosts.fixtures", "tests.hosts.site", "tests.contract.place"]


#: what leads to hosts of the lab
LAB_FIXTURES = frozenset({"lab", "each_broker"})


# Before pytest's own, which chooses by what is marked here.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on hosts of a lab, to be chosen or left out by that."""
    for item in items:
        if "tests/hosts/" in item.nodeid or not LAB_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.hosts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # An expected failure is reported as a skip, too, and is none.
    if report.skipped and not hasattr(report, "wasxfail") and _in_ci():
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and _in_ci():
        _fail(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missing = {_reason(report) for report in terminalreporter.stats.get("skipped", [])}
    if missing:
        terminalreporter.write_line(f"skipped here, a failure in CI: {'; '.join(sorted(missing))}")


def _in_ci() -> bool:
    return os.environ.get("CI", "") not in {"", "0", "false"}


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    report.outcome = "failed"
    report.longrepr = f"skipped, which counts as a failure in CI: {_reason(report)}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    where = report.longrepr
    return where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else str(where)
