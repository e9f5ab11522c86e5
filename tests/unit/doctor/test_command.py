"""What rabbitmqctl prints is read whatever the locale, and what is no answer was not seen."""

import pytest

from fleet.doctor.command import CommandView
from fleet.doctor.unseen import Unseen
from provisioning.broker.ctl import Rabbitmqctl


def printing(text: str) -> CommandView:
    """Return the view of a program that prints ``text``."""
    argv = ("/bin/sh", "-c", f"printf '{text}'", "sh")
    return CommandView(Rabbitmqctl(argv, environ={"PATH": "/usr/bin:/bin"}))


def test_a_name_that_erlang_prints_in_latin_1_is_read() -> None:
    assert [queue.name for queue in printing(r'[{"name": "caf\351"}]').queues("v")] == ["café"]


@pytest.mark.parametrize("text", ["", "[", "[1]", "{}", '{"disk_nodes": 5}', '[{"nom": 1}]', "5"])
def test_an_answer_of_another_form_was_not_seen(text: str) -> None:
    with pytest.raises(Unseen):
        printing(text).nodes()


def test_the_program_is_told_to_print_names_as_they_are() -> None:
    argv = ("/bin/sh", "-c", """printf '[{"name": "%s"}]' "$LC_ALL" """, "sh")
    view = CommandView(Rabbitmqctl(argv, environ={"LC_ALL": "de_DE"}))
    assert view.queues("v")[0].name == "C.UTF-8"
