"""Metrics for Prometheus at /metrics."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memagent.serve.service import Service


class Metrics(Collector):
    """Counts requests, and reports the number of readings in each state."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.requests = Counter(
            "memagent_requests", "Requests by path and status.", ["path", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "memagent_request_seconds", "Time until a reply begins, by path.", ["path"], registry=self._registry
        )

    def collect(self) -> Iterator[Metric]:
        readings = GaugeMetricFamily("memagent_readings", "Readings by state.", labels=["state"])
        found = Counts(self._service.states)
        for state in ("queued", "reading"):
            readings.add_metric([state], found[state])
        yield readings

    def text(self) -> bytes:
        return generate_latest(self._registry)


class Measured:
    """ASGI middleware that measures requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                path = getattr(route, "path", "other")  # the route's pattern: every id would add a label
                self._metrics.requests.labels(path, message["status"]).inc()
                self._metrics.seconds.labels(path).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)
