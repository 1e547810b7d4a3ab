"""A containerd of our own: everything it keeps is below /run/e2e/containerd."""

import signal
import socket
import subprocess
from contextlib import suppress

from cri import Cri, CriError
from image import write_image
from lab import NODE, Failed, eventually, sh

HOME = NODE / "containerd"
SOCKET = HOME / "containerd.sock"
LOG = NODE / "containerd.log"
IMAGE = "localhost/e2e:1"

COMMON = f"""
root = "{HOME}/root"
state = "{HOME}/state"
[grpc]
  address = "{SOCKET}"
[ttrpc]
  address = "{SOCKET}.ttrpc"
"""

# Root may lack the right to lower its OOM score, and AppArmor's profiles are the machine's.
RUNTIME = """
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
"""

VERSION_2 = f"""version = 2
{COMMON}
[plugins."io.containerd.internal.v1.opt"]
  path = "{HOME}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  {RUNTIME}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{NODE}/bin"
    conf_dir = "{NODE}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"""

VERSION_3 = f"""version = 3
{COMMON}
[plugins.'io.containerd.internal.v1.opt']
  path = "{HOME}/opt"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "native"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
  {RUNTIME}
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{NODE}/bin"]
    conf_dir = "{NODE}/net.d"
"""


def listens():
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(SOCKET))
        return True


class Containerd:
    def __init__(self):
        self.version = sh("containerd", "--version").split()[2]
        HOME.mkdir(mode=0o711)
        (NODE / "containerd.toml").write_text(VERSION_2 if self.version.startswith("1.") else VERSION_3)
        self.start()
        write_image(NODE / "image.tar", IMAGE)
        self.ctr("--namespace", "k8s.io", "image", "import", "--no-unpack", str(NODE / "image.tar"))

    def start(self):
        with LOG.open("a") as log:
            words = ["containerd", "--config", str(NODE / "containerd.toml")]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not eventually(listens, 20):
            raise Failed(f"containerd does not listen:\n{LOG.read_text()[-3000:]}")
        self.cri = Cri(SOCKET, IMAGE)
        # The service is there a moment after the socket.
        eventually(self.answers)

    def answers(self):
        with suppress(CriError):
            return self.cri.pods() is not None

    def kill(self):
        """As the kernel does it when memory is short. What it had started lives on."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def ctr(self, *words):
        return sh("ctr", "--address", str(SOCKET), *words)
