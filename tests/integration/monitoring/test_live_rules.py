"""A rule about a series that does not exist passes every check of promtool and never fires."""

from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.metric import Group
from fleet.metrics.rules import alerts, series_named_by_rules
from tests.integration.monitoring.watched import Watched


def test_every_series_that_a_rule_names_exists_on_a_live_fleet(watched: Watched) -> None:
    missing = set(series_named_by_rules())

    def all_found() -> bool:
        missing.difference_update(watched.api("label/__name__/values"))
        return not missing

    assert watched.poll(all_found), missing


def test_every_declared_limit_and_every_worker_gauge_exists_on_a_live_fleet(watched: Watched) -> None:
    wanted = {name for name, metric in CATALOGUE.items() if metric.group in (Group.WORKER, Group.DECLARED)}
    # It has a value only while a task runs.
    wanted.discard("fleet_task_oldest_running_start_timestamp_seconds")
    assert watched.poll(lambda: wanted <= set(watched.api("label/__name__/values")))


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    def health() -> set[str]:
        return {rule["health"] for group in watched.api("rules")["groups"] for rule in group["rules"]}

    assert watched.poll(lambda: health() == {"ok"}), watched.api("rules")


def test_a_sound_fleet_raises_no_alert(watched: Watched) -> None:
    def raised() -> list[str]:
        return [alert["labels"]["alertname"] for alert in watched.api("alerts")["alerts"]]

    # While the first scrapes come in, not everything is known yet.
    assert watched.poll(lambda: not raised()), watched.api("alerts")


def test_a_limit_of_a_host_keeps_its_host_when_another_ones_worker_exports_it(watched: Watched) -> None:
    found = watched.api("query?query=fleet_job_max_age_seconds")["result"]
    assert {(series["metric"]["host"], series["metric"]["fleet"]) for series in found} == {("alpha", "test")}
    assert not [series for series in found if "exported_host" in series["metric"]]


def test_tasks_are_shown_at_zero_under_their_queues_name_in_the_broker(watched: Watched) -> None:
    found = watched.api("query?query=fleet_queue_newest_start_timestamp_seconds")["result"]
    broker = watched.api("query?query=rabbitmq_detailed_queue_messages")["result"]
    queues = {series["metric"]["queue"] for series in found}
    assert queues
    assert queues <= {series["metric"]["queue"] for series in broker}


def test_a_killed_worker_is_seen_as_down_and_its_queue_as_without_workers(watched: Watched) -> None:
    # Both rules want five minutes of it before they fire; here it is enough that they hold.
    down = {("FleetWorkerDown", "backup", None), ("FleetQueueHasNoWorkers", None, "fleet.backup.alpha")}

    def pending() -> set[tuple[str, str | None, str | None]]:
        found = [alert["labels"] for alert in watched.api("alerts")["alerts"]]
        return {(each["alertname"], each.get("worker"), each.get("queue")) for each in found}

    watched.workers["backup"].kill()
    try:
        assert watched.poll(lambda: pending() == down), pending()
    finally:
        watched.start_worker("backup")
    assert watched.poll(lambda: not pending()), pending()


def test_dead_letters_without_a_way_out_are_seen(watched: Watched) -> None:
    expr = next(alert.expr for alert in alerts() if alert.name == "FleetMessagesUndeliverable")
    name = watched.vhost.name
    watched.vhost.api("DELETE", f"bindings/{name}/e/fleet.dead/q/fleet.email.dlq/fleet.email.dlq")
    garbage = {
        "properties": {"delivery_mode": 2},
        "routing_key": "fleet.email",
        "payload": "no task at all",
        "payload_encoding": "string",
    }
    try:
        watched.vhost.api("POST", f"exchanges/{name}/amq.default/publish", garbage)
        assert watched.poll(lambda: watched.prometheus.value(expr) == 1)
        assert watched.prometheus.value("sum(fleet_tasks_unknown_total)") == 1
    finally:
        # The way out that the runbook names.
        assert watched.run("fleet", "provision", "broker", "--yes").returncode == 0
