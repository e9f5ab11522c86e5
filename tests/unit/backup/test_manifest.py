import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.backup.manifest import ManifestInvalid, Outcome, parse, render
from tests.unit.backup.samples import manifest, source_copy


@given(
    outcome=st.sampled_from(list(Outcome)),
    excludes=st.lists(st.text(alphabet='a"\\\n\0é\ud800'), max_size=3).map(tuple),
    problems=st.lists(st.text(alphabet='a"\\\n\0é\ud800'), max_size=3).map(tuple),
    linked_to=st.none() | st.just("2026-01-01T02-30-00Z_0a1b2c3d"),
)
def test_a_manifest_reads_back_as_it_was_written(
    outcome: Outcome, excludes: tuple[str, ...], problems: tuple[str, ...], linked_to: str | None
) -> None:
    written = replace(
        manifest(outcome=outcome),
        excludes=excludes,
        linked_to=linked_to,
        sources=(source_copy(problems=problems), source_copy(path="/opt", exit_code=24, vanished=1)),
    )
    assert parse(render(written)) == written


def test_the_totals_stand_in_the_text_for_other_readers() -> None:
    record = json.loads(render(manifest(files=10)))
    assert (record["format"], record["files"], record["bytes"]) == (1, 10, 1000)
    assert record["started"] == "2026-01-01T02:30:00+00:00"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', '{"format": 1}', '{"format": 2}'],
)
def test_what_is_no_manifest_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse(text)


@pytest.mark.parametrize("field", ["started", "outcome", "sources", "task_id"])
def test_a_manifest_without_one_of_its_fields_is_none(field: str) -> None:
    record = json.loads(render(manifest()))
    del record[field]
    with pytest.raises(ManifestInvalid):
        parse(json.dumps(record))


def test_a_time_without_a_zone_is_refused() -> None:
    record = json.loads(render(manifest())) | {"started": "2026-01-01T02:30:00"}
    with pytest.raises(ManifestInvalid, match="no zone"):
        parse(json.dumps(record))


def test_only_a_partial_copy_is_not_good() -> None:
    assert [manifest(outcome=outcome).is_good for outcome in Outcome] == [True, True, False]
