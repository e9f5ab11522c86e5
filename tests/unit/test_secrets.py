import pickle
from pathlib import Path

import pytest

from fleet.errors import SecretMissing
from fleet.secrets import Secret, parse_reference, resolve


def test_a_reference_names_its_scheme_and_place() -> None:
    reference = parse_reference("env:BROKER_PASSWORD")
    assert reference is not None
    assert (reference.scheme, reference.name) == ("env", "BROKER_PASSWORD")


@pytest.mark.parametrize("text", ["hunter2", "env:", "file:relative/path", "vault:x", ""])
def test_anything_else_is_no_reference(text: str) -> None:
    assert parse_reference(text) is None


def test_a_secret_from_the_environment_is_revealed_only_on_request() -> None:
    reference = parse_reference("env:P")
    assert reference is not None
    secret = resolve(reference, environ={"P": "hunter2"})
    assert secret.reveal() == "hunter2"
    assert "hunter2" not in f"{secret} {secret!r}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_secrets_are_equal_where_their_values_are() -> None:
    assert Secret("hunter2") == Secret("hunter2")
    assert len({Secret("hunter2"), Secret("hunter2"), Secret("hunter3")}) == 2
    assert Secret("hunter2") != "hunter2"


def test_one_trailing_newline_of_a_file_is_not_part_of_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2 \n")
    reference = parse_reference(f"file:{path}")
    assert reference is not None
    assert resolve(reference, environ={}).reveal() == "hunter2 "


def test_a_systemd_credential_is_read_from_its_directory(tmp_path: Path) -> None:
    (tmp_path / "broker").write_text("hunter2")
    reference = parse_reference("credential:broker")
    assert reference is not None
    assert resolve(reference, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}).reveal() == "hunter2"


@pytest.mark.parametrize("text", ["env:P", "file:/nonexistent/secret", "credential:broker"])
def test_a_missing_secret_is_named_with_a_hint(text: str) -> None:
    reference = parse_reference(text)
    assert reference is not None
    with pytest.raises(SecretMissing, match=reference.name) as caught:
        resolve(reference, environ={})
    assert caught.value.hint
