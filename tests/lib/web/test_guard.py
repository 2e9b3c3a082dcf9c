"""Who may ask, and how much a request may send."""

from contextlib import nullcontext

import pytest

pytest.importorskip("fastapi_offline")

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from nes2net.lib.web.guard import Admission, Admitted, Guard
from nes2net.lib.web.service_health import Metrics


def guarded(route, admitted, **settings):
    """A guard before an application with one route."""
    guard = Guard(Metrics("small.pth"), ["lab.example"], **settings)
    guard.app = Starlette(routes=[route])
    guard.admission = AdmitsAll(admitted)
    return guard


class AdmitsAll(Admission):
    def __init__(self, admitted):
        self.admitted = admitted

    def __call__(self, method, path):
        return nullcontext(self.admitted)


async def read(request):
    return PlainTextResponse(str(len(await request.body())), headers={"access-control-allow-origin": "*"})


@pytest.fixture
def client():
    guard = guarded(Route("/", read, methods=["GET", "POST"]), Admitted(1000), frames=["https://huggingface.co"])
    return TestClient(guard, base_url="http://127.0.0.1:7860")


def test_only_requests_to_addresses_of_this_machine_or_to_an_allowed_name_are_answered(client):
    """A page of evil.example, whose name was made to lead here, sends a foreign name."""
    hosts = ["127.0.0.1:7860", "localhost:9", "[::1]:7860", "192.168.1.7:7860", "lab.example", "LAB.example."]
    foreign = ["evil.example", "127.0.0.1.evil.example:7860", "localhost.evil.example", "", "[", "lab.example@evil"]
    for host in hosts:
        assert client.get("/", headers={"host": host}).status_code == 200, host
    for host in foreign:
        assert client.get("/", headers={"host": host}).status_code == 421, host


def test_the_browser_may_load_nothing_from_elsewhere(client):
    headers = client.get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "http" not in headers["content-security-policy"].partition("frame-ancestors")[0]


def test_the_page_may_be_framed_only_by_itself_and_the_given_sites(client):
    policy = client.get("/").headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self' https://huggingface.co")


def test_pages_of_other_sites_may_not_read_answers(client):
    assert "access-control-allow-origin" not in client.get("/").headers


def test_a_body_that_is_too_large_is_refused_with_and_without_a_stated_length(client):
    assert client.post("/", content=bytes(1000)).text == "1000"
    assert client.post("/", content=bytes(3 << 20)).status_code == 413
    answer = client.post("/", content=(bytes(1 << 16) for _ in range(100)))  # without a stated length
    assert answer.status_code == 413


async def tell(request):
    headers = {name: value for name, value in request.headers.items() if name != "host"}
    return JSONResponse({"headers": headers})


def client_of(admitted):
    return TestClient(guarded(Route("/", tell, methods=["POST"]), admitted), base_url="http://lab.example")


def passed(headers):
    """The headers of a request that the application gets."""
    return client_of(Admitted()).post("/", headers=headers).json()["headers"]


def test_the_application_gets_only_known_headers():
    headers = passed({"accept": "y", "cookie": "a=b", "x-forwarded-proto": "http://evil.example"})
    assert headers.keys() == {"accept", "accept-encoding", "content-length", "content-type"}


def test_the_application_gets_at_most_1000_characters_of_a_header():
    assert passed({"accept": "y" * 5000})["accept"] == "y" * 1000


def test_the_application_gets_no_unknown_parameter_of_the_content_type():
    form = 'multipart/form-data; boundary="a b"'
    assert passed({"content-type": f"{form}; charset=undefined"})["content-type"] == form


@pytest.mark.parametrize("boundary", ["", "x" * 71, "a;b", 'a\\"b', "ä"])
def test_a_form_with_an_invalid_boundary_is_refused(boundary):
    client = client_of(Admitted(1000))
    kind = f'multipart/form-data; boundary="{boundary}"'.encode()
    assert client.post("/", headers={"content-type": kind}).status_code == 422
    assert client.post("/", headers={"content-type": "multipart/form-data; boundary=a+b/c"}).status_code == 200


def test_an_exception_of_the_application_is_raised_through_the_guard():
    guard = guarded(Route("/", lambda request: 1 / 0), Admitted())
    with pytest.raises(ZeroDivisionError):
        TestClient(guard, base_url="http://127.0.0.1").get("/")
