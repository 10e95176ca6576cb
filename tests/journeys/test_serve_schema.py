"""Whatever the OpenAPI description lets a client send is answered as it says, and never with a server's fault."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from openbook.serve import keys
from openbook.serve.store import open_store
from tests.serving import desk, running

EXAMPLES = 6
"""Requests of each operation and mode."""
LONG_WORK = ("/api/training", "/api/training/preflight", "/api/compare", "/v1/fine_tuning/jobs")
"""Begin work that takes a language model; their own tests send them."""
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[schemathesis.BaseSchema, dict[str, str]]]:
    workspace = desk(tmp_path_factory.mktemp("schema"), toml="[serve]\nrequests_per_minute = 0\n")
    store = open_store(workspace.state / "server.db")
    secret = keys.create(store, "schemathesis", ("admin",), all_groups=True)[1]
    store.dispose()
    with running(workspace) as url:
        headers = {"Authorization": f"Bearer {secret}"}
        found = schemathesis.openapi.from_url(f"{url}/api/openapi.json", headers=headers)
        yield found.exclude(path=list(LONG_WORK), method="POST"), headers
    workspace.close()


@pytest.mark.timeout(300)
def test_every_request_the_description_allows_is_answered_as_it_says(
    api: tuple[schemathesis.BaseSchema, dict[str, str]],
) -> None:
    schema, headers = api
    wrong: dict[str, str] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            try:
                _check(operation, mode, headers)
            except hypothesis.errors.Unsatisfiable:  # nothing can be sent wrongly
                continue
            except (Exception, BaseExceptionGroup) as problem:  # noqa: BLE001 - all are tried, then all are told
                wrong[f"{operation.label} ({mode.value})"] = str(problem)
    assert not wrong, "\n\n".join(f"== {label}\n{problem}" for label, problem in wrong.items())


def _check(operation: schemathesis.APIOperation, mode: schemathesis.GenerationMode, headers: dict[str, str]) -> None:
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=list(CHECKS), headers=headers, timeout=60)

    check()
