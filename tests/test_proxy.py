"""docs/examples/nginx.conf and Caddyfile, by the real nginx and Caddy: TLS, tokens, WebSocket channels and host names.

In the examples stands what docs/proxy.md tells to put there.
"""

import base64
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from builders import PATIENCE, needs_serve, wait
from builders.live import HOP, WINDOW, expected, windows
from builders.two_calibrations import write_detector_and_calibrations
from builders.voices import voice
from conftest import REPOSITORY, load_detector

pytest.importorskip("websockets")

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = [pytest.mark.slow, needs_serve]

EXAMPLES = REPOSITORY / "docs" / "examples"
PAGE = (REPOSITORY / "docs" / "proxy.md").read_text(encoding="utf-8")
NAME = "voices.example"


#: As `openssl rand -hex 32` prints.
TOKEN = "4f9c0be2a1d87365" * 4
BASE64 = base64.b64encode(f"nes2net:{TOKEN}".encode()).decode()
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}
#: What the page tells to replace in both examples.
REPLACEMENTS = {"scores.example": NAME, "change-this-token": TOKEN, "change-this-base64": BASE64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A detector, and a recording of 2 s."""
    folder = tmp_path_factory.mktemp("proxy")
    samples = 0.5 * voice(seconds=2)
    write_detector_and_calibrations(folder, samples, WINDOW, HOP)
    soundfile.write(folder / "talk.wav", samples, 16000)
    return folder


@pytest.fixture(scope="module")
def services(folder):
    """Ports of `nes2net serve` and `nes2net listen --serve`, started as the examples say."""
    commands = [
        ["serve", "--model", "small.pth", "--port", "0"],
        ["listen", "--serve", "0", "--model", "small.pth", "--window", WINDOW, "--hop", HOP, "--keep", "all"],
    ]
    with ExitStack() as processes:
        ports = []
        for words in commands:
            command = [sys.executable, "-m", "nes2net", *map(str, words), "--device", "cpu", "--allow-name", NAME]
            process = processes.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder))
            processes.callback(process.kill)
            ports.append(int(re.search(r":(\d+) ", process.stdout.readline())[1]))
        yield ports


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def running(command, port, log):
    """A proxy, as soon as it accepts connections at ``port``."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            wait(lambda: process.poll() is not None or not socket.socket().connect_ex(("127.0.0.1", port)))
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


def example(name, replacements):
    """The text of an example as the page tells to fill it, with other ports and paths, each of which it contains."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for text_in_example, replacement in {**REPLACEMENTS, **replacements}.items():
        assert text_in_example in text
        text = text.replace(text_in_example, str(replacement))
    return text


@contextmanager
def nginx(services, folder, port):
    """Certificates come from openssl; yields the certificate."""
    certificate = folder / "certificate.pem"
    key = folder / "key.pem"
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    replacements = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:7860": f"127.0.0.1:{services[0]}",
        "127.0.0.1:7861": f"127.0.0.1:{services[1]}",
        f"/etc/ssl/{NAME}.pem": certificate,
        f"/etc/ssl/private/{NAME}.key": key,
    }
    (folder / "site.conf").write_text(example("nginx.conf", replacements))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; events {{}}\n"
        f"http {{ access_log off; {temporary} include {folder}/site.conf; }}\n"
    )
    command = [shutil.which("nginx") or "nginx", "-e", "stderr", "-c", folder / "nginx.conf"]
    with running(command, port, folder / "nginx.log"):
        yield certificate


@contextmanager
def caddy(services, folder, port):
    """Certificates come from Caddy's own authority; yields its root."""
    replacements = {"127.0.0.1:7860": f"127.0.0.1:{services[0]}", "127.0.0.1:7861": f"127.0.0.1:{services[1]}"}
    settings = f"admin off\nlocal_certs\nskip_install_trust\nhttp_port {free_port()}\nhttps_port {port}\n"
    settings += f"storage file_system {folder}/storage\n"
    (folder / "Caddyfile").write_text(f"{{\n{settings}}}\n{example('Caddyfile', replacements)}")
    root = folder / "storage/pki/authorities/local/root.crt"
    with running(["caddy", "run", "--config", folder / "Caddyfile"], port, folder / "caddy.log"):
        wait(lambda: any((folder / "storage").rglob(f"{NAME}.crt")))
        yield root


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(request, services, tmp_path_factory):
    """Port of the proxy, and the settings with which clients trust it."""
    name = request.param.__name__
    if shutil.which(name) is None and not Path(f"/usr/sbin/{name}").exists():
        pytest.skip(f"{name} is not installed")
    port = free_port()
    with request.param(services, tmp_path_factory.mktemp(name), port) as trusted:
        yield port, ssl.create_default_context(cafile=trusted)


def get(proxy, path, host=NAME, headers=WITH_TOKEN):
    port, trusted = proxy
    with httpx.Client(verify=trusted, timeout=PATIENCE) as client:
        request = client.build_request("GET", f"https://127.0.0.1:{port}{path}", headers={"host": host, **headers})
        request.extensions["sni_hostname"] = NAME
        return client.send(request)


def channel(proxy, headers=WITH_TOKEN):
    port, trusted = proxy
    tcp = socket.create_connection(("127.0.0.1", port), PATIENCE)
    return connect(f"wss://{NAME}:{port}/calls", sock=tcp, ssl=trusted, additional_headers=headers, compression=None)


def test_the_page_tells_what_to_replace_and_by_what():
    for text_in_example in REPLACEMENTS:
        assert f"`{text_in_example}`" in PAGE
    token = re.search(r"token with `(openssl .*?)`", PAGE)[1]
    printed = subprocess.run(token.split(), capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", printed)
    command = re.search(r"`(printf .*?)`", PAGE)[1].replace("TOKEN", TOKEN)
    assert subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout == BASE64


def test_behind_the_proxy_a_recording_sent_over_a_websocket_gets_the_window_scores_of_the_detector(proxy, folder):
    samples = soundfile.read(folder / "talk.wav", dtype="float32")[0]
    with channel(proxy) as client:
        client.send(json.dumps({"event": "start", "rate": 16000, "encoding": "f32le"}))
        for block in np.array_split(samples, 20):
            client.send(block.tobytes())
        client.send(json.dumps({"event": "stop"}))
        lines = [json.loads(line) for line in client]
    assert windows(lines) == expected(load_detector(folder / "small.pth"), samples)


def test_behind_the_proxy_a_websocket_with_a_wrong_token_is_refused(proxy):
    with pytest.raises(InvalidStatus, match="401"):
        channel(proxy, {"Authorization": "Bearer wrong"})


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic wrong"}])
def test_behind_the_proxy_a_browser_without_the_right_token_is_asked_for_the_password(proxy, headers):
    answer = get(proxy, "/", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="nes2net"')


def test_behind_the_proxy_requests_of_the_same_site_and_with_the_password_are_answered_and_no_others(proxy):
    """Metrics are not served even with the token."""
    port, _ = proxy
    host = f"{NAME}:{port}"
    assert "<title>" in get(proxy, "/", headers={"Authorization": f"Basic {BASE64}"}).text
    assert get(proxy, "/api/info", host=host, headers={**WITH_TOKEN, "Origin": f"https://{host}"}).status_code == 200
    assert get(proxy, "/api/info", headers={**WITH_TOKEN, "Origin": "https://evil.example"}).status_code == 403
    assert get(proxy, "/", host="evil.example").status_code == 421
    assert get(proxy, "/metrics").status_code == 404
