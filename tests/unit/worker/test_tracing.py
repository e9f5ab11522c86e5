import pytest

from fleet.secrets import Secret
from fleet.worker.tracing import failing_locals, masked


@pytest.mark.parametrize(
    "name", ["password", "PASSWORD", "smtp_password", "api_key", "token", "client_secret", "passphrase"]
)
def test_what_is_named_like_a_secret_is_masked(name: str) -> None:
    assert masked("hunter2", name=name) == "***"
    assert masked({name: "hunter2"}) == "{" + f"{name}: ***" + "}"


def test_a_secret_is_masked_under_any_name() -> None:
    assert masked([Secret("hunter2")]) == "[***]"


def test_a_password_in_a_url_is_masked() -> None:
    assert masked("amqp://celery:hunter2@mq1:5672/") == "'amqp://celery:***@mq1:5672/'"


def test_values_are_shown_but_short() -> None:
    assert masked({"name": "Ann", "age": 5}) == "{name: 'Ann', age: 5}"
    assert len(masked("x" * 10_000)) < 300
    assert masked(list(range(30))).endswith("19, …]")


def test_a_value_that_cannot_be_shown_does_no_harm() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert masked(Odd()) == "<Odd, whose repr raised RuntimeError>"


def test_a_value_that_holds_itself_ends_somewhere() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert "…" in masked(loop)


def test_the_locals_of_the_failing_frame_are_shown_masked() -> None:
    def inner(name: str) -> None:
        api_token = "hunter2"
        raise ValueError(len(api_token))

    try:
        inner("etc")
    except ValueError as error:
        place, variables = failing_locals(error.__traceback__)
    assert place.endswith("in inner")
    assert variables == {"name": "'etc'", "api_token": "***"}
