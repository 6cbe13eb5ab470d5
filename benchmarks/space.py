"""Tries the talking docent's Dockerfile for a Space where there is no Docker: by chroot, as root.

    python benchmarks/space.py FOLDER    a new folder; wants debootstrap and a finished LoRA run

FOLDER becomes a bare Debian 12 with a copy of the Python 3.11 that runs this, in place of the image
that FROM names. The other lines of the readme's Dockerfile are run in it as they stand. The docent
is served and asked once, then once more where of the home folder only `data` can be written to.
Some gigabytes come over the network.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from musequest.core.home import home, root

README = root() / "3_model_evaluation/3.3_talking_docent/talking_docent_readme.md"
IMAGE, RELEASE = "python:3.11-slim", "bookworm"
PACKAGES = ("site-packages", "test", "__pycache__")  # what of Python is left out
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PROXY = {"Host": "owner-name.hf.space", "X-Forwarded-For": "203.0.113.9"}
QUESTION = "What is this?"
MOST_SECONDS = 300  # until it answers


class Space:
    """What a Dockerfile makes of a Debian in a folder; a method for each of its words."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where, self.user = folder, "/", "root"
        self.own = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin", "PIP_CERT": CERTIFICATES}
        self.served, self.port = "", 0

    def build(self) -> None:
        """Run the readme's lines; CMD is kept for `asked`."""
        (block,) = re.findall(r"^    FROM .*\n(?:    .*\n)*", README.read_text(), re.M)
        for line in textwrap.dedent(block).replace("\\\n", "").splitlines():
            print(line, file=sys.stderr, flush=True)
            word, _, rest = line.partition(" ")
            getattr(self, f"do_{word.lower()}")(rest)

    def do_from(self, image: str) -> None:
        """A bare Debian, with Python and pip alone where the image has them."""
        if image != IMAGE or sys.version_info[:2] != (3, 11):
            sys.exit(f"Python 3.11 in a Debian stands for {IMAGE} alone, not for {image}.")
        # What Python's own modules are linked with comes along with Debian's.
        wanted = ["--variant=minbase", "--include=libpython3.11-stdlib,ca-certificates"]
        subprocess.run(["debootstrap", *wanted, RELEASE, self.folder], check=True, stdout=2)
        for name in ("/etc/resolv.conf", CERTIFICATES):
            shutil.copyfile(name, self.folder / name[1:])
        for name in ("bin", "lib"):
            there, bare = self.folder / "usr/local" / name, shutil.ignore_patterns(*PACKAGES)
            source = Path(sys.base_prefix, name)
            shutil.copytree(source, there, ignore=bare, symlinks=True, dirs_exist_ok=True)
        self.do_run("ldconfig && python -m ensurepip --default-pip")

    def do_run(self, command: str) -> None:
        """In a shell, as the user of the moment."""
        subprocess.run(self.inside(command), check=True, stdout=2)

    def do_workdir(self, folder: str) -> None:
        """Made if need be, by root."""
        self.where = folder
        (self.folder / folder[1:]).mkdir(parents=True, exist_ok=True)

    def do_copy(self, told: str) -> None:
        """All that git knows of this repository, and the docent's data and runs."""
        owner, *places = told.split()
        if places != [".", "."]:
            sys.exit(f"COPY is read for a whole folder alone, not for '{told}'.")
        unpack = f"tar -x --no-same-owner -C {shlex.quote(f'{self.folder}{self.where}')}"
        known = f"git ls-files -z | tar -c --null -T - | {unpack}"
        subprocess.run(known, shell=True, check=True, cwd=root())
        subprocess.run(f"tar -c data runs | {unpack}", shell=True, check=True, cwd=home())
        name = owner.removeprefix("--chown=")
        self.do_run(f"find . -mindepth 1 -exec chown -h {name}:{name} {{}} +")

    def do_user(self, name: str) -> None:
        """Who runs what follows."""
        self.user = name

    def do_env(self, told: str) -> None:
        """What the environment of what follows holds."""
        self.own |= dict(each.split("=", 1) for each in shlex.split(told))

    def do_expose(self, port: str) -> None:
        """Where the docent is asked."""
        self.port = int(port)

    def do_cmd(self, command: str) -> None:
        """What serves."""
        self.served = command

    def inside(self, command: str, mounts: str = "true") -> list[str]:
        """A command as it is run in the folder, with processes and devices of its own."""
        there = shlex.quote(str(self.folder))
        kept = {**self.own, "HOME": "/root" if self.user == "root" else f"/home/{self.user}"}
        run = ["chroot", f"--userspec={self.user}:{self.user}", str(self.folder), "env", "-i"]
        run += ["-C", self.where, *(f"{key}={value}" for key, value in kept.items())]
        mounted = f"mount -t proc proc {there}/proc && mount --rbind /dev {there}/dev"
        return [
            *("unshare", "--mount", "sh", "-c"),
            f"{mounted} && {mounts} && exec {shlex.join([*run, 'sh', '-c', command])}",
        ]

    def asked(self, mounts: str = "true") -> dict[str, Any]:
        """Serve, ask about one of the museum's photos as a Space's proxy would, and end."""
        start, command = time.monotonic(), self.inside(self.served, mounts)
        with subprocess.Popen(command, stdout=2, start_new_session=True) as server:
            try:
                told = ask(f"http://127.0.0.1:{self.port}", server)
                seconds = round(time.monotonic() - start, 1)
                user = psutil.Process(server.pid).uids().real
            finally:
                os.killpg(server.pid, signal.SIGTERM)
        exhibit, text = told["title"], told["text"]
        return {"user": user, "seconds": seconds, "exhibit": exhibit, "answer": text}


def ask(address: str, server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What is answered about the first photo of the collection, once there is somebody to ask."""
    photo = min(home().glob("data/pocket/originals/*/00.jpg")).read_bytes()
    url = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": QUESTION},
    ]
    body = {"messages": [{"role": "user", "content": content}]}
    transport = httpx.HTTPTransport(retries=3)
    with httpx.Client(transport=transport, headers=PROXY, timeout=MOST_SECONDS) as visitor:
        for _ in range(MOST_SECONDS):
            if server.poll() is not None:
                sys.exit("It ended before it was asked; see what it said above.")
            try:
                answer = visitor.post(f"{address}/v1/chat/completions", json=body)
            except httpx.ConnectError:
                time.sleep(1)
                continue
            return dict(answer.raise_for_status().json()["musequest"])
    sys.exit(f"Nothing listened at {address} after {MOST_SECONDS} s.")


def main() -> None:
    """Build, ask twice, and print what was answered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    if folder.exists():
        sys.exit(f"{folder} is there already; name a new folder.")
    space = Space(folder)
    space.build()
    found = {"as the Dockerfile says": space.asked()}
    kept, data = (shlex.quote(f"{folder}{each}") for each in ("/home", f"{space.where}/data"))
    closed = f"mount --bind {kept} {kept} && mount -o remount,bind,ro {kept}"
    opened = f"mount --bind {data} {data} && mount -o remount,bind,rw {data}"
    found["with a home that cannot be written to"] = space.asked(f"{closed} && {opened}")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
