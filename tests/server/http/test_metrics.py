"""What is counted reaches a collector, if the environment asks for it; and nothing is loaded if not."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData

from wan_mcp.errors import SettingsError
from wan_mcp.server.http.metrics import Metrics, exporting

COUNTS = """
from wan_mcp.server.http.metrics import Metrics, exporting
with exporting():
    metrics = Metrics()
    metrics.submitted(25.5)
    metrics.wait_began()
    metrics.wait_ended("time_up")
"""
TRACES = """
from opentelemetry.trace import get_tracer
from wan_mcp.server.http.metrics import exporting
with exporting():
    with get_tracer("test").start_as_current_span("a span"):
        pass
"""
OTHERS = """
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
set_meter_provider(MeterProvider([reader]))
"""
FOUND = """
print(len(reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics))
"""
UNHURRIED = """
from wan_mcp.server.http import metrics
metrics.LAST_EXPORT = 30
"""
LOADED = """
import sys
beginnings = "opentelemetry.sdk", "opentelemetry.exporter"
print(sorted(name for name in sys.modules if name.startswith(beginnings)))
"""


def test_every_count_has_its_name_and_unit() -> None:
    """Waits that ended are told apart by their outcome; those that go on are open."""
    reader = InMemoryMetricReader()
    metrics = Metrics(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"))
    metrics.submitted(25.5)
    metrics.submitted(12.75)
    metrics.read()
    for _ in range(3):
        metrics.wait_began()
    metrics.wait_ended("over")
    metrics.wait_ended("cancelled")
    data = reader.get_metrics_data()
    assert isinstance(data, MetricsData)
    assert {
        (metric.name, metric.unit, *(point.attributes or {}).values()): getattr(point, "value", None)
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    } == {
        ("wan_mcp.submissions", "{submission}"): 2,
        ("wan_mcp.credits.reserved", "{credit}"): 38.25,
        ("wan_mcp.reads", "{read}"): 1,
        ("wan_mcp.waits.open", "{wait}"): 1,
        ("wan_mcp.waits", "{wait}", "over"): 1,
        ("wan_mcp.waits", "{wait}", "cancelled"): 1,
    }


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_METRICS_EXPORTER": "nonsense"}, "export metrics with 'nonsense'"),
        ({"OTEL_TRACES_EXPORTER": "nonsense"}, "export traces with 'nonsense'"),
        ({"OTEL_METRICS_EXPORTER": "none,nonsense"}, "'nonsense'"),
        (
            {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "odd"},
            "'odd'",
        ),
    ],
)
def test_an_export_that_cannot_be_started_is_refused_in_words(environ: dict[str, str], said: str) -> None:
    """With what to install or to set."""
    with pytest.raises(SettingsError) as refused, exporting(environ):
        pytest.fail("the server must not start")
    assert said in refused.value.message
    assert refused.value.next_step


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_METRICS_EXPORTER": "nonsense", "OTEL_SDK_DISABLED": "True"},
    ],
    ids=["unset", "none", "disabled"],
)
@pytest.mark.slow
def test_nothing_is_loaded_unless_the_environment_asks(environ: dict[str, str]) -> None:
    """Neither the SDK nor an exporter, while the same counting goes on."""
    assert run(COUNTS + LOADED, environ).stdout == "[]\n"


@pytest.mark.slow
def test_without_an_sdk_a_warning_says_why_nothing_is_exported() -> None:
    """The server starts all the same: a platform may set the variables for all its programs."""
    hidden = "import sys; sys.modules['opentelemetry.sdk.metrics'] = None\n"
    ended = run(hidden + COUNTS, {"OTEL_METRICS_EXPORTER": "otlp"})
    assert "opentelemetry-sdk is not installed" in ended.stderr


@pytest.mark.slow
def test_a_setting_out_of_range_is_refused_in_words() -> None:
    """The SDK's own error would be a traceback."""
    program = (
        "from wan_mcp.errors import SettingsError\nfrom wan_mcp.server.http.metrics import exporting\n"
        "try:\n    exporting().__enter__()\nexcept SettingsError as error:\n    print(error)\n"
    )
    ended = run(program, {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "0"})
    assert ended.stdout.startswith("A setting of OpenTelemetry cannot be used")


@pytest.mark.slow
def test_a_program_that_exports_already_keeps_its_own_export() -> None:
    """As one that opentelemetry-instrument started with the same variables."""
    ended = run(OTHERS + COUNTS + FOUND, {"OTEL_METRICS_EXPORTER": "console"})
    assert ended.stdout == "4\n"


@pytest.mark.slow
def test_counts_reach_a_collector_before_the_server_ends() -> None:
    """Over OTLP, with the service's name; the traces of the same address are sent when there are any."""
    with collector() as (received, url):
        run(UNHURRIED + COUNTS, {"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        run(UNHURRIED + TRACES, {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "videos"})
    assert sorted(received.bodies) == ["/v1/metrics", "/v1/traces"]
    assert b"wan_mcp.credits.reserved" in received.bodies["/v1/metrics"]
    assert b"time_up" in received.bodies["/v1/metrics"]
    assert b"wan-mcp" in received.bodies["/v1/metrics"]
    assert b"a span" in received.bodies["/v1/traces"]
    assert b"videos" in received.bodies["/v1/traces"]


@pytest.mark.slow
def test_a_collector_that_does_not_answer_does_not_hold_up_the_end() -> None:
    """The exporters alone would wait for half a minute."""
    with collector(answers=False) as (received, url):
        run(TRACES, {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}, within=25)
        assert "/v1/traces" in received.bodies


@dataclass
class Received:
    bodies: dict[str, bytes] = field(default_factory=dict)
    """By the path to which they were sent."""


@contextmanager
def collector(*, answers: bool = True) -> Iterator[tuple[Received, str]]:
    """A collector of OTLP on this machine, and its address."""
    received, ended = Received(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.bodies[self.path] = self.rfile.read(int(self.headers["content-length"]))
            if not answers:
                ended.wait(60)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield received, f"http://127.0.0.1:{server.server_port}"
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def run(program: str, environ: dict[str, str], within: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with no other settings of OpenTelemetry than these."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=others | environ,
        capture_output=True,
        text=True,
        timeout=within,
        check=True,
    )
