import urllib.error
import urllib.request

import pytest

from processor.errors import SettingsError
from processor.metrics.catalogue import Metrics
from processor.metrics.progress import BatchReport
from processor.metrics.server import serve


def get(server, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def state():
    return {"live": True, "ready": False}


@pytest.fixture
def server(state):
    metrics = Metrics()
    metrics.observe(BatchReport("t", "t.0", 1, started_ms=0, records_in=3))
    running = serve(metrics.registry, 0, live=lambda: state["live"], ready=lambda: state["ready"])
    yield running
    running.close()


def test_metrics_are_served(server):
    status, text = get(server, "/metrics")
    assert status == 200
    assert 'processor_records_in_total{topology="t"} 3.0' in text


def test_probes_follow_the_worker(server, state):
    assert get(server, "/livez")[0] == 200
    status, text = get(server, "/readyz")
    assert status == 503
    assert "not ready" in text
    state.update(live=False, ready=True)
    assert get(server, "/readyz") == (200, "ok\n")
    assert get(server, "/livez")[0] == 503


def test_a_probe_that_breaks_has_failed(server, state):
    state.clear()
    status, text = get(server, "/livez")
    assert status == 503
    assert "KeyError" in text


def test_an_unknown_path_is_not_found(server):
    assert get(server, "/")[0] == 404


def test_a_port_in_use_is_refused_with_a_remedy(server):
    with pytest.raises(SettingsError, match="--metrics-port"):
        serve(Metrics().registry, server.port)


def test_the_port_is_free_after_close():
    first = serve(Metrics().registry, 0)
    first.close()
    serve(Metrics().registry, first.port).close()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_it_listens_at_an_address_of_ipv6(host):
    try:
        server = serve(Metrics().registry, 0, host)
    except SettingsError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with urllib.request.urlopen(f"http://[::1]:{server.port}/livez", timeout=5) as answer:
        assert answer.status == 200
    server.close()
