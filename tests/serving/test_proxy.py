"""The readme's nginx before a server of ours: https, words one by one, no photo on the disk."""

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from musequest.core.home import root
from musequest.serving import web

README = root() / "3_model_evaluation/3.3_talking_docent/talking_docent_readme.md"
NAME = "docent.example.org"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
pytestmark = pytest.mark.skipif(not (NGINX and shutil.which("openssl")), reason="needs nginx")


async def _told(request: Request) -> Response:
    """What the server is told, and how much of it."""
    told = (request.client and request.client.host, request.url.scheme, len(await request.body()))
    return PlainTextResponse(" ".join(map(str, told)))


async def _slow(request: Request) -> Response:
    async def words() -> AsyncIterator[str]:
        for word in ("one", "two", "three"):
            yield word
            await asyncio.sleep(0.3)

    return StreamingResponse(words())


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[httpx.Client, Path]]:
    """A visitor of a server behind nginx, and the log of what nginx warns of."""
    (block,) = re.findall(r"^    server \{\n(?:.*\n)*?    \}\n", README.read_text(), re.M)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pair = ["-keyout", str(tmp_path / "privkey.pem"), "-out", str(tmp_path / "fullchain.pem")]
    made = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", f"/CN={NAME}"]
    subprocess.run([*made, *pair], check=True, capture_output=True)
    routes = [Route("/", _told, methods=["GET", "POST"]), Route("/slow", _slow)]
    with web.in_thread(web.site(routes, names=[NAME])) as address:
        block = re.sub(r"/\S+/(\w+\.pem)", rf"{tmp_path}/\1", block)
        block = block.replace(":8000", f":{address.rpartition(':')[2]}")
        block = block.replace("listen 443", f"listen 127.0.0.1:{port}")
        places = (f"{each}_temp_path {tmp_path}/{each};" for each in TEMPORARY)
        conf = tmp_path / "nginx.conf"
        conf.write_text(f"pid nginx.pid;\nevents {{}}\nhttp {{\n{' '.join(places)}\n{block}}}\n")
        log, how = tmp_path / "warnings", ["-g", "daemon off;", "-p", str(tmp_path), "-c", conf]
        told = subprocess.run([NGINX, "-t", "-e", log, *how], capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        with subprocess.Popen([NGINX, "-e", log, *how]) as proxy:
            transport = httpx.HTTPTransport(verify=False, retries=9)
            where, host = f"https://127.0.0.1:{port}", {"Host": NAME}
            with httpx.Client(base_url=where, headers=host, transport=transport) as visitor:
                yield visitor, log
            proxy.terminate()


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def test_nginx_as_the_readme_has_it(proxied: tuple[httpx.Client, Path]):
    visitor, log = proxied
    page = visitor.get("/")
    assert (
        page.text == "127.0.0.1 https 0" and "camera=(self)" in page.headers["Permissions-Policy"]
    )
    spoofed = visitor.post("/", content=b"x" * 12_000_000, headers={"X-Forwarded-For": "10.0.0.1"})
    assert spoofed.text == "127.0.0.1 https 12000000"
    large = visitor.post("/", content=b"x" * 20_000_000)
    assert large.status_code == 413 and "send a smaller photo" in large.text
    start, came = time.monotonic(), []
    with visitor.stream("GET", "/slow") as answer:
        for words in answer.iter_text():
            came.append((words, time.monotonic() - start))
    assert [word for word, _ in came] == ["one", "two", "three"] and came[0][1] < came[2][1] - 0.4
    assert "temporary file" not in log.read_text()
    elsewhere = visitor.get("/", headers={"Host": "evil.example"})
    assert elsewhere.status_code == 421
