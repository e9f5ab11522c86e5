import smtplib
import socket
import subprocess
from email.message import EmailMessage
from pathlib import Path

import pytest

from fleet.daemons.prometheus import PrometheusServer
from fleet.daemons.redis import RedisServer
from fleet.daemons.smtp import SmtpSink
from fleet.daemons.smtp_rules import Rule, Stage
from tests.servers import skipped_without_packages


def send(sink: SmtpSink, recipient: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "fleet@example.org", recipient, "Grüße"
    message.set_content("täglich")
    with smtplib.SMTP(sink.host, sink.port, timeout=10) as connection:
        connection.send_message(message)


def test_redis_asks_for_its_password(redis: RedisServer) -> None:
    with socket.create_connection(("127.0.0.1", redis.port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(64).startswith(b"-NOAUTH")


def test_prometheus_answers_queries(tmp_path: Path) -> None:
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text("global: {scrape_interval: 1s}\n")
    with skipped_without_packages():
        server = PrometheusServer.start(tmp_path / "prometheus", configuration=configuration)
    with server:
        assert server.value("vector(1)") == 1
        assert server.value("no_such_series") is None


def test_promtool_is_found(promtool: Path) -> None:
    done = subprocess.run((promtool, "--version"), capture_output=True, text=True, timeout=20, check=True)
    assert "promtool" in done.stdout + done.stderr


def test_the_sink_keeps_what_it_accepts(smtp: SmtpSink) -> None:
    send(smtp, "anna@example.org")
    (kept,) = smtp.messages()
    assert kept.recipients == ("anna@example.org",)
    assert kept.message()["Subject"] == "Grüße"


def test_a_rule_answers_its_recipient_the_first_times_only(smtp: SmtpSink) -> None:
    smtp.script([Rule(recipient="slow@*", reply="451 4.3.0 try again later", times=1)])
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(smtp, "slow@example.org")
    assert refused.value.recipients["slow@example.org"][0] == 451
    send(smtp, "slow@example.org")
    send(smtp, "anna@example.org")
    assert len(smtp.messages()) == 2


def test_a_message_may_be_refused_after_its_data(smtp: SmtpSink) -> None:
    smtp.script([Rule(recipient="*", reply="554 5.7.1 no", stage=Stage.DATA)])
    with pytest.raises(smtplib.SMTPDataError, match=r"5\.7\.1"):
        send(smtp, "anna@example.org")
    assert smtp.messages() == ()


def test_the_sink_may_hang_up_after_it_has_kept_a_message(smtp: SmtpSink) -> None:
    smtp.script([Rule(recipient="*", stage=Stage.DATA, disconnect=True)])
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        send(smtp, "anna@example.org")
    assert len(smtp.messages()) == 1
