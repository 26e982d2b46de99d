"""OpenAPI: what the document says is what the app does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from http_app import Ask, Asker
from jsonschema import Draft202012Validator

from valor_ray.config.tree import Config


@pytest.fixture
def described(ask: Ask) -> dict[str, Any]:
    return ask("/openapi.json", method="GET").json()


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, told)
        for path, methods in described["paths"].items()
        for method, told in methods.items()
    ]


def check(described: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    Draft202012Validator({**schema, "components": described["components"]}).validate(value)


def walk(value: Any) -> Any:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def test_every_reference_leads_somewhere_and_every_schema_is_one(described: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d", described["openapi"]) and {"title", "version"} <= set(described["info"])
    for reference in (one["$ref"] for one in walk(described) if isinstance(one, dict) and "$ref" in one):
        assert reference.removeprefix("#/components/schemas/") in described["components"]["schemas"]
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_operation_is_complete(described: dict[str, Any]) -> None:
    names = [told["operationId"] for _, _, told in operations(described)]
    assert len(set(names)) == len(names)
    for path, _, told in operations(described):
        assert told["summary"] and "200" in told["responses"]
        assert all(response["description"] for response in told["responses"].values())
        places = {
            one["name"] for one in told.get("parameters", ()) if one["in"] == "path" and one["required"]
        }
        assert set(re.findall(r"{(\w+)}", path)) == places


def test_every_route_is_described(asker: Asker, described: dict[str, Any]) -> None:
    pages = {"/", "/docs", "/openapi.json", "/health", "/readyz"}
    routes = {route.path_format.replace("{name}", "{model}") for route in asker.app().routes}
    assert set(described["paths"]) == routes - pages


def test_every_example_is_answered_as_described(ask: Ask, described: dict[str, Any]) -> None:
    for path, method, told in operations(described):
        if method == "post":
            asked = told["requestBody"]["content"]["application/json"]
            check(described, asked["schema"], asked["example"])
            response = ask(path, asked["example"])
        else:
            response = ask(path.replace("{model}", "valor"), method="GET")
        assert response.status_code == 200, response.text
        answered = told["responses"]["200"]["content"]["application/json"]["schema"]
        check(described, answered, response.json())


def test_every_refusal_is_as_described(ask: Ask, described: dict[str, Any]) -> None:
    for path, told in ((path, told) for path, method, told in operations(described) if method == "post"):
        compressed = ask(path, {}, headers={"content-encoding": "br"})
        for response in (compressed, ask(path, {"model": "valor", "seed": -1})):
            assert response.status_code in (400, 415)
            said = told["responses"][str(response.status_code)]["content"]["application/json"]
            check(described, said["schema"], response.json())


def test_the_limits_of_the_settings_stand_in_it(asker: Asker) -> None:
    ask = asker(Config.load("local", ["server.max_question_chars=77"]))
    schemas = ask("/openapi.json", method="GET").json()["components"]["schemas"]
    assert schemas["AnswerRequest"]["properties"]["question"]["maxLength"] == 77


def test_a_token_stands_in_it_only_where_one_is_wanted(
    asker: Asker, described: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "security" not in described
    monkeypatch.setenv("VALOR_TEST_TOKEN", "secret")
    ask = asker(Config.load("local", ["server.token_env=VALOR_TEST_TOKEN"]))
    guarded = ask("/openapi.json", method="GET").json()
    assert guarded["security"] == [{"token": []}]
    for path, method, told in operations(guarded):
        answered = ask(
            path.replace("{model}", "valor"), **({} if method == "get" else {"json": {}}), method=method
        )
        assert (answered.status_code == 401) == ("security" not in told), path


def test_the_page_of_it_needs_nothing_from_elsewhere(ask: Ask) -> None:
    page = ask("/docs", method="GET")
    assert "openapi.json" in page.text and "//" not in page.text.replace("://", "").partition("<script>")[0]
    assert "default-src 'none'" in page.headers["content-security-policy"]
