import httpx2
import pytest

from infra.operate.deployment import deployed_lineup
from infra.operate.target import Target

TARGET = Target("prod", "http://127.0.0.1:1", "", "", "", {}, None)


def answering(monkeypatch: pytest.MonkeyPatch, response: httpx2.Response | Exception) -> None:
    def get(url: str, timeout: float) -> httpx2.Response:
        if isinstance(response, Exception):
            raise response
        response.request = httpx2.Request("GET", url)
        return response

    monkeypatch.setattr(httpx2, "get", get)


def test_the_lineup_is_the_one_that_health_names(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, httpx2.Response(200, json={"status": "ok", "lineup": "article"}))
    lineup, notes = deployed_lineup(TARGET)
    assert (lineup.name, notes) == ("article", [])


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (httpx2.ConnectError("refused"), "ConnectError"),
        (httpx2.Response(503), "HTTPStatusError"),
        (httpx2.Response(200, text="<html>"), "JSONDecodeError"),
        (httpx2.Response(200, json=["ok"]), "TypeError"),
        (httpx2.Response(200, json={"lineup": "ours"}), "'ours'"),
    ],
)
def test_without_it_the_current_lineup_is_taken_and_that_is_noted(
    monkeypatch: pytest.MonkeyPatch, response: httpx2.Response | Exception, said: str
) -> None:
    answering(monkeypatch, response)
    lineup, [note] = deployed_lineup(TARGET)
    assert lineup.name == "current"
    assert said in note
    assert "taken to be current" in note
