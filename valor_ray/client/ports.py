"""The detector, depth and judge ports over HTTP, behind a running `valor serve`."""

from __future__ import annotations

import base64
import io
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from valor_ray.client.reply import object_of
from valor_ray.errors import JudgeError, ServiceError
from valor_ray.ports import Versioned
from valor_ray.records import DepthMap, Detection, Picture

if TYPE_CHECKING:
    import httpx

_KEPT = 8  # encoded pictures: those that are being asked about
_SAME = "Give this command the server's images.max_pixels (--set): both halve larger pictures."


class Service:
    """A connection to `valor serve` at `url`, for as long as its `async with` block.

    The Remote… ports below share one; each call waits for its HTTP answer, `timeout_s` at most.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 120.0) -> None:
        import httpx

        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=timeout_s,
            transport=httpx.AsyncHTTPTransport(),  # one of our own: never through a proxy meant for the internet
        )
        self._images: OrderedDict[str, str] = OrderedDict()  # by key, the last asked for at the end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._client.aclose()

    def image(self, picture: Picture) -> str:
        """What stands for the picture in a request, in base64: its file where that is known, of anything else a PNG,
        which is lossless. Either way the service sees the same pixels, where its limits are the same."""
        if picture.key not in self._images:
            self._images[picture.key] = base64.b64encode(_file_of(picture)).decode("ascii")
            if len(self._images) > _KEPT:
                self._images.popitem(last=False)
        self._images.move_to_end(picture.key)
        return self._images[picture.key]

    async def post(
        self, path: str, body: dict[str, Any], failure: type[ServiceError | JudgeError]
    ) -> dict[str, Any]:
        """The JSON object that the service answers. Raises `failure`, which says what to do."""
        import httpx

        try:
            reply = await self._client.post(path, json=body)
        except httpx.TransportError as error:
            hint = "Start `valor serve`, or name a running one with --url."
            raise failure(f"No answer from {self.url} ({type(error).__name__}). {hint}") from error
        try:
            content = object_of(reply.content)
        except ValueError:
            content = None
        if reply.is_success and content is not None:
            return content
        raise failure(f"{self.url}{path}: HTTP {reply.status_code}: {_reason(reply, content)}")


class RemoteDetector:
    """ports.Detector through POST /v1/detect."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        body: dict[str, Any] = {"image": self._service.image(picture), "phrases": list(phrases)}
        if box_threshold is not None:
            body["box_threshold"] = box_threshold
        content = await self._service.post("/v1/detect", body, ServiceError)
        try:
            # a service of an earlier version says neither size nor version
            size = content.get("height", picture.height), content.get("width", picture.width)
            found = Versioned(map(_detection, content["detections"]), str(content.get("version", "")))
        except (KeyError, TypeError, ValueError) as error:
            raise ServiceError(
                f"{self._service.url}/v1/detect answers in another format: is it `valor serve`?"
            ) from error
        if size != picture.rgb.shape[:2]:
            raise ServiceError(
                f"{self._service.url}/v1/detect: boxes of {size} for a picture of {picture.rgb.shape[:2]}. {_SAME}"
            )
        return found


class RemoteDepth:
    """ports.Depth through POST /v1/depth."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def depth(self, picture: Picture) -> DepthMap:
        content = await self._service.post("/v1/depth", {"image": self._service.image(picture)}, ServiceError)
        try:
            depth = np.load(io.BytesIO(base64.b64decode(content["depth"])), allow_pickle=False)
            depth = depth.astype(np.float32, copy=False)
            focal_px = float(content["focal_px"])
        except (KeyError, TypeError, ValueError, OverflowError, EOFError, MemoryError) as error:
            raise ServiceError(
                f"{self._service.url}/v1/depth answers in another format: is it `valor serve`?"
            ) from error
        if depth.shape != picture.rgb.shape[:2]:
            raise ServiceError(
                f"{self._service.url}/v1/depth: depth of {depth.shape} for a picture of {picture.rgb.shape[:2]}. "
                f"{_SAME}"
            )
        return DepthMap(depth, focal_px)


class RemoteVqa:
    """ports.Vqa through POST /v1/vqa."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def vqa(self, picture: Picture, question: str) -> str:
        body = {"image": self._service.image(picture), "question": question}
        content = await self._service.post("/v1/vqa", body, JudgeError)
        answer = content.get("answer")
        if not isinstance(answer, str):
            raise JudgeError(f"{self._service.url}/v1/vqa answers in another format: is it `valor serve`?")
        return answer


def _file_of(picture: Picture) -> bytes:
    from PIL import Image

    from valor_ray.images import FilePicture

    if isinstance(picture, FilePicture) and picture.region is None:
        return picture.file
    data = io.BytesIO()
    Image.fromarray(picture.rgb).save(data, "PNG")
    return data.getvalue()


def _detection(item: Any) -> Detection:
    x1, y1, x2, y2 = (float(value) for value in item["bbox"])
    return Detection((x1, y1, x2, y2), str(item["label"]), float(item["score"]))


def _reason(reply: httpx.Response, content: Any) -> str:
    error = content.get("error") if isinstance(content, dict) else None
    if isinstance(error, dict) and "message" in error:
        return str(error["message"])
    return reply.text[:200]
