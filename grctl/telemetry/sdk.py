"""OpenTelemetry's SDK in processes that are ours: the command line and its workers.

Programs that embed a client or a worker set it up as they like, before they connect.
"""

from __future__ import annotations

import os
import threading
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from grctl.errors import ConfigurationError
from grctl.settings import Settings
from grctl.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["set_up", "shut_down"]

PATIENCE_SECONDS = 3.0


def set_up(settings: Settings) -> None:
    """Send spans where ``OTEL_*`` says (default: by OTLP over HTTP to localhost), if
    ``settings.tracing``; unless a tracer provider is there already (``opentelemetry-instrument``).

    ConfigurationError if the SDK is not installed, or there is no such exporter.
    """
    if not settings.tracing:
        return
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "GRCTL_TRACING is on, but OpenTelemetry is not installed: pip install 'grctl[otel]'"
        ) from error
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    resource = Resource.create({"service.name": "grctl", "grctl.version": __version__})
    # Given to create() as it is, our name would go before that of the variables.
    resource = resource.merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        if name.strip() != "none":
            provider.add_span_processor(BatchSpanProcessor(_exporter(name.strip())()))
    trace.set_tracer_provider(provider)
    _ours.provider = provider


def shut_down() -> None:
    """Send what is still here; a collector that does not answer holds a process up for seconds
    only.
    """
    provider, _ours.provider = _ours.provider, None
    if provider is not None:
        ending = threading.Thread(target=provider.shutdown, name="grctl spans", daemon=True)
        ending.start()
        ending.join(PATIENCE_SECONDS)


class _Ours:
    provider: TracerProvider | None = None


_ours = _Ours()


def _exporter(name: str) -> Any:
    """The class of an exporter, by its name in ``OTEL_TRACES_EXPORTER``."""
    if name == "otlp":
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
        )
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    known = {point.name: point for point in entry_points(group="opentelemetry_traces_exporter")}
    if name not in known:
        raise ConfigurationError(
            f"there is no OpenTelemetry exporter {name!r}: OTEL_TRACES_EXPORTER may be none or "
            f"{', '.join(sorted({'otlp', *known}))}; others have to be installed"
        )
    return known[name].load()
