"""A kubelet's side of the container runtime interface, as small as the test needs it."""

import os
import time
import uuid

import cri_pb2 as pb
import grpc
from lab import Failed


class CriError(Failed):
    def __init__(self, method, error):
        self.code, self.details = error.code().name, error.details()
        super().__init__(f"{method}: {self.code}: {self.details}")


class Cri:
    """Every method of the runtime service is one of this class: `cri.StopPodSandbox(pod_sandbox_id=…)`."""

    def __init__(self, socket, image):
        self.image = image
        # grpc would send the socket's path as the authority, which containerd's server refuses.
        # A pool of its own, so that a new containerd does not wait for the old one's back-off.
        options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"unix://{socket}", options=options)

    def __getattr__(self, method):
        call = self.channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=getattr(pb, f"{method}Response").FromString,
        )
        message = getattr(pb, f"{method}Request")

        def answer(timeout=30, **fields):
            try:
                return call(message(**fields), timeout=timeout)
            except grpc.RpcError as error:
                raise CriError(method, error) from error

        return answer

    def pod(self, name, namespace="shop", annotations=None, ports=(), uid=None, timeout=30):
        """Runs a pod that answers on port 80 with its name; its id and its container's."""
        config = self.pod_config(name, namespace, annotations, ports, uid)
        pod = self.RunPodSandbox(config=config, timeout=timeout).pod_sandbox_id
        security = pb.LinuxContainerSecurityContext(
            capabilities=pb.Capability(add_capabilities=["NET_RAW"]), namespace_options=pb.NamespaceOption(pid=1))
        container = self.CreateContainer(pod_sandbox_id=pod, sandbox_config=config, config=pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name="main"), image=pb.ImageSpec(image=self.image), log_path="main.log",
            command=["/bin/busybox", "nc", "-ll", "-p", "80", "-e", "/bin/busybox", "echo", name],
            linux=pb.LinuxContainerConfig(security_context=security))).container_id
        self.StartContainer(container_id=container)
        return pod, container

    def pod_config(self, name, namespace, annotations, ports, uid=None):
        logs = f"/run/e2e/logs/{name}"
        os.makedirs(logs, exist_ok=True)
        return pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, namespace=namespace, uid=uid or str(uuid.uuid4())),
            hostname=name, log_directory=logs, annotations=annotations or {},
            dns_config=pb.DNSConfig(servers=["127.0.0.1"]),
            port_mappings=[pb.PortMapping(container_port=it, host_port=host) for host, it in ports],
            linux=pb.LinuxPodSandboxConfig(
                cgroup_parent=os.environ["E2E_CGROUP"],
                security_context=pb.LinuxSandboxSecurityContext(namespace_options=pb.NamespaceOption(pid=1))))

    def address(self, pod):
        return self.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip

    def run(self, container, *command):
        """In the container; exit status and output."""
        done = self.ExecSync(container_id=container, cmd=command, timeout=10)
        return done.exit_code, (done.stdout + done.stderr).decode()

    def pods(self):
        """Ids by name."""
        return {it.metadata.name: it.id for it in self.ListPodSandbox().items}

    def remove(self, pod, strict=False):
        """As a kubelet does it: again and again, half a minute at most. Strictly: no plugin may fail on the way."""
        end = time.monotonic() + 30
        while True:
            try:
                self.StopPodSandbox(pod_sandbox_id=pod)
                self.RemovePodSandbox(pod_sandbox_id=pod)
                return
            except CriError as error:
                if error.code == "NOT_FOUND":
                    return
                print(f"    not yet removed: {error.details}")
                if time.monotonic() > end or (strict and "plugin type" in error.details):
                    raise
                time.sleep(1)

    def network(self):
        """Is the node's network ready, and why not?"""
        conditions = self.Status().status.conditions
        return next((it.status, it.message) for it in conditions if it.type == "NetworkReady")
