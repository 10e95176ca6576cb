"""An endpoint against a real server on the loopback: what is sent, what is learnt, one sentence for each failure."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from openbook.answer.generators.endpoint import EndpointGenerator
from openbook.errors import EndpointError, PromptTooLong, SettingsError
from openbook.records import Generation, Message, Sampling
from openbook.settings import Endpoint
from tests.servers import ChatServer, Fault

KEY = "sk-secret-123456"
KEY_ENV = "OPENBOOK_TEST_KEY"
TURNS = [Message("system", "Be brief."), Message("user", "Count.")]


def reaching(server: ChatServer, *, model: str = "tiny", retries: int = 0, timeout: float = 5.0) -> EndpointGenerator:
    return EndpointGenerator(
        Endpoint(url=server.url, model=model, api_key_env=KEY_ENV, retries=retries, timeout=timeout)
    )


def answer(generator: EndpointGenerator, sampling: Sampling | None = None) -> Generation:
    *_, end = generator.stream(TURNS, sampling or Sampling(max_tokens=9))
    assert isinstance(end, Generation)
    return end


def failure(*faults: Fault, **options: float) -> str:
    with ChatServer(faults=list(faults)) as server:
        generator = reaching(server, retries=int(options.get("retries", 0)), timeout=options.get("timeout", 5.0))
        with pytest.raises(EndpointError) as caught:
            answer(generator)
        generator.close()
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_messages_and_sampling_are_sent_as_they_are() -> None:
    with ChatServer() as server:
        answer(reaching(server), Sampling(max_tokens=7, temperature=0.5, seed=11, stop=("x", "y")))
    assert server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Count."}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 7,
            "temperature": 0.5,
            "seed": 11,
            "stop": ["x", "y"],
        }
    ]


def test_the_key_of_the_named_variable_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with ChatServer() as server:
        answer(reaching(server))
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_local_server_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_ENV, raising=False)
    with ChatServer() as server:
        assert answer(reaching(server)).text == "One two three four five."


def test_token_counts_are_the_servers_own() -> None:
    with ChatServer() as server:
        end = answer(reaching(server))
    assert (end.prompt_tokens, end.answer_tokens) == (3, 5)


def test_without_usage_the_counts_are_estimated() -> None:
    with ChatServer(usage=False) as server:
        end = answer(reaching(server))
    assert end.prompt_tokens >= 3
    assert end.answer_tokens >= 5


def test_a_server_that_ignores_stop_strings_is_cut_off_here() -> None:
    with ChatServer(honours_stop=False) as server:
        end = answer(reaching(server), Sampling(max_tokens=9, stop=("o thr",)))
    assert (end.text, end.finish) == ("One tw", "stop")


def test_more_than_four_stop_strings_are_honoured_though_only_four_are_sent() -> None:
    with ChatServer() as server:
        end = answer(reaching(server), Sampling(max_tokens=9, stop=("1", "2", "3", "4", " four")))
        assert len(server.requests[0]["stop"]) == 4
    assert end.text == "One two three"


@pytest.mark.parametrize(
    "refusal",
    [
        {"message": "Unsupported parameter", "param": "max_tokens", "code": "unsupported_parameter"},
        {"message": "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."},
    ],
)
def test_a_server_that_wants_max_completion_tokens_is_asked_so_from_then_on(refusal: dict[str, str]) -> None:
    with ChatServer(faults=[(400, refusal)]) as server:
        generator = reaching(server)
        assert answer(generator, Sampling(max_tokens=2)).finish == "length"
        answer(generator, Sampling(max_tokens=2))
    assert [("max_tokens" in body, body.get("max_completion_tokens")) for body in server.requests] == [
        (True, None),
        (False, 2),
        (False, 2),
    ]


def test_parameters_a_server_refuses_are_left_out_one_by_one() -> None:
    refusals: list[Fault] = [(400, {"message": "no", "param": name}) for name in ("seed", "stream_options")]
    with ChatServer(faults=refusals) as server:
        answer(reaching(server))
    assert set(server.requests[-1]) == {"model", "messages", "stream", "max_tokens", "temperature"}


def test_a_busy_server_is_asked_again_with_back_off() -> None:
    with ChatServer(faults=[429, 503]) as server:
        assert answer(reaching(server, retries=2)).text == "One two three four five."
    assert len(server.requests) == 3


def test_tries_end_after_the_set_number() -> None:
    with (
        ChatServer(faults=[503] * 5) as server,
        pytest.raises(EndpointError, match="failed with status 503 after 2 tries"),
    ):
        answer(reaching(server, retries=1))
    assert len(server.requests) == 2


def test_a_refused_connection_says_what_to_start() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        generator = EndpointGenerator(Endpoint(url=url, model="tiny", retries=0))
        with pytest.raises(EndpointError, match=r"no server answers at 'http://127.0.0.1:\d+/v1'; start it"):
            answer(generator)


def test_a_wrong_key_is_named_by_its_variable_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    for fault in (401, 403, (401, {"message": f"Incorrect API key provided: {KEY}"})):
        message = failure(fault)
        assert "refuses the key in the environment variable OPENBOOK_TEST_KEY" in message
        assert KEY not in message


def test_no_error_shows_the_key_even_when_the_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    for status in (400, 418, 429, 500):
        message = failure((status, {"message": f"bad key {KEY} here"}))
        assert KEY not in message
        assert "***" in message


def test_a_missing_key_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_ENV, raising=False)
    assert "wants a key; put it into the environment variable OPENBOOK_TEST_KEY" in failure(401)


def test_an_unknown_model_lists_those_the_server_offers() -> None:
    with (
        ChatServer(faults=[404], models=("small", "large")) as server,
        pytest.raises(EndpointError, match=r"does not know the model 'tiny'; .* one it offers: large, small"),
    ):
        answer(reaching(server))


def test_too_many_requests_are_reported_with_the_servers_words() -> None:
    assert "takes no more requests now (slow down); wait" in failure((429, {"message": "slow down"}))


def test_a_server_error_is_reported_with_its_status() -> None:
    assert "failed with status 500 (told to fail with 500)" in failure(500)


def test_a_server_that_sends_nothing_runs_into_the_timeout() -> None:
    start = time.perf_counter()
    assert "sent nothing for 0.3 seconds; raise endpoint.timeout" in failure("hang", timeout=0.3)
    assert time.perf_counter() - start < 3


def test_a_stream_that_falls_silent_runs_into_the_timeout() -> None:
    assert "sent nothing for 0.3 seconds" in failure("stall", timeout=0.3, retries=2)


def test_a_stream_that_dies_half_way_says_so() -> None:
    assert "broke in the middle of the answer" in failure("die")


def test_a_stream_that_ends_without_a_reason_is_no_answer() -> None:
    assert "broke off before its end" in failure("cut")


@pytest.mark.parametrize("fault", ["not json", "odd shape"])
def test_a_malformed_stream_is_refused(fault: Fault) -> None:
    assert "not a chat completion stream; check endpoint.url" in failure(fault)


def test_a_web_page_instead_of_a_stream_is_refused() -> None:
    assert "broke off before its end" in failure("html")


def test_an_error_in_the_stream_is_passed_on() -> None:
    assert "reports: out of memory" in failure("error event")


def test_a_prompt_the_server_finds_too_long_is_prompt_too_long() -> None:
    with (
        ChatServer(faults=[(400, {"message": "too much", "code": "context_length_exceeded"})]) as server,
        pytest.raises(PromptTooLong, match="finds the prompt too long"),
    ):
        answer(reaching(server))


def test_an_empty_model_setting_lists_what_the_server_offers() -> None:
    with (
        ChatServer(models=("small", "large")) as server,
        pytest.raises(SettingsError, match=r"endpoint.model is empty.*large, small"),
    ):
        reaching(server, model="")


def test_an_unusable_url_is_a_wrong_setting() -> None:
    with pytest.raises((SettingsError, EndpointError), match="not a url"):
        answer(EndpointGenerator(Endpoint(url="not a url", model="tiny", retries=0)))


def test_check_is_quiet_when_the_server_offers_the_model() -> None:
    with ChatServer(models=("tiny",)) as server:
        reaching(server).check()
    with ChatServer(models=("tiny:latest",)) as server:
        reaching(server).check()


def test_check_names_the_models_when_this_one_is_not_among_them() -> None:
    with ChatServer(models=("other",)) as server, pytest.raises(EndpointError, match="one it offers: other"):
        reaching(server).check()


def test_closing_the_iterator_ends_the_request_at_the_server() -> None:
    going = threading.Event()

    def endless(messages: list[dict[str, str]]) -> str:
        going.set()
        return "word " * 300_000

    with ChatServer(reply=endless) as server:
        stream = reaching(server).stream(TURNS, Sampling(max_tokens=8000))
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        time.sleep(0.2)
        sent = server.sent
        time.sleep(0.2)
        assert server.sent == sent


def test_estimates_err_high_for_english_and_chinese() -> None:
    with ChatServer() as server:
        generator = reaching(server)
        assert generator.count("The quick brown fox jumps over the lazy dog.") >= 10
        assert generator.count("今天天气很好") >= 6
