"""A server on loopback that speaks as the Hub does to who uploads a dataset."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HubServer(ThreadingHTTPServer):
    """Keeps repositories as {name: {"private": bool, "files": {path: bytes}}}, all in memory."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict] = {}
        self.writes: list[str] = []  # requests that change something
        self.kind = "dataset"
        self.shown = None  # called before each request that may change something
        self.status = 0  # if set, what every request is answered with

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Stay quiet."""

    def do_GET(self):
        if self.server.status:
            return self.send(self.server.status, {"error": "No."})
        if self.path == "/api/whoami-v2":
            return self.send(200, {"name": "ours", "type": "user"})
        name = "/".join(self.path.split("?")[0].split("/")[3:5])
        kept = self.server.repositories.get(name)
        if kept is None:
            return self.send(404, {"error": "not found"}, "RepoNotFound")
        if "/tree/" in self.path:
            sizes = {path: len(data) for path, data in kept["files"].items()}
            files = [{"type": "file", "path": p, "size": n, "oid": "0"} for p, n in sizes.items()]
            return self.send(200, files)
        siblings = [{"rfilename": path} for path in kept["files"]]
        told = {"id": name, "private": kept["private"], "siblings": siblings, "tags": []}
        return self.send(200, told | {"downloads": 0, "likes": 0, "sha": "0" * 40})

    def do_POST(self):
        if self.server.shown:
            self.server.shown()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.status:
            return self.send(self.server.status, {"error": "No."})
        if self.path == "/api/validate-yaml":
            return self.send(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            paths = [each["path"] for each in json.loads(body)["files"]]
            return self.send(200, {"files": [
                {"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths
            ]})  # fmt: skip
        self.server.writes.append(self.path)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            assert asked.get("type", "model") == self.server.kind
            private = asked.get("private", asked.get("visibility") == "private")
            self.server.repositories[name] = {"private": private, "files": {}}
            return self.send(200, {"url": f"{self.server.url}/datasets/{name}"})
        return self.commit(body)

    def commit(self, body: bytes):
        name = "/".join(self.path.split("/")[3:5])
        files = self.server.repositories[name]["files"]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        url = f"{self.server.url}/datasets/{name}/commit/{'1' * 40}"
        self.send(200, {"success": True, "commitOid": "1" * 40, "commitUrl": url})

    def send(self, status: int, told: object, code: str = ""):
        data = json.dumps(told).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
