"""OpenTelemetry: what is counted, and its export where the environment asks for it."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from threading import Thread
from typing import Any, Literal

from opentelemetry import metrics, trace

from wan_mcp import __version__
from wan_mcp.errors import SettingsError
from wan_mcp.generation.measures import Measures, WaitOutcome

logger = logging.getLogger(__name__)

LAST_EXPORT = 0.5
"""Seconds that the last export may take when the server stops."""
PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
"""The exporters of OTLP, by the names that the standard gives their protocols."""
NO_SDK = "the environment asks for an OpenTelemetry export, but opentelemetry-sdk is not installed"

Signal = Literal["metrics", "traces"]


class Metrics(Measures):
    """Counts the work of all owners; without an SDK, this does nothing.

    Args:
        meter: replaces the one of the whole process.
    """

    def __init__(self, meter: metrics.Meter | None = None) -> None:
        meter = meter or metrics.get_meter("wan_mcp", __version__)
        self._submissions = meter.create_counter(
            "wan_mcp.submissions", "{submission}", "Requests that Evolink accepted."
        )
        self._credits = meter.create_counter(
            "wan_mcp.credits.reserved", "{credit}", "Credits that Evolink reserved for them."
        )
        self._reads = meter.create_counter("wan_mcp.reads", "{read}", "Reads of a task from Evolink.")
        self._open = meter.create_up_down_counter(
            "wan_mcp.waits.open", "{wait}", "Callers that wait for a task now."
        )
        self._waits = meter.create_counter(
            "wan_mcp.waits", "{wait}", "Waits that ended, by outcome: over, time_up, failed or cancelled."
        )

    def submitted(self, credits: float) -> None:
        self._submissions.add(1)
        self._credits.add(max(credits, 0))

    def read(self) -> None:
        self._reads.add(1)

    def wait_began(self) -> None:
        self._open.add(1)

    def wait_ended(self, outcome: WaitOutcome) -> None:
        self._open.add(-1)
        self._waits.add(1, {"outcome": outcome})


@contextmanager
def exporting(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Export metrics and traces while this block runs, if the environment asks for it and there is an SDK.

    Args:
        environ: names the exporters. These read their own settings from the process's environment.

    Raises:
        SettingsError: when an exporter is unknown or cannot be made, or a setting of the SDK cannot be used.
    """
    shut_down: list[Callable[[], object]] = []
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
        named = {signal: _exporters(signal, environ) for signal in ("metrics", "traces")}
        try:
            if any(named.values()):
                shut_down = _start(named["metrics"], named["traces"], environ)
        except ValueError as error:  # a number that is out of range
            raise SettingsError(
                f"A setting of OpenTelemetry cannot be used: {' '.join(str(error).split())}.",
                next_step="Check the settings whose names begin with OTEL_.",
            ) from error
    try:
        yield
    finally:
        # In a thread: a collector that does not answer must not hold up the exit.
        last = Thread(target=_end, args=(shut_down,), daemon=True)
        last.start()
        last.join(LAST_EXPORT)


def _start(
    to_metrics: list[str], to_traces: list[str], environ: Mapping[str, str]
) -> list[Callable[[], object]]:
    """Start the exports, and return what ends them. A program that was started with its own keeps those."""
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning(NO_SDK)
        return []
    attributes = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    is_named = "OTEL_SERVICE_NAME" in environ or "service.name=" in attributes
    resource = Resource.create({} if is_named else {"service.name": "wan-mcp"})
    shut_down: list[Callable[[], object]] = []
    if to_metrics and not isinstance(metrics.get_meter_provider(), MeterProvider):
        made = [_made("metrics", name) for name in to_metrics]
        readers = [
            one if isinstance(one, MetricReader) else PeriodicExportingMetricReader(one) for one in made
        ]
        meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        metrics.set_meter_provider(meters)
        shut_down.append(lambda: meters.shutdown(LAST_EXPORT * 1000))
    if to_traces and not isinstance(trace.get_tracer_provider(), TracerProvider):
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        for name in to_traces:
            tracers.add_span_processor(BatchSpanProcessor(_made("traces", name)))
        trace.set_tracer_provider(tracers)
        shut_down.append(tracers.shutdown)
    return shut_down


def _end(shut_down: list[Callable[[], object]]) -> None:
    for call in shut_down:
        try:
            call()
        except Exception:
            logger.exception("the last export failed")


def _exporters(signal: Signal, environ: Mapping[str, str]) -> list[str]:
    """The exporters that the environment names; where it only gives an address for OTLP, that one."""
    addresses = "OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    default = "otlp" if any(environ.get(name) for name in addresses) else "none"
    given = environ.get(f"OTEL_{signal.upper()}_EXPORTER") or default
    names = [name.strip() for name in given.split(",")]
    return [_of_protocol(name, signal, environ) for name in names if name not in ("", "none")]


def _of_protocol(name: str, signal: Signal, environ: Mapping[str, str]) -> str:
    if name != "otlp":
        return name
    variables = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = next((environ[name] for name in variables if environ.get(name)), "http/protobuf")
    if protocol not in PROTOCOLS:
        raise SettingsError(
            f"{variables[1]} is {protocol!r}, which is not known.", next_step=f"Set {' or '.join(PROTOCOLS)}."
        )
    return PROTOCOLS[protocol]


def _made(signal: Signal, name: str) -> Any:
    """A new exporter, as its package registers it."""
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        package = f"opentelemetry-exporter-{name.replace('_', '-')}"
        raise SettingsError(
            f"The environment asks to export {signal} with {name!r}, and no installed package has it.",
            next_step=f"Install {package}, or set OTEL_{signal.upper()}_EXPORTER to another one or to none.",
        )
    try:
        return found[0].load()()
    except Exception as error:  # its text may show the headers that the environment gives
        raise SettingsError(
            f"The exporter {name!r} of {signal} could not be started ({type(error).__name__}).",
            next_step="Check the settings whose names begin with OTEL_EXPORTER.",
        ) from None
