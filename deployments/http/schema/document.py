"""The OpenAPI document of the front door, made of the models that check requests and of those of replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from deployments.http.endpoints import Endpoint
from deployments.http.schema.chat_fields import ModelReply, ModelsReply
from deployments.http.schema.fields import ErrorReply, HealthReply, LiveReply
from valor_ray.config.tree import Config

_REF = "#/components/schemas/{model}"
_SAID = {
    400: "Picture, question, a field, JSON or form is not as it must be",
    401: "No bearer token, or a wrong one",
    404: "No such model or path",
    405: "The path answers another method",
    408: "The body did not arrive in time",
    413: "The body is larger than images.max_bytes allows",
    415: "The body is of another media type, or compressed",
    429: "Too many requests in work, or waiting for a part: try again after Retry-After",
    500: "A failure that nobody foresaw",
    502: "Policy, tool or judge failed",
    503: "A part is gone, and its successor has not come in time",
}
_ASKING = tuple(_SAID)
# an 8 x 8 px picture, red
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1BAQ/oQeJvAA"
    "AAAElFTkSuQmCC"
)


def document(config: Config, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1, a JSON object."""
    endpoints = tuple(endpoints)
    paths: dict[str, Any] = {each.path: {"post": _post(each)} for each in endpoints}
    paths |= {
        "/v1/models": _get("The models: one", ModelsReply, 401),
        "/v1/models/{model}": _get("A model", ModelReply, 401, 404),
        "/healthz": _get("Whether every part is well; /health and /readyz are the same", HealthReply),
        "/livez": _get("Whether the front door answers at all", LiveReply),
    }
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    paths["/v1/models/{model}"]["get"]["parameters"] = [name]
    paths["/healthz"]["get"]["responses"]["503"] = _reply("A part is not well", HealthReply)
    components: dict[str, Any] = {"schemas": _schemas(endpoints, config.server.max_question_chars)}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": _info(),
        "paths": paths,
        "components": components,
    }
    if config.server.token_env is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"token": []}]
        for open_to_all in ("/healthz", "/livez"):
            paths[open_to_all]["get"]["security"] = []
    return described


def _info() -> dict[str, str]:
    about = "Answers questions about pictures with programs."
    return {"title": "valor_ray", "version": version("valor_ray"), "description": about}


def _schemas(endpoints: Sequence[Endpoint], question_chars: int) -> dict[str, Any]:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (each, "serialization") for each in (ErrorReply, HealthReply, LiveReply, ModelReply, ModelsReply)
    ]
    for endpoint in endpoints:
        models += [(endpoint.asks, "validation"), (endpoint.replies, "serialization")]
    _, made = models_json_schema(models, ref_template=_REF)
    schemas: dict[str, Any] = made["$defs"]
    for schema in schemas.values():
        if "question" in schema["properties"]:
            schema["properties"]["question"]["maxLength"] = question_chars
    return schemas


def _post(endpoint: Endpoint) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=endpoint.asks.__name__)}
    content: dict[str, Any] = {"application/json": {"schema": schema, "example": _example(endpoint)}}
    if endpoint.forms:
        file = {"properties": {"image": {"description": "a file, or text as in JSON", "type": "string"}}}
        content["multipart/form-data"] = {"schema": {"allOf": [schema, file]}}
    answered = _reply("What was asked for", endpoint.replies)
    if endpoint.path == "/v1/depth":
        answered["content"]["image/png"] = {}
    if endpoint.path == "/v1/chat/completions":
        answered["content"]["text/event-stream"] = {}
    return {
        "summary": endpoint.summary,
        "operationId": endpoint.path.removeprefix("/v1/").replace("/", "_"),
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answered, **_failures(_ASKING)},
    }


def _example(endpoint: Endpoint) -> dict[str, Any]:
    if "image" in endpoint.asks.model_fields:
        return {"image": PICTURE, **endpoint.example}
    parts = [
        {"type": "text", "text": "How many red cubes are there?"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
    ]
    return {**endpoint.example, "messages": [{"role": "user", "content": parts}]}


def _get(summary: str, reply: type[BaseModel], *statuses: int) -> dict[str, Any]:
    responses = {"200": _reply("What was asked for", reply), **_failures(statuses)}
    return {"get": {"summary": summary, "operationId": reply.__name__, "responses": responses}}


def _failures(statuses: Iterable[int]) -> dict[str, Any]:
    return {str(status): _reply(_SAID[status], ErrorReply) for status in statuses}


def _reply(description: str, model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
