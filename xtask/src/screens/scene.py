"""Services that misbehave, for the pictures of the README.

Usage: scene.py FOLDER, as root, in network and mount namespaces of its own with loopback up.
Prints "ready" when all of them run, and ends them when its standard input ends.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

# Each is a program of its own, as its author might have written it.
PROGRAMS = {
    # Sends a request over each pooled connection every 5.4 s: the server closes after 5.
    "billing/billing_sync.py": """
import socket, threading, time
def fetch_invoices(pause):
    time.sleep(pause)
    while True:
        pooled = socket.create_connection(("127.0.0.1", 8088))
        request = b"GET /invoices HTTP/1.1\\r\\nHost: api\\r\\n\\r\\n"
        pooled.sendall(request)
        pooled.recv(4096)
        time.sleep(5.4)
        pooled.sendall(request)
        time.sleep(0.6)
        pooled.close()
for number in range(2):
    threading.Thread(target=fetch_invoices, args=(3 * number,)).start()
""",
    # Forgets a connection when its client has closed it.
    "orders/orders.py": """
import socket, threading
listener = socket.create_server(("127.0.0.1", 8090))
forgotten = []
while True:
    connection, _ = listener.accept()
    while connection.recv(4096):
        connection.sendall(b"ok")
    forgotten.append(connection)
""",
    "shop/shop.py": """
import socket, time
while True:
    with socket.create_connection(("127.0.0.1", 8090)) as order:
        order.sendall(b"2 apples")
        order.recv(4096)
    time.sleep(2.5)
""",
    # A connection for each mail, until no local port is left.
    "mailer/mailer.py": """
import socket, time
while True:
    try:
        with socket.create_connection(("10.77.0.2", 9300)) as relay:
            relay.sendall(b"mail")
        time.sleep(0.05)
    except OSError:
        time.sleep(2)
""",
    "relay/relay.py": """
import socket
listener = socket.create_server(("10.77.0.2", 9300))
while True:
    connection, _ = listener.accept()
    while connection.recv(4096):
        pass
    connection.close()
""",
    # The database that it asks for is gone.
    "health/health.py": """
import socket, time
while True:
    try:
        socket.create_connection(("127.0.0.1", 5432)).close()
    except OSError:
        pass
    time.sleep(7)
""",
}

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/nginx; keepalive_timeout 5s;
  server {{ listen 127.0.0.1:8088; location / {{ return 200 "[]"; }} }}
}}
"""


class Services:
    def __init__(self):
        self.started = []
        self.cgroups = []

    def start(self, unit, *command):
        """Starts a program in the cgroup that systemd would make for the unit."""

        def begin():
            with open(os.path.join(cgroup, "cgroup.procs"), "w") as file:
                file.write("0")

        cgroup = os.path.join(mount_point(), "system.slice", unit + ".service")
        for directory in (os.path.dirname(cgroup), cgroup):
            if not os.path.isdir(directory):
                os.mkdir(directory)
                self.cgroups.append(directory)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.started.append(subprocess.Popen(command, preexec_fn=begin, **quiet))

    def end(self):
        for cgroup in reversed(self.cgroups):
            if cgroup.endswith(".service"):
                with open(os.path.join(cgroup, "cgroup.kill"), "w") as file:
                    file.write("1")
        for process in self.started:
            process.wait()
        for cgroup in reversed(self.cgroups):
            for _ in range(100):
                try:
                    os.rmdir(cgroup)
                    break
                except OSError:
                    time.sleep(0.05)


def mount_point():
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            fields = line.split(" ")
            if fields[fields.index("-") + 1] == "cgroup2":
                return fields[4]
    sys.exit("no cgroups (v2) are mounted")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(address):
    while True:
        try:
            return socket.create_connection(address).close()
        except OSError:
            time.sleep(0.1)


def main(folder):
    python = "/usr/bin/python3"
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "tmpfs", "/srv")
    run("ip", "address", "add", "10.77.0.2/32", "dev", "lo")
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
        file.write("40000 40099")
    for path, text in PROGRAMS.items():
        path = os.path.join("/srv", path)
        os.mkdir(os.path.dirname(path))
        with open(path, "w") as file:
            file.write("#!" + python + text)
        os.chmod(path, 0o755)
    services = Services()
    try:
        start(services, folder)
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        services.end()
        shutil.rmtree(folder, ignore_errors=True)


def start(services, folder):
    with open(os.path.join(folder, "nginx.conf"), "w") as file:
        file.write(NGINX.format(folder=folder))
    data = "--datadir=" + os.path.join(folder, "data")
    run("mariadb-install-db", "--no-defaults", "--user=root", "--skip-test-db",
        "--auth-root-authentication-method=normal", data)
    services.start("mariadb", "mariadbd", "--no-defaults", "--user=root",
                   "--bind-address=127.0.0.1", "--skip-networking=0", data, "--port=3306",
                   "--socket=" + os.path.join(folder, "socket"),
                   "--pid-file=" + os.path.join(folder, "pid"))
    services.start("web", "nginx", "-c", os.path.join(folder, "nginx.conf"))
    servers = [path for path in PROGRAMS if path.startswith(("orders", "relay"))]
    for path in servers:
        services.start(os.path.dirname(path), os.path.join("/srv", path))
    for address in (("127.0.0.1", 3306), ("127.0.0.1", 8088), ("10.77.0.2", 9300)):
        wait_for(address)
    for path in PROGRAMS:
        if path not in servers:
            services.start(os.path.dirname(path), os.path.join("/srv", path))
    # A report that asks the database every ten seconds.
    services.start("report", "sh", "-c", "while :; do sleep 10; mariadb --no-defaults"
                   " --protocol=TCP -h 127.0.0.1 -u root -e 'SELECT 6*7'; done")


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
main(sys.argv[1])
