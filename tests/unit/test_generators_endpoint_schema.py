"""What an endpoint is asked for when an answer must be JSON."""

from __future__ import annotations

from openbook.answer.generators.endpoint import EndpointGenerator
from openbook.records import Message, Sampling
from openbook.settings import Endpoint
from tests.servers import ChatServer


def test_a_schema_is_handed_on_as_the_response_format() -> None:
    with ChatServer(reply=lambda messages: "{}") as server:
        generator = EndpointGenerator(Endpoint(url=server.url, model="tiny", api_key_env="OPENBOOK_TEST_NO_KEY"))
        list(generator.stream([Message("user", "Hi")], Sampling(json_schema='{"type": "object"}')))
        generator.close()
        shape = {"name": "answer", "schema": {"type": "object"}, "strict": True}
        assert server.requests[-1]["response_format"] == {"type": "json_schema", "json_schema": shape}
