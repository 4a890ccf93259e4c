"""Taking more than there is: each answer is an error, and the kernel goes on."""

from __future__ import annotations

from .probe import Probe

FLOODS = [
    Probe(
        "a fork bomb is stopped and the kernel recovers",
        "children = []\n"
        "try:\n"
        "    while True:\n"
        "        p = os.fork()\n"
        "        if p == 0:\n"
        "            signal.pause(); os._exit(0)\n"
        "        children.append(p)\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "for p in children: os.kill(p, 9); os.waitpid(p, 0)\n"
        "report(answer, len(children) < 512)",
        "EAGAIN True",
        # A fork copies more there: the box may be out of memory before it is out of processes.
        elsewhere={"gvisor": "EAGAIN True|"},
    ),
    Probe(
        "a thread bomb is stopped and the kernel recovers",
        "import threading\n"
        "stop = threading.Event(); threads = []\n"
        "try:\n"
        "    while True:\n"
        "        t = threading.Thread(target=stop.wait); t.start(); threads.append(t)\n"
        "except RuntimeError: pass\n"
        "stop.set(); [t.join() for t in threads]\n"
        "report(0 < len(threads) < 512)",
        "True",
    ),
    Probe(
        "open files run out at the limit",
        "files = []\n"
        "try:\n"
        "    while True: files.append(os.open('/dev/null', 0))\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "[os.close(f) for f in files]\nreport(answer, len(files) <= 1024)",
        "EMFILE True",
    ),
    Probe(
        "one quota bounds everything that can be written",
        "def fill(path):\n"
        "    try:\n"
        "        with open(path, 'wb', buffering=0) as f:\n"
        "            while f.write(b'x' * (1 << 20)): pass\n"
        "    except OSError as error: return errno.errorcode[error.errno]\n"
        "paths = ('/mnt/data/a', '/tmp/a', '/dev/shm/a', os.environ['HOME'] + '/a')\n"
        "answers = [fill(p) for p in paths]\n"
        "total = sum(os.path.getsize(p) for p in paths); [os.unlink(p) for p in paths]\n"
        "report(*answers, total <= 64 << 20, total <= 128 << 20)",
        r"(ENOSPC ?){4}True True",
        elsewhere={"gvisor": r"(ENOSPC ?){4}False True"},  # /dev/shm has a bound of its own there
    ),
    Probe(
        "files run out at the quota of inodes",
        "n = 0\n"
        "try:\n"
        "    while True: open(f'/tmp/{n}', 'w').close(); n += 1\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "[os.unlink(f'/tmp/{i}') for i in range(n)]\nreport(answer)",
        "ENOSPC",
    ),
    Probe(
        "a sparse giant is refused",
        "f = open('/tmp/sparse', 'wb')\nreport(attempt(f.truncate, 1 << 50))\nos.unlink('/tmp/sparse')",
        "EFBIG",
    ),
    Probe(
        "a flood of watches ends at a limit",
        "import select\n"
        "e, files = select.epoll(), []\n"
        "try:\n"
        "    while True: files.append(os.eventfd(0)); e.register(files[-1])\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "[os.close(f) for f in files]; report(answer, len(files) < 1024)",
        "EMFILE True",
    ),
    Probe(
        "buffers of pipes and sockets stay small",
        "import fcntl\n"
        "def fill(make):\n"
        "    ends, count = [], 0\n"
        "    try:\n"
        "        while len(ends) < 150:\n"
        "            a, b = make(); ends.append((a, b)); a.setblocking(False)\n"
        "            a.setsockopt(1, 7, 1 << 26); b.setsockopt(1, 8, 1 << 26)\n"
        "            try:\n"
        "                while True: count += a.send(bytes(65536))\n"
        "            except BlockingIOError: pass\n"
        "    except OSError: pass\n"
        "    for a, b in ends: a.close(); b.close()\n"
        "    return count / max(1, len(ends)) < 600_000\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "def tcp(): return socket.create_connection(server.getsockname()), server.accept()[0]\n"
        "r, w = os.pipe(); report(fill(tcp), fill(socket.socketpair), attempt(fcntl.fcntl, w, 1031, 1 << 30))",
        "True True (EPERM|EINVAL|EBUSY)",
        # They are memory of its own kernel, which counts as the box's.
        elsewhere={"gvisor": "False True EPERM"},
    ),
    Probe(
        "descriptors in flight are counted as open",
        "sockets = [socket.socketpair() for _ in range(100)]\n"
        "fd = os.open('/dev/null', 0); sent = 0\n"
        "try:\n"
        "    for a, _ in sockets:\n"
        "        a.setblocking(False)\n"
        "        try:\n"
        "            while True: socket.send_fds(a, [b'x'], [fd] * 250); sent += 250\n"
        "        except BlockingIOError: pass\n"
        "    answer = 'endless'\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "del sockets; report(answer, sent <= 2048)",
        "ETOOMANYREFS True",
        # They are memory of its own kernel: the box is stopped for what it takes.
        elsewhere={"gvisor": ""},
    ),
    Probe(
        "an archive that unpacks to more than there is room for stops at the quota",
        "import io, zipfile\n"
        "with zipfile.ZipFile('/tmp/bomb.zip', 'w', zipfile.ZIP_DEFLATED) as z:\n"
        "    with z.open('zeros', 'w', force_zip64=True) as f:\n"
        "        for _ in range(256): f.write(bytes(1 << 20))\n"
        "size = os.path.getsize('/tmp/bomb.zip')\n"
        "answer = attempt(zipfile.ZipFile('/tmp/bomb.zip').extractall, '/tmp/out')\n"
        "import shutil; shutil.rmtree('/tmp/out'); os.unlink('/tmp/bomb.zip'); report(answer, size < 1 << 20)",
        "ENOSPC True",
    ),
    Probe(
        "locks of files and timers end at a limit or are paid for by the box",
        "ids, timers = 0, []\n"
        "t = ctypes.c_void_p()\n"
        "while ids < 200_000 and libc.timer_create(1, None, ctypes.byref(t)) == 0: ids += 1\n"
        "report(ids < 200_000 or 'endless')",
        "True",
        elsewhere={"gvisor": "endless"},
    ),
]
